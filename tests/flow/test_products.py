"""Products of more bits than a multiplier block of the iCE40 takes, through synthesis."""

import json
import random
from typing import Any

import pytest

from ternforge.process import ToolError
from ternforge_boards import yosys
from ternforge_boards.board import board
from ternforge_boards.jobs import Jobs
from ternforge_boards.netlist import lost_addends
from ternforge_boards.power.gates import gate_netlist
from ternforge_boards.power.simulator import GateSimulator

#: Two products with a common factor, added: what ``ternforge.core.multiply`` does with 24 bits.
SPLIT = """\
module split (input clk, input signed [23:0] a, input signed [15:0] b,
              output reg signed [39:0] total);
  reg signed [23:0] a_now;
  reg signed [15:0] b_now;
  reg signed [30:0] low_product;
  reg signed [24:0] high_product;
  wire signed [24:0] sum = high_product + (low_product >>> 15);
  always @(posedge clk) begin
    a_now <= a;
    b_now <= b;
    low_product <= $signed({1'b0, a_now[14:0]}) * b_now;
    high_product <= $signed(a_now[23:15]) * b_now;
    total <= {sum, low_product[14:0]};
  end
endmodule
"""


def synthesised(tmp_path) -> dict:
    (tmp_path / "split.v").write_text(SPLIT)
    netlist = yosys.synthesise([tmp_path / "split.v"], [], board("icebreaker"), Jobs(), top="split")
    return json.loads(netlist.path.read_bytes())["modules"]["split"]


def test_gates_make_the_product(tmp_path):
    netlist = gate_netlist(synthesised(tmp_path))
    assert netlist.counts["dsp"] == 2
    gates, names, rng = GateSimulator(netlist), netlist.names, random.Random(1)
    for _ in range(50):
        a, b = rng.randrange(-1 << 23, 1 << 23), rng.randrange(-1 << 15, 1 << 15)
        for name, width, value in (("a", 24, a), ("b", 16, b)):
            for k in range(width):
                gates.set(names[f"{name}[{k}]"], bool(value >> k & 1))
        gates.run(4)
        total = sum(gates.value(names[f"total[{k}]"]) << k for k in range(40))
        assert total == a * b & (1 << 40) - 1


def test_a_lost_addend_is_refused(tmp_path, monkeypatch):
    """Yosys 0.70 loses it without our attribute; if a later one does not, the attribute can go."""
    monkeypatch.setattr(yosys, "KEEP_PRODUCT", "")
    with pytest.raises(ToolError, match="left an addend of a multiplier undefined: "):
        synthesised(tmp_path)


@pytest.mark.parametrize(("used", "bits", "lost"), [
    ("1", ["x", "x"], ["block.C"]), ("1", ["0", 3], []), ("0", ["x", "x"], [])])
def test_undefined_addends_are_found(used, bits, lost):
    cell: Any = {"type": "SB_MAC16", "parameters": {"TOPADDSUB_UPPERINPUT": used},
            "connections": {"C": bits, "D": ["x"]}}
    assert lost_addends({"cells": {"block": cell}}) == lost
