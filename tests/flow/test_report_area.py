"""Area by unit of designs that were placed, against what nextpnr counts."""

import json
from pathlib import Path

import pytest

from ternforge_boards.board import board
from ternforge_boards.build import build
from ternforge_boards.report.area import area_report
from ternforge_boards.report.paths import clock_reports
from ternforge_boards.report.units import attribute
from ternforge_boards.yosys import top_module

#: Two units with registers, carries, tables and a memory, on ports that every board has.
DESIGN = """\
module top (input clk, input uart_rx, output uart_tx, output [1:0] led);
  wire [31:0] sum;
  wire [31:0] mixed;
  adder adder_i (.clk(clk), .x({mixed[30:0], uart_rx}), .sum(sum));
  mixer mixer_i (.clk(clk), .x(sum), .mixed(mixed));
  assign uart_tx = ^mixed;
  assign led = sum[31:30];
endmodule
module adder (input clk, input [31:0] x, output reg [31:0] sum);
  reg [31:0] last = 0, before = 0;
  reg [23:0] count = 0;
  initial sum = 0;
  always @(posedge clk) begin
    count <= count + 3;
    last <= x;
    before <= last ^ {count, count[7:0]};
    sum <= sum + (last < before ? before - x : last + before);
  end
endmodule
module mixer (input clk, input [31:0] x, output [31:0] mixed);
  reg [7:0] memory [0:511];
  reg [7:0] value;
  reg [31:0] state = 1, other = 0;
  integer k;
  initial for (k = 0; k < 512; k = k + 1) memory[k] = k * k + (k >> 3);
  always @(posedge clk) begin
    value <= memory[x[8:0]];
    other <= (state << x[4:0]) ^ {4{value}};
    state <= (x ^ state ^ (state >> other[12:8])) ^ (other & {x[15:0], x[31:16]});
  end
  assign mixed = state ^ other;
endmodule
"""


@pytest.mark.parametrize("name", [
    "icebreaker", *(pytest.param(name, marks=pytest.mark.slow)
                    for name in ("ulx3s-85f", "tang-nano-20k"))])
def test_units_add_up_to_what_nextpnr_counts(name, tmp_path):
    (tmp_path / "top.v").write_text(DESIGN)
    record = board(name)
    result = build([tmp_path / "top.v"], record, freq_mhz=20, allow_timing_fail=True)
    netlist = top_module(json.loads(Path(result.netlist).read_bytes()))[1]
    cells = (top_module(json.loads(Path(result.placed).read_bytes()))[1]
             if record.family == "gowin" else netlist)
    used = {what: getattr(result, what) for what in ("lut", "ff", "block_ram", "dsp", "spram")}
    units = attribute(netlist)
    report = area_report(cells, units, record, used)
    areas = {unit.name: unit.area for unit in report.units}
    assert {"adder_i", "mixer_i"} <= set(areas)
    assert used["lut"] > 250
    for what, total in used.items():
        assert sum(getattr(area, what) for area in areas.values()) == pytest.approx(total, rel=0.02)
    assert areas["mixer_i"].block_ram == used["block_ram"] == 1
    # Registers are in the unit whose source has them; those of ``value`` are in the memory.
    assert (areas["adder_i"].ff, areas["mixer_i"].ff) == (120, 64)
    routing = json.loads(Path(result.routing).read_bytes())
    [clock] = clock_reports(result.clocks, routing, units)
    assert clock.net.endswith("clk")
    assert {step.unit for step in clock.path} <= {"adder_i", "mixer_i", "top"}
    assert sum(step.delay_ns for step in clock.path) == pytest.approx(
        1e3 / clock.achieved_mhz, rel=0.01)
