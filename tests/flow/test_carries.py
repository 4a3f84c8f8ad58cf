"""Pins of carry chains that are disconnected decide nothing: proven by SAT on Yosys' own cells."""

import json
from copy import deepcopy

import pytest

from ternforge.lanes.ecp5 import AdderChain
from ternforge.verilog import generate
from ternforge_boards.carries import trim_carry_chains

from .prove import COMBINATIONAL, MODELS, proven, yosys

#: An adder that Yosys infers, one whose carry is read, and two of our own on one chain.
DESIGN = """\
module top (input [5:0] x, input [5:0] y, input in, input [7:0] a, input [7:0] b, input [1:0] c,
            output [5:0] small, output [6:0] large, output [9:0] ours);
  assign small = x - y;
  CCU2C #(.INIT0(16'h66aa), .INIT1(16'h66aa), .INJECT1_0("NO"), .INJECT1_1("NO")) cell (
    .A0(x[0]), .B0(y[0]), .C0(1'b1), .D0(1'b1), .A1(x[1]), .B1(y[1]), .C1(1'b1), .D1(1'b1),
    .CIN(1'b0), .S0(large[0]), .S1(large[1]), .COUT(large[2]));
  assign large[6:3] = 0;
  chain chain (.a(a), .b(b), .carry(c), .sum(ours));
endmodule
"""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("carries")
    chain = generate(AdderChain(4, 2, negating=False), "chain", family="ecp5").text
    (folder / "top.v").write_text(DESIGN + chain)
    done = yosys("read_verilog top.v; synth_ecp5 -top top -json top.json", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "top.json").read_bytes())["modules"]["top"]


def same(folder, before, after):
    for name, module in (("gold", before), ("gate", deepcopy(after))):
        for cell in module["cells"].values():
            if cell["connections"].get("COUT") == ["x"]:  # Yosys wants no constant at an output
                del cell["connections"]["COUT"], cell["port_directions"]["COUT"]
        (folder / f"{name}.json").write_text(json.dumps({"modules": {name: module}}))
    return proven(folder, f"read_json gold.json; {MODELS}", f"read_json gate.json; {MODELS}",
                  COMBINATIONAL)


def test_trimmed_pins_decide_nothing(netlist, tmp_path):
    after = deepcopy(netlist)
    # The ends of the inferred chain and of ours, and where ours begins.
    assert trim_carry_chains(after) == 3
    assert same(tmp_path, netlist, after)
    assert trim_carry_chains(after) == 0


def test_other_pins_do(netlist, tmp_path):
    after = deepcopy(netlist)
    after["cells"]["cell"]["connections"]["CIN"] = ["x"]
    assert not same(tmp_path, netlist, after)
