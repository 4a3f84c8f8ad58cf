"""``ternforge verilog``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ternforge.cli import command
from ternforge.output import print_json
from ternforge_boards.board import board as find_board
from ternforge_boards.handoff import TOP, make_design, write_handoff
from ternforge_sim.commands import open_image

__all__ = ["verilog"]


@command(example="ternforge verilog --board ulx3s-85f --model shakespeare-85f -o out/")
def verilog(
    board: Annotated[str, typer.Option(help="Board; see `ternforge boards`.")] = "ulx3s-85f",
    model: Annotated[str | None, typer.Option(help="Shipped model, or folder of one.")] = None,
    image: Annotated[Path | None, typer.Option(help="Packet image instead of a model.")] = None,
    out: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")] = Path("verilog"),
    clock: Annotated[float | None, typer.Option(help="Core clock in MHz.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write standalone Verilog of a model on a board, with a self-checking testbench."""
    record = find_board(board)
    packed = open_image(board, model, image)
    console = Console(stderr=True, quiet=as_json)
    with console.status("generating Verilog ..."):
        design = make_design(record, packed, clock)
        files = write_handoff(design, out)
    if as_json:
        print_json({"output": out, "top": TOP, "core_mhz": design.core_mhz, "files": files,
                    "ports": [vars(port) for port in design.verilog.ports]})
        return
    check = f"; `make -C {out} icarus` or `verilator` checks it" if design.dram is None else ""
    Console().print(f"{out}: {len(files)} files; top module {TOP}, {design.core_mhz:g} MHz{check}",
                    markup=False, soft_wrap=True)
