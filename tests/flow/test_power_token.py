"""A token through the gates of a whole board's design equals the integer model's."""

import copy
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ternforge.cache import cache_dir
from ternforge.process import ToolError
from ternforge_boards.board import board
from ternforge_boards.handoff import TOP, make_design, write_build_sources
from ternforge_boards.jobs import Jobs
from ternforge_boards.power.gates import Delays, gate_netlist
from ternforge_boards.power.token import COUNTED_TOKENS, simulate_tokens
from ternforge_boards.yosys import synthesise
from ternforge_sim.commands import open_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def design(toy_cores, toy_model):
    record = board("icebreaker")
    return make_design(record, open_image("icebreaker", str(toy_model), None))


@pytest.fixture(scope="module")
def module(design):
    """Without multiplier blocks, whose model has a test of its own."""
    record = replace(design.board, synth_options=("-device", "u"))
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        write_build_sources(design, Path(work))
        netlist = synthesise(sorted(Path(work).glob("*.v")), sorted(Path(work).glob("*.mem")),
                             record, Jobs(), top=f"{TOP}_icebreaker")
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


def test_broken_gates_are_noticed(design, module):
    broken = copy.deepcopy(module)
    for name, cell in broken["cells"].items():
        if cell["type"] == "SB_LUT4" and ".lanes." in name:
            cell["parameters"]["LUT_INIT"] = "1001011001101001"
    with pytest.raises(ToolError, match="the gates make the tokens"):
        simulate_tokens(gate_netlist(broken), design)
