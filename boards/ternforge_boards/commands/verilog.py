"""``ternforge verilog``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ternforge.cli import command
from ternforge.errors import UserError, suggestion, unknown
from ternforge.output import print_json
from ternforge_boards.axi_handoff import estimate, make_axi_design, write_axi_handoff
from ternforge_boards.board import board as find_board
from ternforge_boards.handoff import TOP, make_design, write_handoff
from ternforge_boards.jobs import console_progress
from ternforge_boards.part import Part, part, parts
from ternforge_sim.commands import open_image

__all__ = ["verilog"]

TARGETS = ("board", "axi4")


def _kind(board: str | None, target: str | None) -> str:
    """What is to be written: what the name is, unless the user says."""
    if target is None:
        return "axi4" if board in parts() else "board"
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    return target


@command(example="ternforge verilog --board ulx3s-85f --model shakespeare-85f -o out/\n"
                 "ternforge verilog --target axi4 --board kv260 --image 370m.tfi -o out/")
def verilog(
    board: Annotated[str | None, typer.Option(
        help="Board (`ternforge boards`; ulx3s-85f unless given), or a vendor's part: "
             f"{', '.join(parts())}.")] = None,
    model: Annotated[str | None, typer.Option(help="Shipped model, or folder of one.")] = None,
    image: Annotated[Path | None, typer.Option(help="Packet image instead of a model.")] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")] = Path("verilog"),
    clock: Annotated[float | None, typer.Option(help="Core clock in MHz.")] = None,
    target: Annotated[str | None, typer.Option(
        help="`board`, or `axi4` for a vendor's part; by the board's name unless given.")] = None,
    core: Annotated[str | None, typer.Option(
        help="With `axi4`: core preset instead of the part's.")] = None,
    area: Annotated[bool, typer.Option(
        "--area", help="With `axi4`: have Yosys estimate the resources; takes minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write standalone Verilog of a model on a board, with a self-checking testbench."""
    if _kind(board, target) == "axi4":
        if board is None:
            raise UserError(f"--target axi4 needs --board: {suggestion('', parts())}")
        record = part(board)
        record = record if core is None else replace(record, core=core)
        told = _write_axi(record, model, image, out, clock, area, as_json)
    else:
        for option, given in (("--core", core is not None), ("--area", area)):
            if given:
                raise UserError(f"{option} needs --target axi4")
        told = _write_board(board or "ulx3s-85f", model, image, out, clock, as_json)
    if as_json:
        print_json(told)
        return
    check = ""
    if "Makefile" in told["files"]:
        check = f"; `make -C {out} icarus` or `verilator` checks it"
    Console().print(f"{out}: {len(told['files'])} files; top module {TOP}, "
                    f"{told['core_mhz']:g} MHz{check}", markup=False, soft_wrap=True)


def _write_board(board: str, model: str | None, image: Path | None, out: Path,
                 clock: float | None, as_json: bool) -> dict[str, Any]:
    """The folder of a board; returns what ``--json`` prints."""
    record = find_board(board)
    packed = open_image(board, model, image)
    with Console(stderr=True, quiet=as_json).status("generating Verilog ..."):
        design = make_design(record, packed, clock)
        files = write_handoff(design, out)
    return {"output": out, "top": TOP, "core_mhz": design.core_mhz, "files": files,
            "ports": [vars(port) for port in design.verilog.ports]}


def _write_axi(record: Part, model: str | None, image: Path | None, out: Path,
               clock: float | None, area: bool, as_json: bool) -> dict[str, Any]:
    """The folder of a vendor's part; returns what ``--json`` prints."""
    packed = open_image(record.core, model, image)
    with Console(stderr=True, quiet=as_json).status("generating Verilog ..."):
        design = make_axi_design(record, packed, clock)
    counted = None
    if area:
        with console_progress(Console(stderr=True, quiet=as_json)) as progress:
            counted = estimate(design, progress)
    files = write_axi_handoff(design, out, counted)
    return {"output": out, "top": TOP, "core_mhz": design.clock_mhz, "part": record.part,
            "core": record.core, "files": files,
            "area": None if counted is None else counted.as_dict(),
            "ports": [vars(port) for port in design.verilog.ports]}
