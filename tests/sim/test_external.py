"""Image memory off the chip: every write of a token, whatever its latency and pauses."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.toy import random_program
from ternforge_sim import reference as reference_module
from ternforge_sim.runner import MemoryModel, VerilatedCore, build_simulator
from ternforge_sim.simulate import Wave, simulate

from .toys import cycles_of, damaged

SIZE: Any = {"memory_beats": 4096, "bank_beats": 0, "vector_depth": 512, "state_depth": 256,
             "max_rows": 32, "max_fan_in": 160}
#: Beats half as long as a header, as long, and longer; the first without a register for beats,
#: the last of these with state addresses of more than 16 bits. Three with a register for the next
#: tile; of "n10" it is not full yet when the rows of a tile are through.
CORES = {"n8": CoreConfig(lanes=8, tile_registers=2, **SIZE),
         "n16": CoreConfig(lanes=16, elements=4, tile_registers=2, **SIZE),
         "n20": CoreConfig(lanes=20, elements=2, **SIZE | {"state_depth": 1 << 17}),
         "n10": CoreConfig(lanes=10, tile_registers=2, **SIZE)}
MEMORIES = {
    "at once": MemoryModel(latency=1), "far": MemoryModel(latency=100),
    "stalls": MemoryModel(latency=7, stalls=0.4, seed=3),
    "bursts": MemoryModel(latency=25, burst=8, gap=11),
    "all": MemoryModel(latency=40, stalls=0.1, burst=16, gap=5, seed=4),
}
PROMPT = [3, 15, 0]

pytestmark = pytest.mark.xdist_group("external-simulator")


@cache
def library(name: str, trace: Any = None):
    return build_simulator(CORES[name], trace=trace)


@cache
def program(m: int = 100):
    """A model whose matrices of several tiles have more rows than the cores have accumulators."""
    return random_program(21, d=44, layers=2, m=m, vocab=50, inner_norms=True)


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)
@pytest.mark.parametrize("name", CORES)
def test_tokens_equal_integer_model(name, memory):
    model = program(150 if name == "n10" else 100)
    image = lower(model, CORES[name])
    run = simulate(library(name), CORES[name], image, PROMPT, 3, memory=memory)
    assert run.first_divergence is None, str(run.first_divergence)
    assert run.checked_tokens == run.fed_tokens == 5
    fed = [*PROMPT, *run.tokens[:-1]]
    assert run.saturations == dict(IntegerModel(model).forward(fed).saturations)
    beats = len(image.program_beats)
    assert run.cycles_per_token > beats * memory.cycles_per_beat


def test_latency_costs_two_requests():
    """Directory and embedding row are waited for; the program is asked for with the row."""
    core, cycles = CORES["n16"], []
    image = lower(program(), core)
    for latency in (10, 60):
        run = simulate(library("n16"), core, image, PROMPT, 1, check=False,
                       memory=MemoryModel(latency=latency))
        cycles.append(run.cycles_per_token)
    assert cycles[1] - cycles[0] == 2 * 50


def test_a_file_stays_on_disk_and_is_unpacked_packet_by_packet(tmp_path, monkeypatch):
    core, path = CORES["n16"], tmp_path / "model.tfi"
    lower(program(), core).write(path)
    monkeypatch.setattr(reference_module, "KEPT_WEIGHTS", 0)
    image = ImageFile(path)
    assert isinstance(image.memory(), np.memmap)
    hardware = VerilatedCore(library("n16"), core)
    beats = image.memory()
    hardware.load(beats)
    assert hardware.cycle < 10  # nothing was written
    hardware.close()
    run = simulate(library("n16"), core, image, PROMPT, 2)
    assert run.bit_exact
    assert run.tokens == simulate(library("n16"), core, lower(program(), core), PROMPT, 2,
                                  check=False).tokens


def test_first_divergence_is_named_and_shown(tmp_path):
    """A weight differs in the last part of a matrix that takes several packets."""
    core, memory, name = CORES["n16"], MEMORIES["all"], "layers.1.mlp.gate_proj.up"
    reference, row = damaged(program(), name, -1)
    assert row >= 75
    image = lower(program(), core)
    found = simulate(library("n16"), core, image, PROMPT, 1, reference=reference,
                     memory=memory).first_divergence
    assert found is not None
    assert (found.layer, found.op, found.element) == (1, name, row)
    assert found.expected != found.actual
    assert found.address == found.actual_address
    path = tmp_path / "wave.vcd"
    window = found.cycle - 20, found.cycle + 20
    run = simulate(library("n16", "vcd"), core, image, PROMPT, 1, check=False, memory=memory,
                   wave=Wave(path, *window))
    assert run.wave == cycles_of(path) == window
    assert "memory_data_payload" in path.read_text()


def test_memory_models_are_checked():
    with pytest.raises(ValueError, match=r"^memory latency must be 1 or more, not 0$"):
        MemoryModel(latency=0)
    with pytest.raises(ValueError, match=r"^the share of cycles in which the memory stalls must be "
                                         r"0 or more and less than 1, not 1$"):
        MemoryModel(stalls=1)
    with pytest.raises(ValueError, match=r"^burst, gap and seed of a memory must be 0 or more, not "
                                         r"-1, 0 and 0$"):
        MemoryModel(burst=-1)
    on_chip = CoreConfig(lanes=8)
    with pytest.raises(ValueError, match=r"^only an image memory off the chip has latency, stalls "
                                         r"and gaps; this core has its own$"):
        VerilatedCore(library("n8"), on_chip, MemoryModel())
