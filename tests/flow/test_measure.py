"""Units are measured without what is put around them, and nothing of them is optimised away."""

import pytest

from ternforge.errors import UserError
from ternforge_boards.board import board
from ternforge_boards.measure import PortBits, measure_component, unit_wrapper

#: Copies of three tables with a register each, and a register without one.
UNIT = """\
module unit_under_test #(parameter N = {copies}) (
    input clk, input [4*N-1:0] a, input [2*N-1:0] b, output reg [3*N-1:0] y, output reg [N-1:0] q);
  integer k;
  always @(posedge clk)
    for (k = 0; k < N; k = k + 1) begin
      y[3*k +: 3] <= {{^a[4*k +: 4], a[4*k] & b[2*k+1], a[4*k+3] | b[2*k]}};
      q[k] <= a[4*k+2];
    end
endmodule
"""

TABLE = """\
module table_only (input [3:0] a, output y);
  assign y = &a[1:0] ^ |a[3:2];
endmodule
"""


#: Two registers whose wires are called like bits of the output.
NAMES = """\
module names (input clk, input [15:0] a, output [15:0] codes);
  reg [7:0] \\codes[0] , \\codes[1] ;
  always @(posedge clk) begin
    \\codes[0] <= a[7:0] ^ a[15:8];
    \\codes[1] <= a[7:0] & a[15:8];
  end
  assign codes = {\\codes[1] , \\codes[0] };
endmodule
"""


#: Cells that drive constants: nextpnr adds them where it wants, one or two to a design, but has a
#: site for them on Gowin parts.
CONSTANTS = {"ecp5": (1, 2), "ice40": (1, 2), "gowin": (0,)}


@pytest.mark.parametrize(("family", "lut"), [("ecp5", 3), ("ice40", 4), ("gowin", 4)])
def test_unit_counts_its_own_cells(family, lut):
    one, five = (measure_component(UNIT.format(copies=copies), "unit_under_test", family,
                                   (1, 2, 3), 100) for copies in (1, 5))
    # On the iCE40 a register without a table has a logic cell too, on Gowin parts a table.
    assert one.lut - lut in CONSTANTS[family]
    assert five.lut - one.lut == 4 * lut
    assert (one.ff, five.ff) == (4, 20)
    assert (five.block_ram, five.dsp) == (0, 0)
    assert list(one.fmax_of_seeds) == [1, 2, 3]
    assert one.fmax_mhz == sorted(one.fmax_of_seeds.values())[1] > 100


@pytest.mark.parametrize("family", ["ecp5", "ice40", "gowin"])
def test_unit_without_a_clock(family):
    seen = measure_component(TABLE, "table_only", family)
    # The wrapper's last register takes the table into its own cell, where it has one.
    assert seen.lut - (family == "ecp5") in (0, *CONSTANTS[family])
    assert seen.ff == 0


def test_adder_of_a_gowin_part():
    verilog = """\
module adder (input clk, input [11:0] a, b, output reg [11:0] y);
  always @(posedge clk) y <= a + b;
endmodule
"""
    seen = measure_component(verilog, "adder", "gowin", (1, 2, 3))
    # 12 bits and what begins the chain; a register that stands elsewhere has a table of its own
    assert 13 <= seen.lut <= 14 + 12
    assert seen.ff == 12


def test_multiplier_and_memory_of_a_gowin_part():
    verilog = """\
module both (input clk, we, input [9:0] at, input [15:0] a, b, output reg [31:0] y,
             output reg [15:0] q);
  reg [15:0] memory [0:1023];
  always @(posedge clk) begin
    if (we) memory[at] <= a;
    q <= memory[at];
    y <= a * b;
  end
endmodule
"""
    seen = measure_component(verilog, "both", "gowin")
    assert (seen.block_ram, seen.dsp) == (1, 1)


@pytest.mark.parametrize("family", ["ecp5", "gowin"])
def test_wires_may_be_called_like_bits(family):
    """Yosys ends in ABC unless they get other names."""
    seen = measure_component(NAMES, "names", family)
    assert seen.ff == 16
    assert seen.lut - 16 in (0, 1, *CONSTANTS[family])


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match=r"^units are measured for ecp5, ice40, gowin, not "
                                        r"'xilinx'$"):
        measure_component(TABLE, "table_only", "xilinx")
    with pytest.raises(UserError, match=r"^seeds must name at least one seed$"):
        measure_component(TABLE, "table_only", "ecp5", ())
    with pytest.raises(UserError, match=r"^the module sink must have an input and an output "
                                        r"beside its clock$"):
        unit_wrapper("sink", [PortBits("clk", 1, False), PortBits("a", 4, False)],
                     board("icebreaker"))
