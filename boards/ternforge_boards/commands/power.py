"""``ternforge power``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import group
from ternforge.output import print_json, to_json, write_text
from ternforge_boards.board import board as find_board
from ternforge_boards.jobs import console_progress
from ternforge_boards.power.bitstreams import array_size, write_bitstreams
from ternforge_boards.power.calibrate import calibrate as fit_readings
from ternforge_boards.power.calibrate import read_measurements, to_toml
from ternforge_boards.power.coefficients import coefficients_of
from ternforge_boards.power.fit import TERMS, fit_published
from ternforge_boards.power.heldout import held_out
from ternforge_boards.power.published import MARLANN, TINYVISION

__all__ = ["power"]


@group(example="ternforge power bitstreams --board icebreaker -o build/power\n"
               "ternforge power calibrate --board icebreaker --measurements readings.csv "
               "-o mine.toml\n"
               "ternforge power published")
def power() -> None:
    """Calibrate the estimate of power that `ternforge report` makes."""


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BoardName = Annotated[str, typer.Option("--board", help="Board; see `ternforge boards`.")]


@power.command("bitstreams", epilog="Example: `ternforge power bitstreams --board icebreaker "
                                    "-o build/power`")
def bitstreams(
    board: BoardName,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder for the bitstreams.")],
    as_json: AsJson = False,
) -> None:
    """Build the three bitstreams whose currents calibrate the estimate."""
    record = find_board(board)
    with console_progress(Console(stderr=True, quiet=as_json)) as progress:
        files = write_bitstreams(record, out, progress)
    if as_json:
        print_json({"folder": out, "files": files})
        return
    console = Console()
    console.print(f"{', '.join(files)} in {out}: {array_size(record):,} flip-flops at "
                  f"{record.oscillator_mhz:g} MHz", markup=False)
    console.print("Load each, leave the serial line idle (high), read the core's supply, and fill "
                  "in measurements.csv for `ternforge power calibrate`.", markup=False)


@power.command("calibrate", epilog="Example: `ternforge power calibrate --board icebreaker "
                                   "--measurements build/power/measurements.csv -o mine.toml`")
def calibrate(
    board: BoardName,
    measurements: Annotated[Path, typer.Option(
        help="CSV with the columns bitstream (blank, clock or toggle), volts, milliamps.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="File for the coefficients.")],
    coefficients: Annotated[Path | None, typer.Option(
        help="File to begin with, instead of the family's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit static current, clock and toggle energy to readings of the core's supply."""
    record = find_board(board)
    readings = read_measurements(measurements)
    found = fit_readings(record, readings, coefficients_of(record, coefficients))
    write_text(out, to_toml(found))
    fitted = {name: row for name, row in found.rows.items()
              if row.source.startswith("user's reading")}
    if as_json:
        print_json({"file": out, "rows": {name: row.model_dump(mode="json")
                                          for name, row in fitted.items()}})
        return
    table = Table("coefficient", "value", "unit", "uncertainty", title=found.name)
    for name, row in fitted.items():
        table.add_row(name, f"{row.value:.5g}", row.unit, f"{row.uncertainty:.0%}")
    console = Console()
    console.print(table)
    console.print(f"written to {out}", markup=False)


@power.command("published", epilog="Example: `ternforge power published`")
def published(as_json: AsJson = False) -> None:
    """Fit the UP5K's coefficients to published currents, and show how far off each is."""
    with console_progress(Console(stderr=True, quiet=as_json)) as progress:
        found = fit_published(progress=lambda point: progress("synthesis", point.name))
    given = coefficients_of(find_board("icebreaker"))
    check = held_out(MARLANN, given)
    if as_json:
        print_json({"parameters": len(TERMS), "points": [vars(point) for point in found.points],
                    "microamps": found.values, "held_out": {
                        "name": MARLANN.name, "measured": check.measured, "inside": check.inside,
                        "model": check.model.model_dump(mode="json")}})
        return
    console = Console()
    table = Table("design", "measured uA", "model uA", "error", "left out",
                  title=f"UP5K core supply: {len(TERMS)} parameters, {len(found.points)} points")
    for column in table.columns[1:]:
        column.justify = "right"
    for point in found.points:
        left = point.left_out_error
        table.add_row(point.name, f"{point.measured:.1f}", f"{point.model:.1f}",
                      f"{point.error:+.1%}", "-" if left is None else f"{left:+.1%}")
    console.print(table)
    console.print(to_json({name: float(f"{value:.5g}") for name, value in found.values.items()}),
                  markup=False, highlight=False)
    model = check.model
    console.print(
        f"Measured: {TINYVISION}. \"Left out\": error of a fit to the other points; - where no "
        f"other has one of its terms.\nHeld out: {MARLANN.name}: measured "
        f"{check.measured * 1e3:.2f} mA, model {_milliamps(model.low)} to "
        f"{_milliamps(model.high)} mA ({'inside' if check.inside else 'OUTSIDE'}).", markup=False)


def _milliamps(amperes: float | None) -> str:
    return "?" if amperes is None else f"{amperes * 1e3:.2f}"
