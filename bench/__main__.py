"""``python -m bench``: measures the figures, prints them, writes ``results.json`` and plots."""

import os
import platform
import sys
import time
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ternforge.cli import command, run_function
from ternforge.errors import UserError, unknown
from ternforge.output import print_json, to_json, write_text

from .catalogue import FIGURES, MEASUREMENTS
from .document import update
from .engine import ROOT, Run, versions
from .figures import Figure, Row
from .peers.compare import RECORDED
from .plots import write_plots
from .show import WIDE, print_all

#: Version of ``results.json``.
FORMAT = 1
#: Seeds of nextpnr whose median counts.
SEEDS = 5


def select(quick: bool, only: list[str] | None) -> list[Figure]:
    """The figures to measure: those of a quick run, or those that a pattern names.

    Raises
    ------
    UserError
        If a pattern names none.
    """
    if only is None:
        return [figure for figure in FIGURES if figure.quick or not quick]
    for pattern in only:
        if not any(fnmatchcase(figure.name, pattern) for figure in FIGURES):
            raise unknown("figure", pattern, [figure.name for figure in FIGURES])
    return [figure for figure in FIGURES
            if any(fnmatchcase(figure.name, pattern) for pattern in only)]


def results(rows: list[Row], run: Run, *, quick: bool, seeds: int, load: float) -> dict[str, Any]:
    """What ``results.json`` holds."""
    return {
        "format": FORMAT, "quick": quick, "seeds": seeds,
        "machine": {"processor": platform.processor() or platform.machine(),
                    "cpus": os.cpu_count(), "load": load, "python": platform.python_version()},
        "versions": versions(), "figures": [asdict(row) for row in rows],
        "measurements": {name: {"seconds": run.seconds[name], "from_cache": name not in run.taken,
                                "data": data} for name, data in run.data.items()},
        "not_run_here": RECORDED,
    }


@command(example="python -m bench\npython -m bench --quick\n"
                 "python -m bench --only 'lanes.*' --only 'bandwidth.*' --seeds 1\n"
                 "python -m bench --document docs/performance.md --plots docs/performance\n"
                 "python -m bench --list")
def bench(
    quick: Annotated[bool, typer.Option(
        "--quick", help="A part of the figures, and one seed of nextpnr.")] = False,
    only: Annotated[list[str] | None, typer.Option(
        "--only", metavar="PATTERN", help="Only these figures; may be repeated.")] = None,
    seeds: Annotated[int | None, typer.Option(
        "--seeds", help=f"Seeds of nextpnr whose median counts; {SEEDS} unless given.")] = None,
    jobs: Annotated[int | None, typer.Option(
        "--jobs", help="Measurements at a time; one for each processor unless given.")] = None,
    fresh: Annotated[bool, typer.Option(
        "--fresh", help="Measure again what an earlier run has measured.")] = False,
    output: Annotated[Path, typer.Option(
        "-o", "--output", metavar="FILE", help="Where the results go.",
    )] = ROOT / "bench" / "results.json",
    plots: Annotated[Path, typer.Option(
        "--plots", metavar="DIR", help="Where the plots go.")] = ROOT / "build" / "bench",
    document: Annotated[Path | None, typer.Option(
        "--document", metavar="FILE",
        help="Put the tables into this Markdown file, in the place of earlier ones.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the figures, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the figures and compare them with what they must reach.

    What is measured is kept by the content that it depends on: a run that was stopped goes on where
    it was, and one that changed nothing takes seconds. Speeds are measured after all else, with
    nothing beside them. A figure that cannot be measured is a row
    with its reason, and makes the exit code 1.
    """
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds must be positive, not {seeds}")
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs must be positive, not {jobs}")
    count = seeds or (1 if quick else SEEDS)
    chosen = select(quick, only)
    if listing:
        for figure in chosen:
            print(f"{figure.name:44}{figure.reach.rule:10}{figure.title}")
        return
    load, started = os.getloadavg()[0], time.perf_counter()
    errors = Console(stderr=True, quiet=as_json, highlight=False)
    with errors.status("bench") as status:
        def told(name: str) -> None:
            errors.print(f"{time.perf_counter() - started:6.0f} s  {name}", style="dim")
            status.update(name)

        run = Run(MEASUREMENTS, seeds=range(1, count + 1), quick=quick, fresh=fresh,
                  progress=told)
        workers = jobs or os.cpu_count() or 1
        if workers > 1:
            run.measure_side_by_side((name for figure in chosen for name in figure.needs), workers)
        rows = [run.row(figure) for figure in chosen]
    found = results(rows, run, quick=quick, seeds=count, load=load)
    write_text(output, to_json(found) + "\n")
    written = write_plots(rows, run.data, plots)
    if document is not None:
        update(document, rows, run.data)
        written.append(document)
    if as_json:
        print_json(found)
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=WIDE)
        print_all(rows, run.data, console)
        if quick or only:
            console.print("a part of the figures" + (f", {count} seed of nextpnr" if count == 1
                                                     else f", {count} seeds of nextpnr"))
        for path in (output, *written):
            console.print(f"written: {path}", soft_wrap=True, markup=False)
    if any(row.value is None for row in rows):
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(run_function(bench, "python -m bench"))
