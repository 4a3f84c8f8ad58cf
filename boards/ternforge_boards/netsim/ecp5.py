"""A synthesised ECP5 netlist as elements of the gate simulator.

Cells do what Yosys' models of them do (``share/ecp5``). It has none of two: block RAM and
multipliers are as Yosys' mappings use them (``share/lattice/brams_map_16kd.v``,
``dsp_map_18x18.v``). Lattice's own texts (FPGA-TN-02204, FPGA-TN-02205) were not compared.
"""

from typing import Any

from ternforge.errors import UserError
from ternforge_boards.netlist import Cell
from ternforge_boards.power.gates import GateNetlist

from .elements import (
    CARRY,
    NO_CHANGE,
    READ_FIRST,
    WORDS,
    WRITE_THROUGH,
    Elements,
    Port,
    number,
    refuse,
)

__all__ = ["ecp5_netlist"]

#: Cells without a part in what is computed; their outputs, save a PLL's lock, stay low.
PASSIVE = ("$scopeinfo", "EHXPLLL")

WRITE_MODES = {"NORMAL": NO_CHANGE, "WRITETHROUGH": WRITE_THROUGH, "READBEFOREWRITE": READ_FIRST}


def ecp5_netlist(module: dict[str, Any], undefined: int = 0) -> GateNetlist:
    """Elements of a flat module that ``synth_ecp5`` made.

    Parameters
    ----------
    module : dict
        The top module of Yosys' JSON.
    undefined : int
        Level of pins that are ``x``.

    Raises
    ------
    UserError
        If it has cells that are not simulated, or several clocks.
    """
    elements = Elements(module, undefined, {})
    locks, logic_cells = [], 0
    for name, cell in sorted(module["cells"].items()):
        kind = cell["type"]
        if kind in _CELLS:
            _CELLS[kind](elements, name, cell)
        elif kind == "EHXPLLL":
            locks += elements.bits(cell, "LOCK")
        elif kind not in PASSIVE:
            raise UserError(f"the simulation of a netlist knows no cell {kind} of the ECP5")
        logic_cells += {"LUT4": 1, "CCU2C": 2}.get(kind, 0)
    return elements.finish(locks, logic_cells)


def _text(cell: Cell, name: str, default: str) -> str:
    """A parameter of words; Yosys ends one like a number with a blank."""
    return str(cell["parameters"].get(name, default)).strip()


def _lut4(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, pin, "x") for pin in "ABCD"], e.bit(cell, "Z"), number(cell, "INIT"))


def _pfumx(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, pin) for pin in ("BLUT", "ALUT", "C0")], e.bit(cell, "Z"), 0b11001010)


def _l6mux21(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, pin) for pin in ("D0", "D1", "SD")], e.bit(cell, "Z"), 0b11001010)


def _ccu2c(e: Elements, name: str, cell: Cell) -> None:
    carry = e.bit(cell, "CIN", "x")
    for half in "01":
        contents, injects = number(cell, f"INIT{half}"), _text(cell, f"INJECT1_{half}", "YES")
        a, b, c, d = (e.bit(cell, f"{pin}{half}", "x") for pin in "ABCD")
        inner, out = e.new(), e.bit(cell, "COUT") if half == "1" else e.new()
        e.table([a, b, c, d], inner, contents)
        added = carry if injects != "YES" else "0"
        e.table([inner, added], e.bit(cell, f"S{half}"), 0b0110, CARRY)
        made = contents & 15 if injects != "YES" else 0  # by A and B alone, where inner is low
        # of A, B, inner and the carry: inner ? carry : made
        e.table([a, b, inner, carry], out, 0xF000 | made << 8 | made, CARRY)
        carry = out


def _trellis_ff(e: Elements, name: str, cell: Cell) -> None:
    enables, reset = _text(cell, "CEMUX", "1"), e.bit(cell, "LSR")
    if _text(cell, "CLKMUX", "CLK") != "CLK" or _text(cell, "LSRMUX", "LSR") != "LSR":
        refuse(name, "flip-flop with an inverted clock or reset")
    if reset != "0" and _text(cell, "SRMODE", "LSR_OVER_CE") != "LSR_OVER_CE":
        refuse(name, "flip-flop with an asynchronous reset")
    if "DI" not in cell["connections"] or _text(cell, "LSRMODE", "LSR") != "LSR":
        refuse(name, "flip-flop with its data at M")
    value = int(_text(cell, "REGSET", "RESET") == "SET")
    e.flip_flop(e.bit(cell, "CLK"), e.bit(cell, "DI"), e.bit(cell, "Q"),
                enable=enables if enables in "01" else e.bit(cell, "CE"),
                inverted=enables == "INV", reset=reset, value=value, start=value)


def _trellis_dpr16x4(e: Elements, name: str, cell: Cell) -> None:
    if _text(cell, "WCKMUX", "WCK") != "WCK" or _text(cell, "WREMUX", "WRE") != "WRE":
        refuse(name, "distributed RAM with an inverted clock or write")
    contents = number(cell, "INITVAL")
    e.table_ram(name, e.bit(cell, "WCK"), e.bits(cell, "RAD"), e.bits(cell, "WAD"),
                e.bits(cell, "DI"), e.bit(cell, "WRE"), e.bits(cell, "DO"),
                [contents >> 4 * k & 15 for k in range(16)])


def _dp16kd(e: Elements, name: str, cell: Cell) -> None:
    sides, late = {}, {}
    for side in "AB":
        select = int(_text(cell, f"CSDECODE_{side}", "0b000").removeprefix("0b"), 2)
        chosen = [e.bit(cell, f"CS{side}{k}") for k in range(3)]
        if chosen != [str(select >> k & 1) for k in range(3)] or e.bit(cell, f"RST{side}") != "0":
            refuse(name, "block RAM with a reset or a chip select")
        clock = e.bit(cell, f"CLK{side}")
        if _text(cell, f"CLK{side}MUX", f"CLK{side}") != f"CLK{side}":
            refuse(name, "block RAM with an inverted clock")
        late[side] = _text(cell, f"REGMODE_{side}", "NOREG") == "OUTREG"
        address = [e.bit(cell, f"AD{side}{k}") for k in range(14)]
        sides[side] = {
            "width": number(cell, f"DATA_WIDTH_{side}", 18),
            "mode": WRITE_MODES[_text(cell, f"WRITEMODE_{side}", "NORMAL")],
            "late": 3 * late[side], "address": address, "enables": address[:4],
            "data": [e.bit(cell, f"DI{side}{k}") for k in range(18)],
            "write": e.bit(cell, f"WE{side}"), "later": e.bit(cell, f"OCE{side}"),
            # without a clock nothing happens at a port
            "clock_enable": e.bit(cell, f"CE{side}") if isinstance(clock, int) else "0",
            "out": [e.bit(cell, f"DO{side}{k}", "") for k in range(18)]}
    first, second = sides["A"], sides["B"]
    if 36 in (first["width"], second["width"]):  # A writes and B reads, with the pins of both
        if second["write"] != "0":
            refuse(name, "write at port B of 36 bits")
        first["data"] += second["data"]
        second["out"] = (first["out"] if second["width"] == 36 else []) + second["out"]
        first["out"] = []
        second["late"] = (late["A"] | late["B"] << 1 if second["width"] == 36 else 3 * late["B"])
    rows = [number(cell, f"INITVAL_{row:02X}") for row in range(64)]
    words = [row >> 20 * k + 9 * half & 511 for row in rows for k in range(16) for half in range(2)]
    assert len(words) == WORDS
    e.ram(name, [e.bit(cell, "CLKA"), e.bit(cell, "CLKB")], (Port(**first), Port(**second)), words)


def _mult18x18d(e: Elements, name: str, cell: Cell) -> None:
    registers = {which: _text(cell, f"REG_{which}_CLK", "NONE")
                 for which in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")}
    output = registers.pop("OUTPUT")
    if set(registers.values()) != {"NONE"} or output not in ("NONE", "CLK0"):
        refuse(name, "multiplier with other registers than that of the product at CLK0")
    if output != "NONE" and (e.bit(cell, "CE0"), e.bit(cell, "RST0")) != ("1", "0"):
        refuse(name, "multiplier with an enable or a reset")
    if {e.bit(cell, "SOURCEA"), e.bit(cell, "SOURCEB")} != {"0"}:
        refuse(name, "multiplier in a chain")
    first, second = ([e.bit(cell, f"{pin}{k}") for k in range(18)] for pin in "AB")
    e.product(name, first, second, [e.bit(cell, "SIGNEDA"), e.bit(cell, "SIGNEDB")],
              [e.bit(cell, f"P{k}", "") for k in range(36)],
              e.bit(cell, "CLK0") if output != "NONE" else None)


_CELLS = {"LUT4": _lut4, "PFUMX": _pfumx, "L6MUX21": _l6mux21, "CCU2C": _ccu2c,
          "TRELLIS_FF": _trellis_ff, "TRELLIS_DPR16X4": _trellis_dpr16x4, "DP16KD": _dp16kd,
          "MULT18X18D": _mult18x18d}
