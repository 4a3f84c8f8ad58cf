"""Which unit of the design a cell of the flat netlist belongs to.

Yosys keeps a ``$scopeinfo`` cell for each module instance that it flattened, with the lines of the
module's source, and a source line on most flip-flops, carries and memories. Tables that ABC made
carry neither; they follow the nets that they drive, or the cells that read them.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ternforge_boards.netlist import Cell

__all__ = ["TOP", "Units", "attribute", "unit_name"]

#: What a unit outside of all others is called: pins, PLL and reset of the board's top module.
TOP = "top"

SPAN = re.compile(r"(.+):(\d+)\.\d+-(\d+)\.\d+")


def unit_name(scope: str) -> str:
    """The unit that a reader wants, of an instance's path.

    Within the core, units are its submodules; elsewhere, those of the system.

    >>> unit_name("ternforge_i.accelerator.core.lanes.decoder_3")
    'core.lanes'
    >>> unit_name("ternforge_i.uart.receiver")
    'uart'
    """
    path = [part for part in scope.split(".") if part]
    if path and path[0].startswith("ternforge"):
        path = path[1:]
    for wrapper in ("system", "accelerator"):
        if path[:1] == [wrapper] and len(path) > 1:
            path = path[1:]
    return ".".join(path[:2] if path[:1] == ["core"] else path[:1]) or TOP


@dataclass(frozen=True)
class Scope:
    """Source lines of one module instance."""

    path: str  #: in the flat netlist; empty for the top module
    file: str
    first: int
    last: int


@dataclass(frozen=True)
class Units:
    """The unit of each cell, and how it was found."""

    of_cell: dict[str, str]
    indirect: frozenset[str]  #: cells that neither a name nor a source line places
    scopes: tuple[str, ...]  #: paths of all instances

    def find(self, name: str) -> str:
        """Unit of a cell that nextpnr may have renamed, as ``CELL_LC`` or ``CELL$nextpnr``.

        Falls back to the instance whose path the name begins with.
        """
        while name:
            if name in self.of_cell:
                return self.of_cell[name]
            cut = max(name.rfind(mark) for mark in ("_", "$", "."))
            if cut < 0 or name[:cut] in self.scopes:
                break
            name = name[:cut]
        return unit_name(_within(name, self.scopes))


def _within(name: str, scopes: Iterable[str]) -> str:
    """Longest path of an instance that ``name`` lies in; empty if none."""
    return max((scope for scope in scopes if name == scope or name.startswith(f"{scope}.")),
               key=len, default="")


def _scopes(module: dict[str, Any]) -> Iterator[Scope]:
    found = [(name, cell["attributes"].get("module_src", ""))
             for name, cell in module["cells"].items() if cell["type"] == "$scopeinfo"]
    for path, source in [("", module["attributes"].get("src", "")), *found]:
        if span := SPAN.fullmatch(source):
            yield Scope(path, span[1], int(span[2]), int(span[3]))


class _Finder:
    """Instances by source line."""

    def __init__(self, scopes: list[Scope]):
        self.files: dict[str, list[Scope]] = defaultdict(list)
        for scope in scopes:
            self.files[scope.file].append(scope)
        self._found: dict[tuple[str, int], list[str]] = {}

    def _at(self, file: str, line: int) -> list[str]:
        """Instances of the module that a line stands in."""
        if (file, line) not in self._found:
            self._found[file, line] = [scope.path for scope in self.files.get(file, ())
                                       if scope.first <= line <= scope.last]
        return self._found[file, line]

    def of(self, source: str, name: str) -> str | None:
        """Instance of most of the lines in a ``src`` attribute; of several copies that of ``name``.

        None if no line is the design's, but that of a library.
        """
        found: Counter[str] = Counter()
        for line in source.split("|"):
            file, _, rest = line.rpartition(":")
            number = rest.partition(".")[0]
            if not number.isdigit():
                continue
            here = self._at(file, int(number))
            if here:
                found[_within(name, here) or here[0]] += 1
        return found.most_common(1)[0][0] if found else None


def _ends(cell: Cell, direction: str) -> Iterator[int]:
    """Bits at the cell's outputs or inputs, constants left out."""
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield from (bit for bit in bits if isinstance(bit, int))


def attribute(module: dict[str, Any]) -> Units:
    """Place every cell of a flat module.

    A cell belongs to the module that its source line stands in; else to the one that declares the
    net that it drives; else, which counts as indirect, to the unit of most cells that read it, and
    where none is known to that of most cells that it reads.

    Parameters
    ----------
    module : dict
        Flat module in Yosys' JSON form, with its ``$scopeinfo`` cells.
    """
    scopes = list(_scopes(module))
    finder = _Finder(scopes)
    paths = tuple(cell for cell in module["cells"]
                  if module["cells"][cell]["type"] == "$scopeinfo")
    declared: dict[int, str] = {}
    for name, net in module["netnames"].items():
        scope = finder.of(net["attributes"].get("src", ""), name)
        if scope is None:
            continue
        for bit in net["bits"]:  # a port's net has the names of both sides; the inner one says more
            if isinstance(bit, int) and len(scope) >= len(declared.get(bit, "")):
                declared[bit] = scope
    cells = {name: cell for name, cell in module["cells"].items() if cell["type"] != "$scopeinfo"}
    units: dict[str, str] = {}
    open_: set[str] = set()
    for name, cell in cells.items():
        scope = finder.of(cell["attributes"].get("src", ""), name)
        if scope is None and _within(name, paths) and "_" not in name[len(_within(name, paths)):]:
            scope = _within(name, paths)  # a memory block has the memory's name, and no line
        if scope is None:
            votes = Counter(declared[bit] for bit in _ends(cell, "output") if bit in declared)
            scope = votes.most_common(1)[0][0] if votes else None
        if scope is None:
            open_.add(name)
        else:
            units[name] = unit_name(scope)
    indirect = frozenset(open_)
    _follow(cells, units, open_)
    units.update({name: unit_name(_within(name, paths)) for name in open_})
    return Units(units, indirect, paths)


def _follow(cells: dict[str, Cell], units: dict[str, str], open_: set[str]) -> None:
    """Place the cells of ``open_`` after those that read them, or that they read."""
    readers, drivers = defaultdict(list), {}
    for name, cell in cells.items():
        for bit in _ends(cell, "input"):
            readers[bit].append(name)
        for bit in _ends(cell, "output"):
            drivers[bit] = name

    def sinks(name: str) -> list[str]:
        return [reader for bit in _ends(cells[name], "output") for reader in readers[bit]]

    def sources(name: str) -> list[str]:
        return [drivers[bit] for bit in _ends(cells[name], "input") if bit in drivers]

    for neighbours, whole in ((sinks, True), (sinks, False), (sources, False)):
        placed = True
        while placed:
            placed = False
            for name in sorted(open_):
                around = neighbours(name)
                votes = Counter(units[near] for near in around if near in units)
                if votes and (not whole or votes.total() == len(around)):
                    units[name] = min(votes, key=lambda unit: (-votes[unit], unit))
                    open_.discard(name)
                    placed = True
