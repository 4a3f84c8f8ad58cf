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


#: Cells that drive constants: nextpnr adds them where it wants, one or two to a design.
CONSTANTS = (1, 2)


@pytest.mark.parametrize(("family", "lut"), [("ecp5", 3), ("ice40", 4)])
def test_unit_counts_its_own_cells(family, lut):
    one, five = (measure_component(UNIT.format(copies=copies), "unit_under_test", family,
                                   (1, 2, 3), 100) for copies in (1, 5))
    # On the iCE40 a register without a table has a logic cell too.
    assert one.lut - lut in CONSTANTS
    assert five.lut - one.lut == 4 * lut
    assert (one.ff, five.ff) == (4, 20)
    assert (five.block_ram, five.dsp) == (0, 0)
    assert list(one.fmax_of_seeds) == [1, 2, 3]
    assert one.fmax_mhz == sorted(one.fmax_of_seeds.values())[1] > 100


@pytest.mark.parametrize("family", ["ecp5", "ice40"])
def test_unit_without_a_clock(family):
    seen = measure_component(TABLE, "table_only", family)
    assert seen.lut - 1 in (0, *CONSTANTS)
    assert seen.ff == 0


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match=r"^units are measured for ecp5 and ice40, not 'xilinx'$"):
        measure_component(TABLE, "table_only", "gowin")
    with pytest.raises(UserError, match=r"^seeds must name at least one seed$"):
        measure_component(TABLE, "table_only", "ecp5", ())
    with pytest.raises(UserError, match=r"^the module sink must have an input and an output "
                                        r"beside its clock$"):
        unit_wrapper("sink", [PortBits("clk", 1, False), PortBits("a", 4, False)],
                     board("icebreaker"))
