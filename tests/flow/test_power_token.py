"""A token through the gates of a whole board's design equals the integer model's."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from ternforge import presets
from ternforge.host.uart import uart_divisor
from ternforge.process import ToolError
from ternforge_boards.board import board
from ternforge_boards.flow import synthesise_design
from ternforge_boards.handoff import make_design
from ternforge_boards.jobs import Jobs
from ternforge_boards.power import token
from ternforge_boards.power.gates import SINGLE_PORT_RAM, Delays, gate_netlist
from ternforge_boards.power.serial import GateLine
from ternforge_boards.power.token import COUNTED_TOKENS, simulate_tokens
from ternforge_firmware.host import Board as HostBoard
from ternforge_sim.commands import open_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def design(toy_cores, toy_model):
    record = board("icebreaker")
    return make_design(record, open_image("icebreaker", str(toy_model), None))


@pytest.fixture(scope="module")
def module(design):
    return synthesised(design)


def synthesised(design):
    """Without multiplier blocks, whose model has a test of its own."""
    record = replace(design.board, synth_options=("-device", "u"))
    netlist = synthesise_design(replace(design, board=record), Jobs())
    return json.loads(netlist.path.read_bytes())["modules"][netlist.top]


def test_tokens_are_exact_and_what_settles_knows_no_delays(design, module):
    slow, fast = (simulate_tokens(gate_netlist(module, delays), design)
                  for delays in (Delays(), Delays(table=1, carry=1, block=1)))
    assert slow.counts.cycles == fast.counts.cycles > 100 * COUNTED_TOKENS
    assert slow.counts.functional_sink_toggles == fast.counts.functional_sink_toggles
    assert slow.counts.block_ram_reads == fast.counts.block_ram_reads > 0
    assert slow.counts.spram_reads == fast.counts.spram_reads > 0
    for found in (slow, fast):
        assert found.counts.sink_toggles > found.counts.functional_sink_toggles
    assert slow.counts.sink_toggles != fast.counts.sink_toggles


def test_ram_of_two_ranges_of_addresses(toy_cores, toy_model, monkeypatch):
    """As with half of the lanes: two single-port RAMs behind each other, the image in both."""
    core = replace(presets.PRESETS["up5k"], single_port_beats=2 * 16384,
                   memory_beats=2 * 16384 + 256)
    monkeypatch.setitem(presets.PRESETS, "up5k", core)
    image = open_image("icebreaker", str(toy_model), None)
    design = make_design(board("icebreaker"), image)
    netlist = gate_netlist(synthesised(design))
    found = simulate_tokens(netlist, design)
    assert found.spram == 2
    assert found.counts.spram_reads > 0
    gates, clock_hz = token.started(netlist), round(design.core_mhz * 1e6)
    beats = np.random.default_rng(1).integers(0, 256, (2 * 16384, 2), np.uint8)
    line = GateLine(gates, uart_divisor(clock_hz, design.baud), clock_hz)
    token.load_image(gates, HostBoard(line), beats, len(beats))
    held = [gates.peek(ram, 16384) for ram, kind in enumerate(netlist.block_kinds)
            if kind == SINGLE_PORT_RAM]
    words = beats.view("<u2")[:, 0]
    assert {bytes(one) for one in held} == {bytes(words[:16384]), bytes(words[16384:])}


def test_broken_gates_are_noticed(design, module):
    broken = copy.deepcopy(module)
    for name, cell in broken["cells"].items():
        if cell["type"] == "SB_LUT4" and ".lanes." in name:
            cell["parameters"]["LUT_INIT"] = "1001011001101001"
    with pytest.raises(ToolError, match="the gates make the tokens"):
        simulate_tokens(gate_netlist(broken), design)
