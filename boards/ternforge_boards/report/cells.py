"""What each cell of a netlist takes of the device, as nextpnr counts it after packing."""

from collections.abc import Callable, Iterator
from typing import Any

from ternforge_boards.netlist import Cell, loads_of

__all__ = ["COUNTED", "Taken", "taken"]

#: What is counted: the fields of :class:`~.schema.Area`.
COUNTED = ("lut", "ff", "block_ram", "dsp", "spram")

#: Name of a cell, what it takes, and how many.
Taken = tuple[str, str, int]

#: Blocks that nextpnr neither splits nor joins, by the beginning of their type.
BLOCKS = {
    "ice40": {"SB_RAM40": "block_ram", "SB_MAC16": "dsp", "SB_SPRAM256KA": "spram"},
    "ecp5": {"DP16KD": "block_ram", "PDPW16KD": "block_ram", "MULT18X18D": "dsp"},
    "gowin": {"SDP": "block_ram", "SP": "block_ram", "DP": "block_ram", "pROM": "block_ram",
              "MULT18X18": "dsp", "MULTALU18X18": "dsp", "MULTALU36X18": "dsp",
              "MULTADDALU18X18": "dsp", "MULT36X36": "dsp"},
}
#: Those of the Gowin DSP that are several multipliers.
MULTIPLIERS = {"MULT36X36": 4, "MULTALU36X18": 2, "MULTADDALU18X18": 2}


def taken(module: dict[str, Any], family: str) -> Iterator[Taken]:
    """What each cell of a flat module takes.

    ``lut`` are LUT4 sites; on the iCE40 logic cells, where a table, the flip-flop that it alone
    feeds, and the carry of the same operands share one.

    Parameters
    ----------
    module : dict
        Flat module in Yosys' JSON form: the netlist; of Gowin parts what nextpnr writes, with the
        tables that it puts before flip-flops.
    family : str
        ``ice40``, ``ecp5`` or ``gowin``.
    """
    for name, cell in module["cells"].items():
        for start, what in BLOCKS[family].items():
            if cell["type"].startswith(start):
                yield name, what, MULTIPLIERS.get(cell["type"], 1)
                break
    yield from LOGIC[family](module)


def _input(cell: Cell, port: str) -> Any:
    return (cell["connections"].get(port) or ["x"])[0]


def _ice40(module: dict[str, Any]) -> Iterator[Taken]:
    cells, loads = module["cells"], loads_of(module)
    carries = {name: cell for name, cell in cells.items() if cell["type"] == "SB_CARRY"}
    tables: dict[tuple[Any, ...], list[str]] = {}
    drivers: dict[Any, str] = {}
    packed = set()  # flip-flops in the logic cell of their table
    for name, cell in cells.items():
        if cell["type"] == "SB_LUT4":
            tables.setdefault(_pins(cell, "I1 I2 I3"), []).append(name)
            drivers[_input(cell, "O")] = name
            readers = loads[_input(cell, "O")]
            if len(readers) == 1 and readers[0][1] == "D" and _is_ff(cells[readers[0][0]]):
                packed.add(readers[0][0])
    partners: dict[str, str] = {}  # the table of the same operands, whose logic cell a carry shares
    for name, cell in carries.items():
        if shared := tables.get(_pins(cell, "I0 I1 CI")):
            partners[name] = shared.pop()
    merged = set()  # tables in the logic cell of a carry that has no such partner
    for name, cell in carries.items():
        feeding = drivers.get(_input(cell, "I1"))
        if name not in partners and feeding and len(loads[_input(cell, "I1")]) == 1 and sum(
                isinstance(bit, int) for bit in _pins(cells[feeding], "I0 I1 I2 I3")) <= 2:
            merged.add(feeding)
    for name, cell in cells.items():
        if cell["type"] == "SB_LUT4" and name not in merged:
            yield name, "lut", 1
        elif _is_ff(cell):
            yield name, "ff", 1
            if name not in packed:
                yield name, "lut", 1
    sums = {_input(cell, "CO") for cell in carries.values()}
    for name, cell in carries.items():
        chain = _input(cell, "CI")
        extra = (name not in partners) + (isinstance(chain, int) and chain not in sums) + _leaves(
            loads[_input(cell, "CO")], partners)
        if extra:  # cells with a carry alone, or that bring it into the chain or out of it
            yield name, "lut", extra


def _pins(cell: Cell, names: str) -> tuple[Any, ...]:
    return tuple(_input(cell, name) for name in names.split())


def _leaves(readers: list[tuple[str, str]], partners: dict[str, str]) -> bool:
    """Whether an iCE40 carry goes elsewhere than to the next logic cell."""
    following = [name for name, port in readers if port == "CI"]
    tables = [name for name, port in readers if port == "I3"]
    if len(readers) < 2:
        return bool(readers) and not following and not tables
    return len(readers) > 2 or not following or tables != [partners.get(following[0])]


def _is_ff(cell: Cell) -> bool:
    return cell["type"].startswith("SB_DFF")


def _ecp5(module: dict[str, Any]) -> Iterator[Taken]:
    cells = module["cells"]
    carries = {_input(cell, "COUT") for cell in cells.values() if cell["type"] == "CCU2C"}
    loads = loads_of(module)
    for name, cell in cells.items():
        match cell["type"]:
            case "LUT4":
                yield name, "lut", 1
            case "TRELLIS_FF":
                yield name, "ff", 1
            case "TRELLIS_DPR16X4":
                yield name, "lut", 6  # four tables that hold bits, two sites of the write port
            case "CCU2C":
                chain, out = _input(cell, "CIN"), _input(cell, "COUT")
                enters = chain != "x" and chain not in carries
                leaves = out != "x" and [port for _, port in loads[out]] != ["CIN"]
                # A carry from the fabric takes a CCU2C more, and one to it, even if nothing reads.
                yield name, "lut", 2 + 2 * (enters + leaves)


def _gowin(module: dict[str, Any]) -> Iterator[Taken]:
    small = 0  # multipliers of which two make one
    for name, cell in module["cells"].items():
        kind = cell["type"]
        if kind in ("LUT4", "ALU"):
            yield name, "lut", 1
        elif kind == "RAM16SDP4":
            yield name, "lut", 4
        elif kind.startswith("DFF"):
            yield name, "ff", 1
        elif kind == "MULT9X9":
            small += 1
            if small % 2:
                yield name, "dsp", 1


#: How the tables and flip-flops of each family are counted.
LOGIC: dict[str, Callable[[dict[str, Any]], Iterator[Taken]]] = {
    "ice40": _ice40, "ecp5": _ecp5, "gowin": _gowin}
