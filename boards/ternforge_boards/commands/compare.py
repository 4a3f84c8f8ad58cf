"""``ternforge compare``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.output import print_json
from ternforge_boards.report.compare import Comparison, compare
from ternforge_boards.report.figures import write_csv
from ternforge_boards.report.older import read_any
from ternforge_boards.report.published import ANCHORS
from ternforge_boards.report.show import wide
from ternforge_boards.report.text import shown
from ternforge_boards.report.value import Status, Value

__all__ = ["compare_builds", "print_comparison"]

#: What stands behind a figure for how it was come by.
LETTERS = {Status.MEASURED: "m", Status.SIMULATED: "s", Status.ESTIMATED: "e",
           Status.PUBLISHED: "p"}


@command(example="ternforge compare build/A/report.json build/B --published\n"
                 "ternforge compare A.json B.json --csv compared.csv\n"
                 "ternforge compare A.json B.json --published --html page.html")
def compare_builds(
    reports: Annotated[list[Path], typer.Argument(
        help="Reports, or folders of builds. The others are marked in relation to the first.")],
    published: Annotated[bool, typer.Option(
        "--published", help="Add published systems, with their sources.")] = False,
    csv: Annotated[Path | None, typer.Option(
        "--csv", help="Write the comparison as CSV, a row per figure.")] = None,
    html: Annotated[Path | None, typer.Option(
        "--html", help="Write one HTML page that works offline.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare builds with each other and with published systems, and mark what is not alike."""
    builds = [read_any(path) for path in reports]
    compared = compare(builds, ANCHORS if published else ())
    if csv is not None:
        write_csv(csv, _rows(compared))
    if html is not None:
        from ternforge_boards.page import write_page  # takes a while, and needs an extra
        write_page(html, [build.report for build in builds], comparison=compared)
    if as_json:
        print_json(compared.plain())
    else:
        print_comparison(compared)


def _rows(compared: Comparison) -> list[dict[str, Any]]:
    """One row per figure, with its source."""
    rows = []
    for row in compared.rows:
        for column, cell in zip(compared.columns, row.cells, strict=True):
            value = cell if isinstance(cell, Value) else None
            rows.append({
                "name": row.name, "column": column,
                "value": value.value if value else cell,
                **{key: getattr(value, key, None)
                   for key in ("unit", "low", "high", "status", "source")},
                "marks": "; ".join(row.marks), "citation": row.citation, "url": row.href})
    return rows


#: Columns of figures; the unit of each that has one stands in its title.
FIGURES = ("tok/s per stream", "tok/s summed", "power", "of", "tok/s per W", "energy per token",
           "tok/s per 1000 LUT", "tok/s per GB/s", "share of own limit")


def print_comparison(compared: Comparison, console: Console | None = None) -> None:
    """The figures, then what is not like for like, and where published ones are from."""
    console = wide(console)
    table = Table(title="comparison", title_justify="left")
    table.add_column("system", overflow="fold", min_width=16)
    for column in FIGURES:
        table.add_column(column, justify="right", overflow="fold")
    for row in compared.rows:
        table.add_row(row.name, *(_cell(row.cell(column)) for column in FIGURES))
    table.caption = ("m measured, s simulated, e estimated, p published; where a range is known it "
                     "stands for the figure")
    table.caption_justify = "left"
    console.print(table)
    notes = Table(title="what is not like for like with the first", title_justify="left")
    for column in ("system", "model", "device", "marks", "source"):
        notes.add_column(column, overflow="fold")
    for row in compared.rows:
        notes.add_row(row.name, str(row.cell("model")), str(row.cell("device")),
                      "; ".join(row.marks), " ".join([row.citation, row.href]).strip())
    console.print(notes)


def _cell(cell: Value | str | None) -> str:
    if not isinstance(cell, Value):
        return cell or ""
    text = shown(cell)
    if text == "unknown":
        return text
    bare = text.removesuffix(f" {cell.unit}") if cell.unit.startswith("tok/s") else text
    return f"{bare} {LETTERS[cell.status]}"
