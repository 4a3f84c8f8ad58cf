"""Tokens of whole designs' netlists, of the ECP5 and of Gowin, equal the integer model's."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from ternforge import presets
from ternforge.config import CoreConfig
from ternforge.process import ToolError
from ternforge_boards.board import board
from ternforge_boards.flow import synthesise_design
from ternforge_boards.handoff import make_design
from ternforge_boards.jobs import Jobs
from ternforge_boards.netsim.check import family_netlist
from ternforge_boards.power.token import simulate_tokens
from ternforge_sim.commands import open_image

pytestmark = pytest.mark.slow

#: Block RAM for the toy's image, instead of a memory chip.
ON_CHIP: Any = {"memory_beats": 1024, "bank_beats": 256}

#: A small core with the lanes that are the default, and those of the boards with a memory chip.
CORES = {
    "ulx3s-85f": CoreConfig(tree_levels=1, vector_depth=64, state_depth=32, max_rows=32,
                            max_fan_in=32, lanes=4, elements=2, **ON_CHIP),
    **{name: replace(presets.core_preset(name), **ON_CHIP)
       for name in ("ulx3s-85f-sdram", "orangecrab-85f", "tang-nano-20k")},
}


def without_memory(name):
    record = board(name)
    if record.memory is None:
        return record
    pins = tuple(pin for pin in record.pins if record.memory.prefix not in pin.port)
    return replace(record, memory=None, pins=pins)


@pytest.fixture(scope="module", params=CORES)
def made(request, toy_model):
    """Design, and top module of what nextpnr reads."""
    record = without_memory(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, presets.BOARDS[request.param], CORES[request.param])
        design = make_design(record, open_image(request.param, str(toy_model), None))
    netlist = synthesise_design(design, Jobs())
    return design, json.loads(netlist.path.read_bytes())["modules"][netlist.top]


@pytest.mark.parametrize("undefined", [0, 1])
def test_tokens_are_exact_whatever_undefined_pins_are(made, undefined):
    design, module = made
    netlist = family_netlist(module, design.board.family, undefined)
    assert simulate_tokens(netlist, design).cycles_per_token > 100


#: What breaks each family's design: a table, a carry, the register of a product.
def spoil(cell):
    kind, parameters = cell["type"], cell["parameters"]
    if kind == "MULT18X18D" and parameters.get("REG_OUTPUT_CLK", "NONE") != "NONE":
        parameters["REG_OUTPUT_CLK"] = "NONE"
    elif kind == "MULT18X18":
        cell["connections"]["BSIGN"] = cell["connections"]["CLK"]  # low


def test_a_broken_multiplier_is_noticed(made):
    design, module = made
    broken = copy.deepcopy(module)
    for cell in broken["cells"].values():
        spoil(cell)
    with pytest.raises(ToolError, match="the gates make the tokens"):
        simulate_tokens(family_netlist(broken, design.board.family), design)
