"""Designs whose current was published, written anew after their descriptions."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from ternforge.cache import cache_dir
from ternforge.output import write_text
from ternforge_boards.board import Board, board
from ternforge_boards.jobs import Jobs
from ternforge_boards.yosys import synthesise

from .gates import Delays, GateNetlist, gate_netlist
from .simulator import Counts, GateSimulator

__all__ = ["counter", "counts_of", "multiplier", "netlist_of"]

#: Cycles before counting begins, and cycles counted: 8 bit counters have then passed all states.
WARM, COUNTED = 64, 65536

#: Module across whose boundary nothing is optimised.
ISOLATED = "times"

#: Clock of the design, by where it comes from.
CLOCKS = {
    "pin": "input clk",
    "high": 'wire clk; SB_HFOSC #(.CLKHF_DIV("0b10")) oscillator '
            "(.CLKHFPU(1'b1), .CLKHFEN(1'b1), .CLKHF(clk));",
    "low": "wire clk; SB_LFOSC oscillator (.CLKLFPU(1'b1), .CLKLFEN(1'b1), .CLKLF(clk));",
}


def _module(clock: str, body: str, output: str) -> str:
    ports, inner = ("input clk, ", "") if clock == "pin" else ("", CLOCKS[clock])
    return f"""\
module published ({ports}output uart_tx);
  {inner}
{body}
  assign uart_tx = {output};
endmodule
"""


def counter(clock: str, bits: int) -> str:
    """Verilog of a free-running counter; ``clock`` is a key of :data:`CLOCKS`."""
    return _module(clock, f"""\
  reg [{bits - 1}:0] count;
  always @(posedge clk) count <= count + 1'b1;""", f"count[{bits - 1}]")


def multiplier(clock: str) -> str:
    """Verilog of a 24 bit counter and two of 8 bits, with steps of 3 and 5, whose product is made.

    Nothing registers the product; a pin shows whether its bits, or those of a counter, are all 1.
    Those of the product never are, which synthesis must not find out: module :data:`ISOLATED`.
    """
    return f"""\
module {ISOLATED} (input [7:0] a, input [7:0] b, output [15:0] product);
  assign product = a * b;
endmodule

""" + _module(clock, f"""\
  reg [23:0] count;
  reg [7:0] first, second;
  wire [15:0] product;
  {ISOLATED} unit (.a(first), .b(second), .product(product));
  always @(posedge clk) begin
    count <= count + 1'b1;
    first <= first + 8'd3;
    second <= second + 8'd5;
  end""", "count[23] | &first | &second | &product")


def _record(dsp: bool) -> Board:
    options = ("-dsp", "-device", "u") if dsp else ("-device", "u")
    return replace(board("icebreaker"), synth_options=options)


def netlist_of(verilog: str, *, dsp: bool = False, delays: Delays | None = None) -> GateNetlist:
    """Synthesise a design for the UP5K, found in the cache if nothing changed.

    With ``dsp`` nothing is isolated: registers may go into the block, as they did when published.
    """
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        source = Path(work) / "published.v"
        write_text(source, verilog)
        isolated = not dsp and f"module {ISOLATED}" in verilog
        netlist = synthesise([source], [], _record(dsp), Jobs(), top="published",
                             isolate=ISOLATED if isolated else None)
    module = json.loads(netlist.path.read_bytes())["modules"][netlist.top]
    return gate_netlist(module, delays)


@cache
def counts_of(make: Callable[..., str], *arguments: object, dsp: bool = False,
              delays: Delays | None = None) -> tuple[Counts, GateNetlist]:
    """Activity of a free-running design and its netlist."""
    netlist = netlist_of(make(*arguments), dsp=dsp, delays=delays)
    gates = GateSimulator(netlist)
    gates.run(WARM)
    gates.count(True)
    gates.run(COUNTED)
    return gates.counts(), netlist
