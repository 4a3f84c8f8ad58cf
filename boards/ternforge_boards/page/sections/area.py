"""What of the device each unit takes."""

from typing import Any

from ternforge_boards.page.charts.treemap import RESOURCES, treemap
from ternforge_boards.page.tables import Cell, Column, Table, count
from ternforge_boards.report.schema import Report

from . import Builds

__all__ = ["area_section"]


def area_section(builds: Builds) -> dict[str, Any] | None:
    """For each build a map per resource, how full the device is, and a table of units."""
    if not builds:
        return None
    parts = []
    known = [field for field in RESOURCES
             if any(getattr(report.area.available, field) for _, report in builds)]
    for key, report in builds:
        maps = {field: chart for field in RESOURCES
                if (chart := treemap(report.area, field, name=report.name)) is not None}
        bars = [(RESOURCES[field], getattr(report.area.total, field),
                 getattr(report.area.available, field)) for field in known]
        parts.append({"key": key, "name": report.name, "maps": maps, "bars": bars,
                      "source": report.area.source,
                      "table": _table(key, report) if report.area.units else None})
    shown = [field for field in RESOURCES if any(field in part["maps"] for part in parts)]
    return {"parts": parts, "resources": {field: RESOURCES[field] for field in shown}}


def _table(key: str, report: Report) -> Table:
    fields = [field for field in RESOURCES if getattr(report.area.available, field)]
    rows = [[Cell(unit.name, key=unit.name), *(count(getattr(unit.area, field))
                                               for field in fields)]
            for unit in sorted(report.area.units, key=lambda unit: -unit.area.lut)]
    columns = [Column("unit"), *(Column(RESOURCES[field], numeric=True) for field in fields)]
    return Table(f"Area of {key} by unit", columns, rows, name="area")
