"""A run that is stopped and gone on with in another process is the run that was not stopped."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ternforge import presets
from ternforge.cli import run
from ternforge.config import CoreConfig
from ternforge_firmware.lower import lower, lower_for
from ternforge_model.catalog import open_model
from ternforge_model.checkpoint import save_tensors
from ternforge_model.toy import random_checkpoint, random_program
from ternforge_sim import commands
from ternforge_sim.runner import MemoryModel, VerilatedCore, build_simulator
from ternforge_sim.saved import SavedRun
from ternforge_sim.simulate import simulate

from .toys import damaged

pytestmark = [pytest.mark.usefixtures("toy_cores"), pytest.mark.xdist_group("toy-simulator")]

#: Image memory off the chip, so that requests and pauses are a part of the state.
CORE = CoreConfig(lanes=16, elements=4, tile_registers=2, memory_beats=4096, bank_beats=0,
                  vector_depth=512, state_depth=256, max_rows=32, max_fan_in=160, lane="ecp5",
                  tree_levels=1)


PROGRAM = random_program(21, d=44, layers=2, m=100, vocab=50, inner_norms=True)


@pytest.fixture(scope="module")
def image():
    return lower(PROGRAM, CORE)


@pytest.fixture
def call(toy_model, invoke):
    """Runs ``ternforge simulate`` with the toy; its JSON, or the error."""

    def simulated(*words, code=0, model=toy_model):
        got, out, err = invoke("simulate", "--board", "ulx3s-85f", "--model", model, "--json",
                               *words)
        assert got == code, err
        return json.loads(out) if code == 0 else err

    return simulated


@pytest.mark.parametrize("behavioural", [False, True], ids=["verilog", "behavioural"])
def test_cycles_and_tokens_go_on(image, tmp_path, behavioural):
    library = build_simulator(CORE, savable=True, behavioural_lanes=behavioural)
    memory = MemoryModel(latency=40, stalls=0.1, burst=16, gap=5, seed=4)
    path, chosen = tmp_path / "run.npz", {"temperature": 0.9, "seed": 3}
    whole = simulate(library, CORE, image, [3, 15, 0], 9, memory=memory, **chosen)
    first = simulate(library, CORE, image, [3, 15, 0], 4, memory=memory, save=path, **chosen)
    second = simulate(library, CORE, image, [], 5, restore=SavedRun.read(path))
    assert first.tokens + second.tokens == whole.tokens
    assert first.cycles + second.cycles == whole.cycles
    assert first.causes + second.causes == whole.causes
    assert second.saturations == whole.saturations
    assert whole.bit_exact
    assert first.bit_exact
    assert second.bit_exact
    assert second.fed_tokens == 5


@pytest.mark.parametrize("prompt", [[3, 15, 0], [[3, 15, 0], [7]]], ids=["one", "several"])
def test_streams_go_on(tmp_path, prompt):
    """One sequence through both streams, and one in each."""
    core = replace(CORE, streams=2)
    library, image, path = build_simulator(core, savable=True), lower(PROGRAM, core), tmp_path / "r"
    whole = simulate(library, core, image, prompt, 9, temperature=0.9, seed=3)
    first = simulate(library, core, image, prompt, 4, temperature=0.9, seed=3, save=path)
    second = simulate(library, core, image, [], 5, restore=SavedRun.read(path))
    assert [a + b for a, b in zip(first.sequences, second.sequences, strict=True)] == \
        whole.sequences
    if prompt == [3, 15, 0]:
        assert first.cycles + second.cycles == whole.cycles
    assert first.bit_exact
    assert second.bit_exact
    assert second.fed_tokens == 5 * len(second.sequences)


def test_the_whole_state_is_kept(image, tmp_path):
    """Registers and memories that later tokens may not read are the same as well."""
    library = build_simulator(CORE, savable=True)
    one, other = (VerilatedCore(library, CORE) for _ in range(2))
    one.load(image.memory())
    one.step(3, reset=True)
    other.load(image.memory())
    other.restore(one.save())
    assert other.cycle == one.cycle
    steps = [core.step(7, trace=True) for core in (one, other)]
    np.testing.assert_array_equal(steps[0].events, steps[1].events)
    assert one.save() == other.save()
    assert (one.ratio(), one.saturations()) == (other.ratio(), other.saturations())


def test_the_command_goes_on_in_another_process(call, toy_model, tmp_path):
    """And twice: a run that was restored is saved again, into the same file."""
    options = ("--prompt", "abc", "--temperature", 1, "--seed", 5)
    whole = call(*options, "--tokens", 12)
    first = call(*options, "--tokens", 4, "--save", "run.npz")
    assert first["saved"] == "run.npz"
    assert [file.name for file in Path().iterdir()] == ["run.npz"]
    script = ("import sys\nfrom ternforge import presets\nfrom ternforge.cli import main\n"
              "from ternforge.config import CoreConfig\n"
              f"presets.PRESETS['ecp5-85f'] = {presets.PRESETS['ecp5-85f']!r}\n"
              "sys.exit(main())\n")
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", "--model", toy_model, "--tokens", "3", "--json",
         "--restore", "run.npz", "--save", "run.npz"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    second = json.loads(done.stdout)
    third = call("--tokens", 5, "--restore", "run.npz")
    parts = (first, second, third)
    assert [token for part in parts for token in part["tokens"]] == whole["tokens"]
    assert [part["checked_tokens"] for part in parts] == [6, 3, 5]
    assert all(part["bit_exact"] for part in parts)
    assert "".join(part["text"] for part in parts) == whole["text"]


def test_a_divergence_is_told_at_its_position_and_not_saved(call, toy_model, monkeypatch):
    call("--prompt", "abc", "--tokens", 4, "--save", "run.npz")
    before = Path("run.npz").read_bytes()
    reference, _ = damaged(open_model(toy_model).program, "layers.1.attn.f_proj")
    monkeypatch.setattr(commands, "run_simulation", partial(simulate, reference=reference))
    found = SavedRun.read(Path("run.npz"))
    assert (found.positions, found.temperature) == ([6], 0)
    assert run(["simulate", "--board", "ulx3s-85f", "--model", str(toy_model), "--json",
                "--restore", "run.npz", "--save", "run.npz"]) == 1
    assert Path("run.npz").read_bytes() == before
    assert [file.name for file in Path().iterdir()] == ["run.npz"]


@pytest.fixture
def saved(call):
    call("--prompt", "abc", "--tokens", 2, "--save", "run.npz")
    return Path("run.npz")


def refusal(err):
    assert err.count("\n") == 1
    assert [file.name for file in Path().iterdir()] == ["run.npz"]
    return err


def test_another_model_is_refused(call, saved, toy_model, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    save_tensors(other, *random_checkpoint(4, d=16, layers=2, m=24, vocab=16))
    (other / "tokenizer.json").write_bytes((toy_model / "tokenizer.json").read_bytes())
    assert refusal(call("--restore", saved, code=2, model=other)) == (
        "error: --restore: the run was saved with another image, of 'toy', than this one of "
        "'other'\n")


def test_another_core_is_refused(call, saved, monkeypatch):
    wider = replace(presets.PRESETS["ecp5-85f"], max_rows=64)
    monkeypatch.setitem(presets.PRESETS, "ecp5-85f", wider)
    assert refusal(call("--restore", saved, code=2)) == (
        "error: --restore: the run was saved on a core of another configuration\n")


def test_another_build_is_refused(call, saved):
    assert refusal(call("--restore", saved, "--behavioural-lanes", code=2)) == (
        "error: --restore: the run was saved by another build of the simulator: ternforge, its "
        "compilers or --behavioural-lanes differ\n")


def test_an_unchecked_run_goes_on_unchecked(call):
    call("--prompt", "abc", "--tokens", 2, "--save", "run.npz", "--no-check")
    assert refusal(call("--restore", "run.npz", code=2)) == (
        "error: --restore: the run was saved without the integer model's state: go on with "
        "--no-check\n")
    assert call("--restore", "run.npz", "--no-check", "--tokens", 2)["checked_tokens"] == 0


@pytest.mark.parametrize("damage", ["empty", "short", "text", "array", "bit", "header"])
def test_a_damaged_file_is_refused(call, saved, damage):
    content = saved.read_bytes()
    middle = len(content) // 2
    with saved.open("wb") as file:
        if damage == "array":
            np.save(file, np.zeros(4))
        elif damage == "header":
            np.savez(file, header=np.frombuffer(b'{"format": 1}', np.uint8))
        else:
            file.write({"empty": b"", "short": content[:-70], "text": b"tokens",
                        "bit": content[:middle] + bytes([content[middle] ^ 1])
                        + content[middle + 1:]}[damage])
    assert refusal(call("--restore", saved, code=2)) == (
        "error: --restore needs a file that --save has written, whole and of this version, not "
        "'run.npz'\n")


@pytest.mark.parametrize(("words", "message"), [
    (["--prompt", "a"], "--prompt is that of the saved run: leave it out with --restore"),
    (["--temperature", "0"], "--temperature is that of the saved run: leave it out with --restore"),
    (["--seed", "1"], "--seed is that of the saved run: leave it out with --restore"),
    (["--memory-latency", "9"], ("--memory-latency is that of the saved run: leave it out with "
                                 "--restore")),
    (["--window", "1:2"], "--window needs a run from its start: leave it out with --restore"),
    (["--fst", "a.vcd"], "--fst needs a run from its start: leave it out with --restore"),
    (["--save", "."], "--save must name a file, not the folder '.'"),
], ids=lambda value: value[0] if isinstance(value, list) else "")
def test_options_of_the_saved_run_are_refused(call, saved, words, message):
    assert refusal(call("--restore", saved, *words, code=2)) == f"error: {message}\n"


def test_a_missing_file_is_one_sentence(call):
    err = call("--restore", "none.npz", code=2)
    assert re.fullmatch(r"error: .*none\.npz.*\n", err)
    assert list(Path().iterdir()) == []


def test_libraries_without_it_say_so(image):
    core = VerilatedCore(build_simulator(CORE), CORE)
    with pytest.raises(ValueError, match=r"^this simulator was built without saving its state$"):
        core.save()
    with pytest.raises(ValueError, match=r"^prompt must hold at least one token, or none after a "
                                         r"restored run$"):
        simulate(build_simulator(CORE), CORE, image, [], 3)


def test_images_of_files_are_the_same(call, toy_model, tmp_path, invoke):
    found = open_model(toy_model)
    path = tmp_path / "toy.tfi"
    lower_for(found.program, "ulx3s-85f", found.tokenizer).write(path)
    call("--prompt", "abc", "--tokens", 2, "--save", "run.npz")
    code, out, _ = invoke("simulate", "--board", "ulx3s-85f", "--image", path, "--tokens", 3,
                          "--restore", "run.npz", "--json")
    assert code == 0
    whole = call("--prompt", "abc", "--tokens", 5)["tokens"]
    assert json.loads(out)["tokens"] == whole[2:]
