"""``ternforge sweep``."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json, to_json, write_text
from ternforge_boards.report.show import wide
from ternforge_boards.sweep.grid import make_grid, read_grid
from ternforge_boards.sweep.pareto import pareto
from ternforge_boards.sweep.plan import plan
from ternforge_boards.sweep.point import Depth, Result
from ternforge_boards.sweep.run import open_points
from ternforge_boards.sweep.show import as_csv, as_data, print_sweep
from ternforge_boards.sweep.store import Store
from ternforge_model.errorplot import check_plot

__all__ = ["sweep"]


class _Shown:
    """Progress on standard error: a bar on a terminal, a line per point elsewhere."""

    def __init__(self, console: Console, done: int, total: int):
        self.console, self.failed, self.kept = console, 0, done
        self.total = total
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                            TimeElapsedColumn(), console=console, transient=True,
                            disable=not console.is_terminal)
        self.task = self.bar.add_task("points", total=total, completed=done)

    def started(self, dashboard: str, workers: int) -> None:
        """Say where Dask's dashboard is."""
        waiting = "" if workers else " (none yet: points wait for the first)"
        self.console.print(f"{workers} workers{waiting}; dashboard: {dashboard}", markup=False,
                           soft_wrap=True)

    def finished(self, result: Result) -> None:
        """Count a point."""
        self.failed += result.reason is not None
        self.kept += result.lasting
        self.bar.update(self.task, advance=1, description=f"points, {self.failed} failed")
        if not self.console.is_terminal:
            told = result.reason or f"took {result.seconds:.0f} s"
            self.console.print(f"{result.point.name}: {told}", markup=False, soft_wrap=True)


def _split(name: str, text: str, kind: type) -> list[Any]:
    """Values with commas between."""
    try:
        return [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise UserError(f"--{name} must be {what} with commas between, not {text!r}") from None


@command(example="ternforge sweep --board ulx3s-85f,icebreaker --lanes 4,8,16 --depth synth\n"
                 "ternforge sweep --board icebreaker --lanes 8 --clock 30,36 --seeds 1,2,3\n"
                 "ternforge sweep grid.yaml --html sweep.html\n"
                 "ternforge sweep grid.yaml --scheduler tcp://host:8786 --json")
def sweep(
    grid: Annotated[Path | None, typer.Argument(
        help="YAML file with the settings of the grid; options override its settings.")] = None,
    board: Annotated[str | None, typer.Option(metavar="A,B,..", help="Boards.")] = None,
    model: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Models; the board's own unless given.")] = None,
    lanes: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Bytes of weights per beat, N.")] = None,
    elements: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Elements per cycle of the quantiser, E.")] = None,
    lane: Annotated[str | None, typer.Option(metavar="A,B,..", help="Kinds of lanes.")] = None,
    streams: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Sequences that share weights, B.")] = None,
    cores: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Rows that share a beat, C.")] = None,
    tile_registers: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="1 or 2 tiles of codes.")] = None,
    tree_levels: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Adder levels between registers.")] = None,
    clock: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Clocks of the core in MHz; the board's unless given.")] = None,
    seeds: Annotated[str | None, typer.Option(
        metavar="A,B,..", help="Seeds of nextpnr, each a point.")] = None,
    depth: Annotated[Depth | None, typer.Option(
        help="Cycles alone, Yosys' area too, or placed and routed (the default).")] = None,
    cycles: Annotated[str | None, typer.Option(
        help="model or simulation; simulated where a point is routed unless given.")] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder of the sweep.")] = Path(
        "build/sweep"),
    workers: Annotated[int | None, typer.Option(
        help="Processes, one per CPU unless given; or jobs of Slurm, one unless given.")] = None,
    scheduler: Annotated[str | None, typer.Option(
        metavar="ADDRESS", help="Dask scheduler that runs already, as tcp://host:8786.")] = None,
    executor: Annotated[str, typer.Option(help="local or slurm.")] = "local",
    slurm_queue: Annotated[str | None, typer.Option(help="Partition.")] = None,
    slurm_account: Annotated[str | None, typer.Option(help="Account.")] = None,
    slurm_cores: Annotated[int | None, typer.Option(help="CPUs, and points, of a job.")] = None,
    slurm_memory: Annotated[str | None, typer.Option(help="Memory of a job, as 8GB.")] = None,
    slurm_walltime: Annotated[str | None, typer.Option(help="Time of a job, as 08:00:00.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Work on failed points again.")] = False,
    plot: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Pareto plot; pareto.svg in the folder unless given.")] = None,
    csv: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Table; points.csv in the folder unless given.")] = None,
    html: Annotated[Path | None, typer.Option(
        metavar="FILE", help="One HTML page of all points and of the best builds.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a grid of designs on all CPUs or a Dask cluster; resumable, each point kept."""
    started = time.monotonic()
    settings: dict[str, Any] = {} if grid is None else read_grid(grid)
    texts = {"board": (board, str), "model": (model, str), "lanes": (lanes, int),
             "elements": (elements, int), "lane": (lane, str), "streams": (streams, int),
             "cores": (cores, int), "tile_registers": (tile_registers, int),
             "tree_levels": (tree_levels, int), "clock": (clock, float), "seeds": (seeds, int)}
    settings |= {name: _split(name.replace("_", "-"), text, kind)
                 for name, (text, kind) in texts.items() if text is not None}
    settings |= {name: value for name, value in (("depth", depth), ("cycles", cycles))
                 if value is not None}
    slurm = {name: value for name, value in (
        ("queue", slurm_queue), ("account", slurm_account), ("cores", slurm_cores),
        ("memory", slurm_memory), ("walltime", slurm_walltime)) if value is not None}
    if slurm:
        given = settings.get("slurm") or {}
        settings["slurm"] = {**given, **slurm} if isinstance(given, dict) else given
    if executor not in ("local", "slurm"):
        raise UserError(f"--executor must be local or slurm, not {executor!r}")
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be positive, not {workers}")
    if scheduler is not None and executor == "slurm":
        raise UserError("give either --scheduler or --executor slurm")
    if out.exists() and not out.is_dir():
        raise UserError(f"cannot write the folder {str(out)!r}: a file has that name")
    checked = make_grid(settings, "the sweep" if grid is None else f"the grid {str(grid)!r}")
    if plot is not None:
        check_plot(plot)
        if checked.depth is Depth.ESTIMATE:
            raise UserError("--plot needs an area: use --depth synth or route")
    planned = plan(checked)
    planned.check()
    store = Store(out)
    console = Console(stderr=True, quiet=as_json, highlight=False)
    for note in planned.notes:
        console.print(note, markup=False, soft_wrap=True)
    done, rest = open_points(planned.points, store, retry=retry)
    console.print(f"{len(planned.points)} points, {len(planned.excluded)} excluded; {len(done)} "
                  "are finished already", markup=False)
    if rest:
        from ternforge_boards.sweep.cluster import Where, connect
        from ternforge_boards.sweep.evaluate import evaluate
        from ternforge_boards.sweep.run import run_points
        shown = _Shown(console, len(done), len(planned.points))
        where = Where(workers=workers, scheduler=scheduler, slurm=checked.slurm,
                      executor="slurm" if executor == "slurm" else "local")
        try:
            with connect(where, len(rest)) as client, shown.bar:
                done += run_points(rest, store, client, evaluate, shown, retry=retry)
        except KeyboardInterrupt:
            Console(stderr=True, highlight=False).print(
                f"{shown.kept} of {shown.total} points are kept in {str(out)!r}: run it again to "
                "go on", markup=False, soft_wrap=True)
            raise
    order = {point.model_dump_json(): index for index, point in enumerate(planned.points)}
    results = sorted(done, key=lambda result: order[result.point.model_dump_json()])
    data = as_data(planned, results, len(rest), time.monotonic() - started)
    write_text(out / "sweep.json", to_json(data) + "\n")
    write_text(csv or out / "points.csv", as_csv(results))
    candidates = pareto(results)
    if ((plot is not None or find_spec("matplotlib") is not None)
            and any(one.lut is not None for one in candidates)):
        from ternforge_boards.sweep.plot import plot_pareto
        plot_pareto(plot or out / "pareto.svg", candidates)
    if html is not None:
        from ternforge_boards.sweep.page import write_sweep_page
        write_sweep_page(html, results)
    if as_json:
        print_json(data)
    else:
        print_sweep(planned, results, wide())
        Console().print(f"{len(rest)} points worked on in {time.monotonic() - started:.1f} s; all "
                        f"in {out}", markup=False, soft_wrap=True)
    if not candidates:
        raise typer.Exit(1)
