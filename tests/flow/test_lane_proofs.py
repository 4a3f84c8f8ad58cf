"""Lanes of carry cells compute what their twin does: proven by SAT on Yosys' own cells."""

from pathlib import Path

import pytest

import ternforge.lanes
from ternforge.config import CoreConfig
from ternforge.lanes import dot_product
from ternforge.lanes.ecp5 import AdderChain
from ternforge.verilog import generate

from .prove import COMBINATIONAL, MODELS, SEQUENTIAL, proven

OURS = Path(ternforge.lanes.__file__).with_name("ecp5_cells.v")


def same(folder, gold, gate, proof, *, models=MODELS, gold_models=""):
    (folder / "gold.v").write_text(gold)
    (folder / "gate.v").write_text(gate)
    return proven(folder, f"read_verilog gold.v; {gold_models}", f"read_verilog gate.v; {models}",
                  proof)


def both(component):
    """Verilog of the twin, and of the cells, without what the first one's carry is tied to."""
    gate = generate(component(), "gate", family="ecp5").text
    assert ".CIN(1'h0)" in gate
    return generate(component(), "gold").text, gate.replace(".CIN(1'h0)", ".CIN()")


@pytest.mark.parametrize(("width", "count", "negating"), [
    (8, 1, True), (8, 2, True), (9, 1, False), (9, 2, False), (10, 1, False), (14, 1, False)])
def test_chain_equals_its_twin(width, count, negating, tmp_path):
    gold, gate = both(lambda: AdderChain(width, count, negating=negating))
    assert "CCU2C" in gate
    assert "CCU2C" not in gold
    assert same(tmp_path, gold, gate, COMBINATIONAL)


@pytest.mark.parametrize(("negating", "before", "after"), [
    (True, "16'h6996", "16'h6997"), (True, "16'h6996", "16'h9696"), (True, "16'h000a", "16'h000c"),
    (False, "16'h66aa", "16'h66a5"), (False, "16'h000a", "16'hf00a"), (False, '"NO"', '"YES"'),
], ids=str)
def test_a_wrong_cell_is_noticed(negating, before, after, tmp_path):
    gold, gate = both(lambda: AdderChain(9, 2, negating=negating))
    assert before in gate
    assert not same(tmp_path, gold, gate.replace(before, after, 1), COMBINATIONAL)


@pytest.mark.parametrize("levels", [1, 2])
def test_lanes_equal_their_twin(levels, tmp_path):
    config = CoreConfig(lanes=2, tree_levels=levels, lane="ecp5")
    gold, gate = both(lambda: dot_product(config))
    assert same(tmp_path, gold, gate, SEQUENTIAL)
    wrong = gate.replace("16'h6996", "16'h6997", 1)
    assert not same(tmp_path, gold, wrong, SEQUENTIAL)


CELL = """\
module {name} (input cin, input [3:0] x, input [3:0] y, output [1:0] s, output cout);
  CCU2C #(.INIT0(16'h{init0}), .INIT1(16'h{init1}), .INJECT1_0("{inject0}"),
          .INJECT1_1("{inject1}")) cell (.CIN(cin), .COUT(cout), .S0(s[0]), .S1(s[1]),
    .A0(x[0]), .B0(x[1]), .C0(x[2]), .D0(x[3]), .A1(y[0]), .B1(y[1]), .C1(y[2]), .D1(y[3]));
endmodule
"""


@pytest.mark.parametrize("cell", [
    {"init0": "6996", "init1": "66aa", "inject0": "NO", "inject1": "NO"},
    {"init0": "000a", "init1": "96aa", "inject0": "NO", "inject1": "YES"},
    {"init0": "1234", "init1": "fedc", "inject0": "YES", "inject1": "NO"},
], ids=lambda cell: cell["init0"])
def test_our_model_of_the_cell_is_that_of_yosys(cell, tmp_path):
    ours = OURS.read_text()
    gold, gate = (CELL.format(name=name, **cell) for name in ("gold", "gate"))
    assert same(tmp_path, gold, gate + ours, COMBINATIONAL, models="", gold_models=MODELS)
    wrong = ours.replace("INIT1[{2'b00, B1, A1}]", "INIT1[{2'b00, A1, B1}]").replace(
        "sum0 ? CIN", "sum0 ? 1'b1")
    assert not same(tmp_path, gold, gate + wrong, COMBINATIONAL, models="", gold_models=MODELS)
