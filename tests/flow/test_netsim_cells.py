"""Netlists of the ECP5 and of Gowin in the gate simulator against their Verilog in Verilator."""

import json
import random
import tempfile
from pathlib import Path

import pytest
from amaranth import signed, unsigned

from ternforge.cache import cache_dir
from ternforge.core.multiply import Multiplier, RoundShift
from ternforge.core.scale import ScaleUnit
from ternforge.errors import UserError
from ternforge.verilog import generate
from ternforge_boards.board import board
from ternforge_boards.jobs import Jobs
from ternforge_boards.netsim.check import family_netlist
from ternforge_boards.power.simulator import GateSimulator
from ternforge_boards.yosys import synthesise

from .blocks import run_blocks

CYCLES = 400

#: Bits of an address that change: 512 words to fill are elaborated sooner than 4096.
ADDRESSES = 0xF8F

#: Memories of several widths, multipliers, carries, tables, and every kind of flip-flop. Memories
#: are never read where they are written, save `mid`, which often is and gives the old word.
FRAGMENT = """\
module fragment (input clk, input we, input en, input rst, input [11:0] wa, input [11:0] ra,
                 input [35:0] d, input [3:0] be, input [17:0] x, input [17:0] y,
                 output reg [35:0] wide_late, output reg [17:0] mid_word, output reg [3:0] slim,
                 output reg [23:0] fixed_late, output reg [8:0] one, output [3:0] asynchronous,
                 output reg [35:0] product, output reg [35:0] natural, output [35:0] now,
                 output reg [18:0] sum, output less, output chosen, output looked,
                 output reg [5:0] flags, output reg [23:0] plain_late, output reg [17:0] half_late,
                 output reg [8:0] former);
  (* no_rw_check, ram_style = "block" *) reg [35:0] wide [0:511];
  (* no_rw_check, ram_style = "block" *) reg [23:0] plain [0:511];
  (* no_rw_check, ram_style = "block" *) reg [17:0] half [0:1023];
  (* ram_style = "block" *) reg [17:0] mid [0:1023];
  (* no_rw_check, ram_style = "block" *) reg [3:0] narrow [0:4095];
  (* ram_style = "block" *) reg [23:0] fixed [0:511];
  (* no_rw_check, ram_style = "block" *) reg [8:0] single [0:2047];
  (* ram_style = "block" *) reg [8:0] back [0:2047];
  reg [3:0] tiny [0:15];
  reg [35:0] wide_word;
  reg [23:0] fixed_word, plain_word;
  reg [17:0] half_word;
  wire [63:0] many = {x[9:0], y, d};
  reg [11:0] p;
  integer k;
  initial begin
    for (k = 0; k < 512; k = k + 1) begin  // only these addresses are used
      p = {k[8:4], 3'b0, k[3:0]};
      narrow[p] = k ^ k >> 4;
      if (k < 256) back[p] = k * 3;
      if (k < 128) half[p] = k * 4099;
      if (k < 64) begin
        wide[p] = k * 36'h123456789; fixed[p] = k * 40503 + 7; plain[p] = k * 77;
      end
      if (k < 16) begin mid[k] = k * 259; single[k] = k * 5; tiny[k] = k * 7; end
    end
    wide_word = 0; wide_late = 0; mid_word = 0; slim = 0; fixed_word = 0; fixed_late = 0; one = 0;
    product = 0; natural = 0; sum = 0; flags = 6'b101010; plain_word = 0; plain_late = 0;
    half_word = 0; half_late = 0; former = 0;
  end
  always @(posedge clk) begin
    for (k = 0; k < 4; k = k + 1) if (we & be[k]) wide[wa[8:0]][9*k+:9] <= d[9*k+:9];
    wide_word <= wide[{~wa[8], ra[7:0]}];
    wide_late <= wide_word;
    if (we) plain[wa[8:0]] <= d[23:0];
    plain_word <= plain[{~wa[8], ra[7:0]}];
    plain_late <= plain_word;
    if (we) half[wa[9:0]] <= d[17:0];
    half_word <= half[{~wa[9], ra[8:0]}];
    half_late <= half_word;
    if (we) mid[wa[2:0]] <= d[17:0];
    if (en) mid_word <= mid[ra[2:0]];
    if (we) narrow[wa] <= d[3:0];
    slim <= narrow[{~wa[11], ra[10:0]}];
    fixed_word <= fixed[ra[8:0]];
    fixed_late <= fixed_word;
    if (en) begin
      if (we) single[wa[3:0]] <= d[8:0];
      else one <= single[wa[3:0]];
    end
    if (we) back[wa[10:0]] <= d[8:0];
    former <= back[wa[10:0]];
    if (we) tiny[wa[3:0]] <= d[3:0];
    product <= $signed(x) * $signed(y);
    natural <= x * y;
    if (rst) sum <= 0; else if (en) sum <= x[3] ? x + y : x - y;
    flags[0] <= d[0];
    if (en) flags[1] <= d[1];
    if (rst) flags[2] <= 0; else flags[2] <= d[2];
    if (rst) flags[3] <= 1; else if (en) flags[3] <= d[3];
    if (!en) flags[4] <= d[4];
    if (rst) flags[5] <= 1; else flags[5] <= d[5];
  end
  assign asynchronous = tiny[ra[3:0]];
  assign now = $signed(x[15:0]) * $signed(y[15:0]);
  assign less = $signed(x) < $signed(y);
  localparam [63:0] TABLE = 64'h9d3a5c71e2b84f06;
  assign looked = TABLE[x[9:4]];
  assign chosen = many[{y[1:0], x[3:0]}];
endmodule
"""
FRAGMENT_PORTS = [
    ("in", "we", 1), ("in", "en", 1), ("in", "rst", 1), ("in", "wa", 12), ("in", "ra", 12),
    ("in", "d", 36), ("in", "be", 4), ("in", "x", 18), ("in", "y", 18), ("out", "wide_late", 36),
    ("out", "mid_word", 18), ("out", "slim", 4), ("out", "fixed_late", 24), ("out", "one", 9),
    ("out", "asynchronous", 4), ("out", "product", 36), ("out", "natural", 36), ("out", "now", 36),
    ("out", "sum", 19), ("out", "less", 1), ("out", "chosen", 1), ("out", "looked", 1),
    ("out", "flags", 6), ("out", "plain_late", 24), ("out", "half_late", 18),
    ("out", "former", 9)]

#: Units of the core, and the fragment.
UNITS = {
    "multiplier": lambda: Multiplier(signed(24), signed(16)),
    "natural": lambda: Multiplier(unsigned(16), unsigned(16)),
    "shift": lambda: RoundShift(40, 24),
    "scale": ScaleUnit,
}

FAMILIES = {"ecp5": "ulx3s-85f-sdram", "gowin": "tang-nano-20k"}


def sources(family):
    """Verilog with the module `blocks`, and the name and bits of its inputs and outputs."""
    texts, instances = [FRAGMENT], []
    units = {"fragment": FRAGMENT_PORTS}
    for name, make in UNITS.items():
        design = generate(make(), name, family=family)
        texts.append(design.text)
        units[name] = [("in" if port.direction == "input" else "out", port.name, port.width)
                       for port in design.ports if port.name != "clk"]
    where: dict[str, dict[str, tuple[int, int]]] = {"in": {}, "out": {}}
    sizes = {"in": 0, "out": 0}
    for unit, ports in units.items():
        pins = [".clk(clk)"]
        for direction, name, width in ports:
            low = sizes[direction]
            where[direction][f"{unit}.{name}"] = (low, width)
            sizes[direction] += width
            pins.append(f".{name}({direction}[{low + width - 1}:{low}])")
        instances.append(f"  {unit} {unit}_i ({', '.join(pins)});\n")
    top = (f"module blocks (input clk, input [{sizes['in'] - 1}:0] in, "
           f"output [{sizes['out'] - 1}:0] out);\n{''.join(instances)}endmodule\n")
    return "\n".join([*texts, top]), where, sizes


def stimulus(where):
    """Inputs of each cycle as one word; a reset is rare, and so is a start of the scale unit."""
    rng, words = random.Random(3), []
    for _ in range(CYCLES):
        word = 0
        for name, (low, width) in where["in"].items():
            value = rng.getrandbits(width)
            if rng.random() < 0.2:
                value = rng.choice((0, 1, (1 << width) - 1, 1 << width - 1))
            if name.endswith((".rst", ".start")):
                value = int(rng.random() < 0.1)
            if name in ("fragment.wa", "fragment.ra"):
                value &= ADDRESSES
            word |= value << low
        words.append(word)
    return words


def in_verilator(text, folder, words, sizes):
    (folder / "blocks.v").write_text(text)
    return run_blocks([folder / "blocks.v"], words, sizes["in"], sizes["out"],
                      first_edge=True)  # the gates' first one, whose inputs are low


def in_gates(module, family, undefined, words, sizes):
    netlist = family_netlist(module, family, undefined)
    gates, seen = GateSimulator(netlist), []
    ins = [netlist.names[f"in[{k}]"] for k in range(sizes["in"])]
    outs = [netlist.names.get(f"out[{k}]") for k in range(sizes["out"])]
    constants = module["netnames"]["out"]["bits"]
    for word in words:
        for k, net in enumerate(ins):
            gates.set(net, bool(word >> k & 1))
        gates.run()  # the edge of the cycle before; the inputs change after it
        seen.append(sum((int(constants[k] == "1") if net is None else gates.value(net)) << k
                        for k, net in enumerate(outs)))
    return seen


def synthesised(text, family):
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        source = Path(work) / "blocks.v"
        source.write_text(text)
        netlist = synthesise([source], [], board(FAMILIES[family]), Jobs(), top="blocks")
    return json.loads(netlist.path.read_bytes())["modules"][netlist.top]


@pytest.fixture(scope="module", params=FAMILIES)
def compared(request, tmp_path_factory):
    text, where, sizes = sources(request.param)
    words = stimulus(where)
    wanted = in_verilator(text, tmp_path_factory.mktemp("cells"), words, sizes)
    return request.param, synthesised(text, request.param), where, sizes, words, wanted


def differing(seen, wanted, where):
    """Outputs that differ in any cycle."""
    return {name for name, (low, width) in where["out"].items()
            if any((a ^ b) >> low & (1 << width) - 1 for a, b in zip(seen, wanted, strict=True))}


@pytest.mark.parametrize("undefined", [0, 1])
def test_every_output_is_that_of_the_verilog(compared, undefined):
    family, module, where, sizes, words, wanted = compared
    seen = in_gates(module, family, undefined, words, sizes)
    assert differing(seen, wanted, where) == set()
    for name, (low, width) in where["out"].items():  # each of them is put to use
        assert len({word >> low & (1 << width) - 1 for word in wanted}) > 1, name


def test_cells_are_those_that_boards_have(compared):
    family, module, *_ = compared
    kinds = {cell["type"] for cell in module["cells"].values()}
    wanted = {"ecp5": {"LUT4", "PFUMX", "L6MUX21", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4",
                       "DP16KD", "MULT18X18D"},
              "gowin": {"LUT4", "ALU", "DFF", "DFFE", "DFFR", "DFFRE", "DFFS", "DFFSE",
                        "SDPX9B", "DPX9B", "DPB", "SPX9", "RAM16SDP4", "MULT18X18"}}[family]
    assert wanted <= kinds, kinds
    if family == "ecp5":
        late = [int(cell["parameters"]["DATA_WIDTH_B"], 2) for cell in module["cells"].values()
                if cell["parameters"].get("REGMODE_B") == "OUTREG"]
        assert sorted(late) == [18, 36, 36, 36]  # half, wide, plain, fixed


def test_a_cell_without_a_model_is_refused():
    module = {"ports": {}, "netnames": {},
              "cells": {"a": {"type": "ALU54B", "connections": {}, "parameters": {}}}}
    for family in FAMILIES:
        with pytest.raises(UserError, match="the simulation of a netlist knows no cell ALU54B of"):
            family_netlist(module, family)


def test_what_the_other_port_writes_is_read_as_undefined():
    pins = {"CLKA": [2], "CLKB": [2], "CEA": ["1"], "CEB": ["1"], "WEA": [3], "OCEA": ["1"],
            "OCEB": ["1"], "ADA0": ["1"], "ADA1": ["0"], "ADA4": ["1"], "ADB4": ["1"],
            **{f"DIA{k}": ["0"] for k in range(18)}, **{f"DOB{k}": [10 + k] for k in range(18)}}
    module = {
        "ports": {"we": {"direction": "input", "bits": [3]}},
        "netnames": {"we": {"bits": [3]}, "word": {"bits": list(range(10, 28))}},
        "cells": {"ram": {"type": "DP16KD", "connections": pins,
                          "parameters": {"DATA_WIDTH_A": 18, "DATA_WIDTH_B": 18}}}}
    netlist = family_netlist(module, "ecp5")
    gates = GateSimulator(netlist)

    def word():
        return sum(gates.value(netlist.names[f"word[{k}]"]) << k for k in range(18))

    seen = []
    for write in (True, False, False):
        gates.set(netlist.names["we"], write)
        gates.run()
        seen.append(word())
    assert seen == [0, 511, 0]  # one byte of the two is written
