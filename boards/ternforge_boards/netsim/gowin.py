"""A synthesised Gowin netlist as elements of the gate simulator.

Cells do what Yosys' models of them do (``share/gowin/cells_sim.v``). Block RAM and multipliers have
none: they are as Yosys' mappings use them (``brams_map.v``, ``dsp_map.v``). Gowin's own texts
(UG285, UG287) were not compared.
"""

from typing import Any

from ternforge.errors import UserError
from ternforge_boards.netlist import Cell
from ternforge_boards.power.gates import GateNetlist

from .elements import CARRY, NO_CHANGE, TABLE, WORDS, Elements, Port, number, refuse

__all__ = ["gowin_netlist"]

#: Cells without a part in what is computed. A clock that an ODDR gives to a memory is one.
PASSIVE = ("$scopeinfo", "VCC", "GND", "ODDR")

#: Of each mode of an ALU, the table of what is added to the carry, and that of the carry where the
#: former is low; inputs are I0, I1, I3.
ALU_MODES = {
    0: (lambda a, b, c: a ^ b, lambda a, b, c: a),
    1: (lambda a, b, c: a ^ b ^ 1, lambda a, b, c: a),
    2: (lambda a, b, c: a ^ b ^ c ^ 1, lambda a, b, c: a),
    3: (lambda a, b, c: a ^ b ^ 1, lambda a, b, c: 1),
    4: (lambda a, b, c: a ^ b ^ 1, lambda a, b, c: a),
    5: (lambda a, b, c: a ^ b ^ 1, lambda a, b, c: b),
    6: (lambda a, b, c: a, lambda a, b, c: 0),
    7: (lambda a, b, c: a ^ 1, lambda a, b, c: 1),
    8: (lambda a, b, c: a ^ c ^ 1, lambda a, b, c: a),
    9: (lambda a, b, c: (a & b) ^ c, lambda a, b, c: a & b),
}

#: Synchronous flip-flops: the pin of the reset, what it resets to, and whether there is an enable.
FLIP_FLOPS = {"DFF": ("", 0, False), "DFFE": ("", 0, True), "DFFR": ("RESET", 0, False),
              "DFFRE": ("RESET", 0, True), "DFFS": ("SET", 1, False), "DFFSE": ("SET", 1, True)}


def gowin_netlist(module: dict[str, Any], undefined: int = 0) -> GateNetlist:
    """Elements of a flat module that ``synth_gowin`` made.

    A pad of two directions is three nets: its own name is what comes in, ``.out`` and ``.off``
    behind that of its cell are what goes out, and whether nothing does.

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
    cells = module["cells"]
    constants = {cell["connections"][pin][0]: level for pin, kind, level in
                 (("V", "VCC", "1"), ("G", "GND", "0"))
                 for cell in cells.values() if cell["type"] == kind}
    elements = Elements(module, undefined, constants)
    locks, logic_cells = [], 0
    for name, cell in sorted(cells.items()):
        kind = cell["type"]
        if kind in FLIP_FLOPS:
            _flip_flop(elements, cell)
        elif kind in _CELLS:
            _CELLS[kind](elements, name, cell)
        elif kind == "rPLL":
            locks += elements.bits(cell, "LOCK")
        elif kind not in PASSIVE:
            raise UserError(f"the simulation of a netlist knows no cell {kind} of Gowin")
        logic_cells += kind in ("LUT1", "LUT2", "LUT3", "LUT4", "ALU")
    return elements.finish(locks, logic_cells)


def _lut(e: Elements, name: str, cell: Cell) -> None:
    inputs = int(cell["type"][-1])
    contents = number(cell, "INIT") & (1 << (1 << inputs)) - 1
    e.table([e.bit(cell, f"I{k}", "x") for k in range(inputs)], e.bit(cell, "F"), contents)


def _mux2(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, pin) for pin in ("I0", "I1", "S0")], e.bit(cell, "O"), 0b11001010)


def _alu(e: Elements, name: str, cell: Cell) -> None:
    added, made = ALU_MODES[number(cell, "ALU_MODE")]
    inputs, carry, inner = [e.bit(cell, f"I{k}") for k in (0, 1, 3)], e.bit(cell, "CIN"), e.new()
    entries = [(index & 1, index >> 1 & 1, index >> 2 & 1) for index in range(8)]
    kept = e.new()
    e.table(inputs, inner, sum(added(*entry) << k for k, entry in enumerate(entries)))
    e.table(inputs, kept, sum(made(*entry) << k for k, entry in enumerate(entries)))
    e.table([inner, carry], e.bit(cell, "SUM"), 0b0110, CARRY)
    e.table([kept, carry, inner], e.bit(cell, "COUT"), 0b11001010, CARRY)


def _flip_flop(e: Elements, cell: Cell) -> None:
    pin, value, enable = FLIP_FLOPS[cell["type"]]
    e.flip_flop(e.bit(cell, "CLK"), e.bit(cell, "D"), e.bit(cell, "Q"),
                enable=e.bit(cell, "CE") if enable else "1",
                reset=e.bit(cell, pin) if pin else "0", value=value,
                start=number(cell, "INIT", value))


def _buffer(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, "I")], e.bit(cell, "O"), 0b10, TABLE)


def _pad(e: Elements, name: str, cell: Cell) -> None:
    e.table([e.bit(cell, "IO")], e.bit(cell, "O"), 0b10, TABLE)
    e.name(f"{name}.out", e.bit(cell, "I"))
    e.name(f"{name}.off", e.bit(cell, "OEN"))


def _ram16sdp(e: Elements, name: str, cell: Cell) -> None:
    bits = int(cell["type"][-1])
    rows = [number(cell, f"INIT_{bit}") for bit in range(bits)]
    e.table_ram(name, e.bit(cell, "CLK"), e.bits(cell, "RAD"), e.bits(cell, "WAD"),
                e.bits(cell, "DI"), e.bit(cell, "WRE"), e.bits(cell, "DO"),
                [sum((row >> k & 1) << bit for bit, row in enumerate(rows)) for k in range(16)])


def _words(cell: Cell, nine: bool) -> list[int]:
    rows, step = [number(cell, f"INIT_RAM_{row:02X}") for row in range(64)], 9 if nine else 8
    words = [row >> step * k & (1 << step) - 1 for row in rows for k in range(32)]
    assert len(words) == WORDS
    return words


def _spread(bits: list[Any], nine: bool, filler: Any) -> list[Any]:
    """Bits of bytes of 8 at the places of those of 9; of a port that is narrower, as they are."""
    if nine:
        return bits
    return [bit for k in range(0, len(bits), 8) for bit in [*bits[k:k + 8], filler]]


def _block_ram(e: Elements, name: str, cell: Cell) -> None:
    """SP, SDPB, DPB, and those with bytes of 9 bits: SPX9, SDPX9B, DPX9B."""
    kind, nine = cell["type"], "9" in cell["type"]
    single, simple = kind in ("SP", "SPX9"), kind in ("SDPB", "SDPX9B")
    ports, clocks = [], []
    for index, side in enumerate("A" if single else "AB"):
        at, number_of = ("", "") if single else (side, f"_{index}")
        clock = e.bit(cell, f"CLK{at}")
        if e.bit(cell, f"RESET{at}") != "0":
            refuse(name, "block RAM with a reset")
        if set(e.bits(cell, f"BLKSEL{at}")) - {"0"} or number(cell, f"BLK_SEL{number_of}"):
            refuse(name, "block RAM with a block select")
        bits = number(cell, f"BIT_WIDTH{number_of}")
        width = bits if nine or bits < 8 else bits // 8 * 9
        address = e.bits(cell, f"AD{at}")
        reads, writes = not simple or side == "B", not simple or side == "A"
        data = e.bits(cell, f"DI{at}" if not simple else "DI") if writes else []
        out = e.bits(cell, f"DO{at}" if not simple else "DO") if reads else []
        mode = number(cell, f"WRITE_MODE{index if not single else ''}") if not simple else NO_CHANGE
        late = number(cell, f"READ_MODE{'' if single or simple else index}") if reads else 0
        ports.append(Port(
            width, mode, 3 * late, address=address, enables=address[:4],
            data=_spread(data, nine, "0"), out=_spread(out, nine, None),
            write="1" if simple and writes else e.bit(cell, f"WRE{at}") if writes else "0",
            clock_enable=e.bit(cell, f"CE{at}") if isinstance(clock, int) else "0",
            later=e.bit(cell, "OCE" if single or simple else f"OCE{at}") if reads else "0"))
        clocks.append(clock)
    first, second = ports if not single else (ports[0], Port())
    e.ram(name, clocks, (first, second), _words(cell, nine))


def _multiplier(e: Elements, name: str, cell: Cell) -> None:
    if any(number(cell, register) for register in ("AREG", "BREG", "OUT_REG", "PIPE_REG",
                                                   "ASIGN_REG", "BSIGN_REG", "SOA_REG")):
        refuse(name, "multiplier with registers")
    if {e.bit(cell, "ASEL"), e.bit(cell, "BSEL")} != {"0"}:
        refuse(name, "multiplier in a chain")
    e.product(name, e.bits(cell, "A"), e.bits(cell, "B"),
              [e.bit(cell, "ASIGN"), e.bit(cell, "BSIGN")], e.bits(cell, "DOUT"))


_CELLS = {**{f"LUT{k}": _lut for k in (1, 2, 3, 4)},
          **{f"MUX2_LUT{k}": _mux2 for k in (5, 6, 7, 8)}, "ALU": _alu,
          "IBUF": _buffer, "OBUF": _buffer, "IOBUF": _pad,
          **{f"RAM16SDP{k}": _ram16sdp for k in (1, 2, 4)},
          **dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"), _block_ram),
          "MULT9X9": _multiplier, "MULT18X18": _multiplier}
