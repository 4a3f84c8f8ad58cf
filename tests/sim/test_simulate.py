"""Toy models on the Verilated core: agreement, and what is told when it is missing."""

from dataclasses import replace

import pytest

from ternforge.presets import core_preset
from ternforge.process import ToolError
from ternforge_firmware.lower import lower_for
from ternforge_firmware.packet import Packet
from ternforge_model.catalog import open_model
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Matvec
from ternforge_sim.compare import Outline, expected_writes, first_divergence
from ternforge_sim.runner import VerilatedCore, build_simulator
from ternforge_sim.simulate import Wave, ideal_cycles, simulate

from .toys import cycles_of, damaged

PROMPT = [3, 15, 0]

pytestmark = [pytest.mark.usefixtures("toy_cores"), pytest.mark.xdist_group("toy-simulator")]


@pytest.fixture
def core():
    return core_preset("ulx3s-85f")


@pytest.fixture
def program(toy_model):
    return open_model(toy_model).program


@pytest.fixture
def image(program):
    return lower_for(program, "ulx3s-85f")


@pytest.fixture
def library(core):
    return build_simulator(core)


def test_greedy_tokens_are_the_integer_models(library, core, program, image):
    seen = []
    run = simulate(library, core, image, PROMPT, 5, on_token=seen.append)
    model, state, token, wanted = IntegerModel(program), None, PROMPT[0], []
    for position in range(len(PROMPT) + 4):
        result = model.step(token, state)
        state = result.state
        token = (PROMPT[position + 1] if position + 1 < len(PROMPT)
                 else int(result.tokens[-1]))
        wanted += [token] if position + 1 >= len(PROMPT) else []
    assert run.tokens == wanted
    assert run.bit_exact
    assert (run.checked_tokens, run.fed_tokens) == (7, 7)
    assert [p.token for p in seen] == [None, None, *wanted]
    weights = sum(op.trits.size for op in program.ops if isinstance(op, Matvec))
    assert run.ideal_cycles == ideal_cycles(weights, core) == weights / 20
    assert run.ideal_cycles < run.cycles_per_token < 4000
    assert run.weight_stream_share == run.ideal_cycles / run.cycles_per_token


def test_unchecked_runs_are_not_called_exact(library, core, image):
    run = simulate(library, core, image, PROMPT, 2, check=False)
    assert not run.bit_exact
    assert (run.checked_tokens, run.fed_tokens) == (0, 4)


def test_first_divergence_is_at_the_damaged_weight(library, core, program, image):
    reference, row = damaged(program, "layers.1.attn.f_proj")
    run = simulate(library, core, image, PROMPT, 2, reference=reference)
    found = run.first_divergence
    assert found is not None
    assert not run.bit_exact
    assert (found.layer, found.op, found.element) == (1, "layers.1.attn.f_proj", row)
    assert found.expected != found.actual
    assert (found.position, run.fed_tokens, run.checked_tokens) == (0, 1, 0)
    assert found.actual_address == found.address


def test_a_write_to_the_wrong_address_is_caught(library, core, program, image):
    index = next(k for k, op in enumerate(program.ops)
                 if isinstance(op, Matvec) and op.name == "layers.0.mlp.gate_proj.gate")
    packets = list(image.program)
    moved = {**packets[index].fields, "dst": packets[index].fields["dst"] + core.elements}
    packets[index] = Packet(packets[index].op, moved, packets[index].payload)
    hardware = VerilatedCore(library, core)
    hardware.load(replace(image, program=tuple(packets)).memory())
    step = hardware.step(5, reset=True, trace=True)
    trace = IntegerModel(program).step(5, trace=True).trace
    outline = Outline.of(image)
    found = first_divergence(outline, expected_writes(outline, trace), step.events, 0)
    assert found is not None
    assert (found.op, found.element) == ("layers.0.mlp.gate_proj.gate", 0)
    assert found.actual == found.expected
    assert found.address is not None
    assert found.actual_address == found.address + core.elements


def test_a_core_that_hangs_is_a_divergence(library, core, image, monkeypatch, tmp_path):
    step = VerilatedCore.step_all
    monkeypatch.setattr(VerilatedCore, "step_all", lambda self, tokens, **options: step(
        self, tokens, **{**options, "max_cycles": 150}))
    found = simulate(library, core, image, PROMPT, 1).first_divergence
    assert found is not None
    assert found.actual is None
    assert found.expected is not None
    assert found.layer == 0
    with pytest.raises(ToolError, match=r"^the core gave no result for token 0 in \d+ cycles: "
                                        r"compare it with the integer model to see where it "
                                        r"stopped$"):
        simulate(library, core, image, PROMPT, 1, check=False)
    path = tmp_path / "wave.vcd"
    window = found.cycle - 30, found.cycle
    simulate(build_simulator(core, trace="vcd"), core, image, PROMPT, 1, check=False,
             wave=Wave(path, *window))
    assert cycles_of(path) == window


def test_a_wrong_token_alone_is_caught(library, core, image, monkeypatch):
    step = VerilatedCore.step_all
    monkeypatch.setattr(VerilatedCore, "step_all", lambda self, tokens, **options: replace(
        step(self, tokens, **options), tokens=[99]))
    found = simulate(library, core, image, PROMPT, 1).first_divergence
    assert found is not None
    assert (found.op, found.tensor, found.memory, found.actual) == ("argmax", "token", "result", 99)


def test_waveform_shows_the_write_in_its_cycle(core, program, image, tmp_path):
    library, path = build_simulator(core, trace="vcd"), tmp_path / "wave.vcd"
    reference, _ = damaged(program, "layers.0.attn.f_proj")
    found = simulate(library, core, image, PROMPT, 1, reference=reference).first_divergence
    assert found is not None
    run = simulate(library, core, image, PROMPT, 20, check=False,
                   wave=Wave(path, found.cycle - 20, found.cycle + 20))
    assert run.wave == (found.cycle - 20, found.cycle + 20)
    assert cycles_of(path) == run.wave
    assert run.fed_tokens < 20
    text = path.read_text()
    name = next(line.split()[3] for line in text.splitlines()
                if "$var" in line and line.split()[4] == "trace_element")
    value, shown = "", None
    for line in text.partition("$enddefinitions")[2].splitlines():
        if line.startswith("#") and int(line[1:]) > 2 * found.cycle + 1:
            break
        if line.endswith(f" {name}"):
            value = line.split()[0][1:].zfill(41)
            shown = int(value[-1]), int(value[-17:-1], 2), int(value[:-17], 2)
    assert shown == (1, found.actual_address, (found.actual or 0) & 0xFFFFFF)


def test_waveform_begins_with_the_first_token(core, image, tmp_path):
    library, path = build_simulator(core, trace="vcd"), tmp_path / "wave.vcd"
    run = simulate(library, core, image, PROMPT, 20, check=False, wave=Wave(path))
    loaded = len(image.memory()) + 4  # a pause after the last beat
    assert run.wave == (loaded, loaded + 999)
    assert cycles_of(path) == run.wave
