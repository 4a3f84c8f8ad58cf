"""The points of a sweep."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ternforge_boards.page.charts.pareto import COSTS, pareto
from ternforge_boards.page.data import SweepPoint
from ternforge_boards.page.svg import shape, tag
from ternforge_boards.page.tables import Cell, Column, Table, count, missing, shown

__all__ = ["sweep_section"]


def sweep_section(points: Sequence[SweepPoint]) -> dict[str, Any] | None:
    """Charts of speed against area and power, and a table of all points, failed ones too."""
    if not points:
        return None
    charts = [chart for kind in COSTS if (chart := pareto(points, kind)) is not None]
    rows = [[Cell(str(n), key=n), Cell(point.name, key=point.name.casefold()),
             Cell(point.group, key=point.group.casefold()), shown(point.speed, unit=False),
             missing() if point.lut is None else count(point.lut), shown(point.power),
             _clocks(point), _verdict(point)] for n, point in enumerate(points, 1)]
    columns = [Column("no.", numeric=True), Column("point"), Column("group"),
               Column("tok/s", numeric=True), Column("LUT", numeric=True),
               Column("power of the core", numeric=True), Column("clocks"), Column("front")]
    failed = sum(bool(point.reason) for point in points)
    return {"charts": charts, "groups": _legend(points), "failed": failed, "count": len(points),
            "table": Table("Points of the sweep", columns, rows, name="sweep")}


def _clocks(point: SweepPoint) -> Cell:
    return missing() if point.met is None else Cell("met" if point.met else "missed",
                                                    key=str(point.met))


def _verdict(point: SweepPoint) -> Cell:
    if point.reason:
        return Cell("failed", key="failed", reason=point.reason)
    fronts = ["area"] * point.area_front + ["power"] * point.power_front
    return Cell(", ".join(fronts), key=" ".join(fronts) or None)


def _legend(points: Sequence[SweepPoint]) -> list[tuple[Markup, str]]:
    groups = dict.fromkeys(point.group for point in points if not point.reason)
    order = list(dict.fromkeys(point.group for point in points))
    return [(tag("svg", shape(n, 8, 8, class_=f"point c{n % 8}"), width=16, height=16,
                 aria_hidden="true", class_="swatch"), group)
            for group in groups for n in [order.index(group)]]
