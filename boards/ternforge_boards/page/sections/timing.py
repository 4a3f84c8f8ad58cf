"""Clocks, and the paths that bound them."""

from typing import Any

from ternforge_boards.page.charts.timing import KINDS, path_bars
from ternforge_boards.page.tables import Cell, Column, Table, count
from ternforge_boards.report.schema import ClockReport, Report
from ternforge_boards.report.text import number

from . import Builds

__all__ = ["timing_section"]


def timing_section(builds: Builds) -> dict[str, Any] | None:
    """A table of all clocks, and for each build the path of the one with the least to spare."""
    rows = [_clock(key, report, clock) for key, report in builds for clock in report.clocks]
    if not rows:
        return None
    columns = [Column("build"), Column("clock"), Column("Fmax", numeric=True),
               Column("constraint", numeric=True), Column("slack", numeric=True), Column("met")]
    parts = []
    for key, report in builds:
        with_path = [clock for clock in report.clocks if clock.path]
        clock = min(with_path, key=lambda c: c.achieved_mhz / c.constrained_mhz, default=None)
        if clock is None:
            continue
        parts.append({"key": key, "name": report.name, "clock": clock, "seeds": _seeds(report),
                      "chart": path_bars(clock, name=report.name), "table": _path(key, clock)})
    return {"table": Table("Clocks after routing", columns, rows, name="clocks"), "parts": parts,
            "kinds": KINDS}


def _clock(key: str, report: Report, clock: ClockReport) -> list[Cell]:
    slack = 1000 / clock.constrained_mhz - 1000 / clock.achieved_mhz
    return [Cell(f"{key}  {report.name}", key=key), Cell(clock.net, key=clock.net),
            count(clock.achieved_mhz, "MHz"), count(clock.constrained_mhz, "MHz"),
            Cell(f"{slack:+.2f} ns".replace("-", "\N{MINUS SIGN}"), key=slack),
            Cell("met", key="1") if clock.met else Cell("", key="0", detail="missed", bad=True)]


def _path(key: str, clock: ClockReport) -> Table:
    rows, at = [], 0.0
    for n, step in enumerate(clock.path, 1):
        at += step.delay_ns
        rows.append([Cell(str(n), key=n), Cell(step.unit, key=step.unit),
                     Cell(step.kind, key=step.kind), Cell(step.cell, key=step.cell),
                     Cell(f"{step.delay_ns:.2f} ns", key=step.delay_ns),
                     Cell(f"{at:.2f} ns", key=at)])
    columns = [Column("hop", numeric=True), Column("unit"), Column("kind"), Column("cell or net"),
               Column("delay", numeric=True), Column("arrival", numeric=True)]
    return Table(f"Critical path of {key}, {clock.net}", columns, rows, name="path")


def _seeds(report: Report) -> str:
    if len(report.seeds) < 2:
        return f"One seed of nextpnr: {report.seed}"
    reached = sorted(seed.fmax_mhz for seed in report.seeds)
    return (f"{len(reached)} seeds of nextpnr reach {number(reached[0])} to "
            f"{number(reached[-1])} MHz; packed: {report.seed}")
