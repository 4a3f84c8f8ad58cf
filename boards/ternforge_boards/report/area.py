"""Area of a build by unit, from its netlist and from what nextpnr counts."""

from collections import Counter, defaultdict
from typing import Any

from ternforge_boards.board import Board

from .cells import COUNTED, taken
from .schema import Area, AreaReport, UnitArea
from .units import Units

__all__ = ["area_report", "available"]


def available(board: Board) -> Area:
    """What the device has."""
    return Area(**{what: getattr(board.resources, what) for what in COUNTED})


def area_report(module: dict[str, Any], units: Units, board: Board,
                total: dict[str, int]) -> AreaReport:
    """What each unit takes, largest first.

    nextpnr does not say which cell belongs to which unit, so that cells are counted as it packs
    them (:mod:`.cells`). What it adds by itself, such as constants or a table to pass a PLL's lock,
    is in ``total`` alone.

    Parameters
    ----------
    module : dict
        What :func:`~.cells.taken` counts.
    units : Units
        Of the netlist.
    board : Board
        Gives the family, and what the device has.
    total : dict
        ``lut``, ``ff``, ``block_ram``, ``dsp`` and ``spram``, as nextpnr counts.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, what, count in taken(module, board.family):
        found[units.find(name)][what] += count
    areas = [UnitArea(name=name, area=Area(**{what: counts[what] for what in COUNTED}))
             for name, counts in found.items()]
    areas.sort(key=lambda unit: (-unit.area.lut, -unit.area.ff, unit.name))
    return AreaReport(
        total=Area(**{what: total[what] for what in COUNTED}),
        available=available(board),
        units=tuple(areas), cells=len(units.of_cell), indirect=len(units.indirect),
        source="total: nextpnr; units: cells of the netlist, counted as nextpnr packs them")
