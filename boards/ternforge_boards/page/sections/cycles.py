"""Where the cycles of a token go."""

from typing import Any

from ternforge_boards.page.charts.cycles import causes, cycle_bars
from ternforge_boards.page.tables import Cell, Column, Table, count, missing, share, shown

from . import Builds

__all__ = ["cycle_section"]


def cycle_section(builds: Builds) -> dict[str, Any] | None:
    """A chart of the causes, and a table with their cycles."""
    chosen = [(key, report) for key, report in builds if report.throughput.causes]
    if not chosen:
        return None
    reports = [report for _, report in chosen]
    names = causes(reports)
    rows = []
    for key, report in chosen:
        of = {c.cause: c.cycles for c in report.throughput.causes}
        speed = report.throughput
        rows.append([Cell(f"{key}  {report.name}", key=key),
                     *(count(of[name]) if name in of else missing() for name in names),
                     count(sum(of.values())), shown(speed.ideal_cycles_per_token),
                     missing() if speed.bandwidth_share.value is None else
                     share(speed.bandwidth_share.value)])
    columns = [Column("build"), *(Column(name, numeric=True) for name in names),
               Column("all", numeric=True), Column("if memory were never idle", numeric=True),
               Column("of peak bandwidth", numeric=True)]
    return {"chart": cycle_bars(reports, [key for key, _ in chosen]),
            "table": Table("Cycles per token by cause", columns, rows, name="cycles")}
