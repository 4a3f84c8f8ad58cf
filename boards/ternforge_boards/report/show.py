"""A report on the terminal, and as CSV."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from .figures import MEANINGS, RESOURCES, figures, write_csv
from .paths import merged
from .schema import Report
from .text import shown

__all__ = ["print_report", "print_summary", "report_csv", "wide"]

#: Columns of text where no terminal tells how many it has.
WIDE = 160

#: Sections with a table of their own.
OWN = ("area by unit", "cycles by cause")


def wide(console: Console | None = None) -> Console:
    """A console for a table of many columns; the terminal's own width where there is one."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=WIDE)


def _table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    return table


def print_summary(report: Report, console: Console | None = None) -> None:
    """The figures of a build in one table, each with how it was come by and from where."""
    design = report.design
    table = _table(f"{design.model} on {design.board} ({design.device})", "what", "value",
                   "of what", "status", "from", right=("value",))
    section = ""
    for figure in figures(report):
        if figure.section in OWN:
            continue
        if section and figure.section != section:
            table.add_section()
        section = figure.section
        table.add_row(figure.name, shown(figure.value).strip(), figure.note, figure.value.status,
                      figure.value.source.partition(";")[0])  # JSON and CSV have all of it
    (console or Console()).print(table)


def print_report(report: Report, console: Console | None = None) -> None:
    """Everything: the summary, area by unit, cycles by cause, critical paths, provenance."""
    console = console or Console()
    print_summary(report, console)
    console.print(_area(report))
    console.print(_causes(report))
    for clock in report.clocks:
        if clock.path:
            console.print(_path(report, clock.net))
    console.print(_provenance(report))


def _area(report: Report) -> Table:
    area = report.area
    present = {field: title for field, title in RESOURCES.items()
               if getattr(area.available, field)}
    table = _table(f"area by unit (measured: {area.source})", "unit", "share", *present.values(),
                   right=("share", *present.values()))
    for unit in area.units:
        table.add_row(unit.name, f"{unit.area.lut / max(1, area.total.lut):.1%}",
                      *(f"{getattr(unit.area, field):,}" for field in present))
    table.add_section()
    sums = {field: sum(getattr(unit.area, field) for unit in area.units) for field in present}
    table.add_row("sum", f"{sums['lut'] / max(1, area.total.lut):.1%}",
                  *(f"{count:,}" for count in sums.values()))
    table.add_row("nextpnr", "", *(f"{getattr(area.total, field):,}" for field in present))
    if area.cells:
        table.caption = (f"{area.indirect:,} of {area.cells:,} cells have neither a name nor a "
                         "source line of their unit: they follow the cells that read them")
        table.caption_justify = "left"
    return table


def _causes(report: Report) -> Table:
    told = report.throughput
    cycles = told.cycles_per_token
    table = _table(f"cycles per token by cause ({cycles.status}: {cycles.source})", "cause",
                   "cycles", "share", "", right=("cycles", "share"))
    whole = sum(cause.cycles for cause in told.causes)
    for cause in sorted(told.causes, key=lambda cause: -cause.cycles):
        table.add_row(cause.cause, f"{cause.cycles:,.2f}", f"{cause.cycles / whole:.1%}",
                      MEANINGS.get(cause.cause, ""))
    table.add_section()
    table.add_row("sum", f"{whole:,.2f}", "100.0%", "")
    return table


def _path(report: Report, net: str) -> Table:
    clock = next(clock for clock in report.clocks if clock.net == net)
    table = _table(f"critical path of {net} (measured: nextpnr, seed {report.seed})", "unit",
                   "cells", "ns", "of these routing", right=("cells", "ns", "of these routing"))
    runs = merged(clock.path)
    for unit, cells, delay, routing in runs:
        table.add_row(unit, str(cells), f"{delay:.2f}", f"{routing:.2f}")
    table.add_section()
    table.add_row("sum", str(sum(run[1] for run in runs)), f"{sum(run[2] for run in runs):.2f}",
                  f"{sum(run[3] for run in runs):.2f}")
    return table


def _provenance(report: Report) -> Table:
    table = Table(title="provenance", title_justify="left")
    table.add_column("what")
    table.add_column("value", overflow="fold")
    design = report.design
    rows = {
        "core": ", ".join(f"{name}={value}" for name, value in design.core.items()),
        "core clock": f"{design.core_mhz:g} MHz, {design.clock_from}",
        "image's memory": design.memory,
        "design hash": design.design_hash,
        "model hash": design.model_hash,
        "ternary weights": f"{design.ternary_weights:,}",
        **report.tool_versions,
        "seeds": ", ".join(f"{one.seed}: {one.fmax_mhz:.1f} MHz" for one in report.seeds),
        "checked": f"{report.evidence.checked_tokens} tokens: {report.evidence.of}",
        "activity": report.power.activity if report.power else "power was not estimated",
        "bitstream": report.bitstream or "none",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def report_csv(report: Report, path: Path) -> None:
    """Every figure as a row of a CSV file, critical paths left out."""
    write_csv(path, ({
        "section": figure.section, "name": figure.name, "value": figure.value.value,
        "unit": figure.value.unit, "low": figure.value.low, "high": figure.value.high,
        "status": figure.value.status, "source": figure.value.source, "note": figure.note,
    } for figure in figures(report)))
