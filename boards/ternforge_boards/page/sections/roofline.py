"""What bounds each build, and how near it comes."""

from typing import Any

from ternforge_boards.page.charts.roofline import Roof, roof, roofline
from ternforge_boards.page.svg import shape
from ternforge_boards.page.tables import Cell, Column, Table, count, missing, share
from ternforge_boards.report.text import figure, number

from . import Builds

__all__ = ["roofline_section"]


def roofline_section(builds: Builds) -> dict[str, Any] | None:
    """The chart, and its figures as a table."""
    roofs = [found for key, report in builds if (found := roof(report, key))]
    if not roofs:
        return None
    rows = [[Cell(f"{r.key}  {r.name}", key=r.key), count(r.bytes_per_token), count(r.intensity),
             _rate(r.macs, "MAC/s"), _rate(r.bandwidth, "B/s"),
             missing() if r.compute is None else _rate(r.compute, "MAC/s"),
             Cell(r.bound, key=r.bound), share(r.macs / r.limit)] for r in roofs]
    columns = [Column("build"), Column("bytes per token", numeric=True),
               Column("MAC per byte", numeric=True), Column("reached", numeric=True),
               Column("memory", numeric=True), Column("lanes", numeric=True),
               Column("bound by"), Column("of the bound", numeric=True)]
    legend = [(r.key, n % 8, shape(n, 17, 6, class_=f"point c{n % 8}"), _bounds(r))
              for n, r in enumerate(roofs)]
    says = [f"{r.key} reaches {number(100 * r.macs / r.limit)} % of what its {r.bound} "
            f"{'allows' if r.bound == 'memory' else 'allow'}" for r in roofs]
    return {"chart": roofline(roofs), "legend": legend, "says": "; ".join(says) + ".",
            "table": Table("Bounds of each build", columns, rows, name="roofline")}


def _bounds(r: Roof) -> str:
    lanes = "" if r.compute is None else f", lanes {figure(r.compute, 'MAC/s')}"
    return f"memory {figure(r.bandwidth, 'B/s')}{lanes}"


def _rate(value: float, unit: str) -> Cell:
    return Cell(figure(value, unit), key=value)
