"""Whole tokens out of SDRAM and DDR3 behind LiteDRAM's controller, and through the serial line."""

import json
from functools import cache
from typing import Any

import pytest

from ternforge import presets
from ternforge.cli import run_function
from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge.mem.litedram import DramConfig
from ternforge.process import ToolError
from ternforge_firmware.host import Board
from ternforge_firmware.lower import lower
from ternforge_model.catalog import open_model
from ternforge_model.integer import IntegerModel
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program
from ternforge_sim import dram as dram_module
from ternforge_sim.chat import chat
from ternforge_sim.dram import DramCore, DramMemoryModel, DramNumbers, build_dram_simulator
from ternforge_sim.dram_system import DramBoard, build_dram_system
from ternforge_sim.simulate import simulate

SIZE: Any = {"memory_beats": 8192, "bank_beats": 0, "vector_depth": 512, "state_depth": 256,
             "max_rows": 32, "max_fan_in": 160, "tile_registers": 2, "elements": 2}
#: A beat is a word of the SDR controller, and half of one of the DDR3 controller.
CORES = {"sdr": CoreConfig(lanes=4, **SIZE), "ddr3": CoreConfig(lanes=8, **SIZE)}
DRAMS = {"sdr": DramConfig(kind="sdr", chip="MT48LC16M16", clock_hz=66_000_000),
         "ddr3": DramConfig(kind="ddr3", chip="MT41K64M16", clock_hz=75_000_000)}
PROMPT = [3, 15, 0]

pytestmark = pytest.mark.xdist_group("dram-simulator")


@cache
def program():
    return random_program(21, d=44, layers=2, m=100, vocab=50, inner_norms=True)


@pytest.fixture(scope="module", params=DRAMS)
def kind(request):
    return request.param


@cache
def library(kind: str):
    return build_dram_simulator(CORES[kind], DRAMS[kind])


def test_tokens_equal_integer_model(kind):
    image = lower(program(), CORES[kind])
    run = simulate(library(kind), CORES[kind], image, PROMPT, 3,
                   memory=DramMemoryModel(dram=DRAMS[kind]))
    assert run.first_divergence is None, str(run.first_divergence)
    assert run.checked_tokens == run.fed_tokens == 5
    fed = [*PROMPT, *run.tokens[:-1]]
    assert run.saturations == dict(IntegerModel(program()).forward(fed).saturations)
    assert sum(run.causes.values()) == run.cycles
    assert min(run.causes.values()) >= 0
    assert run.causes["refresh"] > 0
    assert run.causes["rows"] > 0


def test_waits_for_a_chip_grow_with_its_refreshes(kind):
    """Twenty tokens: what each refresh costs is about the time for which the chip is busy."""
    core, dram = CORES[kind], DRAMS[kind]
    model = DramMemoryModel(dram=dram)
    hardware = DramCore(library(kind), core, model)
    hardware.load(lower(program(), core).memory())
    before = hardware.counts().refreshes
    steps = [hardware.step(token) for token in range(20)]
    refreshes = hardware.counts().refreshes - before
    hardware.close()
    waits = [step.waits for step in steps]
    for step in steps:
        assert sum(step.waits.values()) <= step.activity[:, Cause.MEMORY.value].sum()
    busy = model.controller.chip["tRFC"] / dram.ratio  # controller cycles
    refreshing = sum(wait["refresh"] for wait in waits)
    assert 0.2 * busy * refreshes < refreshing < 4 * (busy + 10) * refreshes


def test_the_chip_is_refreshed_and_read_once(kind):
    core, dram = CORES[kind], DRAMS[kind]
    image, model = lower(program(), core), DramMemoryModel(dram=dram)
    hardware = DramCore(library(kind), core, model)
    hardware.load(image.memory())
    before, began = hardware.counts(), hardware.cycle
    for token in range(20):
        hardware.step(token)
    after, clocks = hardware.counts(), (hardware.cycle - began) * dram.ratio
    hardware.close()
    controller = model.controller
    due = clocks / controller.chip["tREFI"]
    late = controller.refresh_postponing
    assert due - late <= after.refreshes - before.refreshes <= due * 1.01 + late
    assert after.writes == before.writes
    ratio = dram.word_bits // core.beat_bits
    beats = 2 * core.header_beats + len(image.program_beats)
    words = 20 * beats / ratio
    assert words <= after.reads - before.reads <= words + 20 * 150


def test_a_chip_that_is_slower_than_the_controller_believes_is_told(kind, monkeypatch):
    numbers = DramNumbers.of(DramMemoryModel(dram=DRAMS[kind]).controller)
    numbers.tRCD += 2
    monkeypatch.setattr(dram_module.DramNumbers, "of", lambda dram: numbers)
    with pytest.raises(ToolError, match=(
            rf"^the memory chip was used against its rules: tRCD: \w+ after ACTIVATE came \d+ "
            rf"clocks later, and the chip needs {numbers.tRCD} \(controller cycle \d+\)$")):
        DramCore(library(kind), CORES[kind], DramMemoryModel(dram=DRAMS[kind]))


@pytest.mark.slow
def test_serial_line_writes_and_reads_the_chip(kind):
    """All bytes of image, tokens and sums go through the system's pins."""
    core, dram = CORES[kind], DRAMS[kind]
    image = lower(program(), core)
    expected = simulate(library(kind), core, image, PROMPT, 6,
                        memory=DramMemoryModel(dram=dram)).tokens
    found = []
    for ready in (None, image.memory()):  # uploaded, and in the chip from the start
        line = DramBoard(build_dram_system(core, dram), dram, image=ready)
        board = Board(line)
        if ready is None:
            board.load(image)
        board.reset()
        found.append([board.step(PROMPT), *board.generate(5)])
        line.close()
    assert found == [expected, expected]


@pytest.mark.slow
def test_chat_with_a_simulated_chip(capsys, toy_model, monkeypatch):
    """The image travels over the serial line, or stands in the chip; the tokens are the same."""
    monkeypatch.setitem(presets.PRESETS, "sdr-n4", CoreConfig(
        lanes=4, elements=2, memory_beats=2048, bank_beats=0, vector_depth=256, state_depth=64,
        max_rows=64, max_fan_in=64))
    model, said = open_model(str(toy_model)), []
    for option in ("--upload", "--no-upload"):
        code = run_function(chat, "chat", [
            "--simulate", "--board", "sdr-n4", "--model", str(toy_model), "--prompt", "abc",
            "--tokens", "8", option, "--json"])
        assert code == 0
        said.append(json.loads(capsys.readouterr().out))
    expected = generate(model.program, model.tokenizer.encode("abc"), 8)
    assert [one["tokens"] for one in said] == [expected, expected]
    assert said[0]["uploaded_beats"] > 0
    assert said[1]["uploaded_beats"] == 0
