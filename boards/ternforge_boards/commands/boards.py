"""``ternforge boards``."""

from dataclasses import fields
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.output import print_json
from ternforge_boards.board import Board
from ternforge_boards.board import boards as all_boards

__all__ = ["boards"]


def _record(board: Board) -> dict[str, Any]:
    """The board as plain data; its core preset is left to the commands that use it."""
    record = {field.name: getattr(board, field.name) for field in fields(board)}
    del record["core"]
    return {**record, "memory_bytes": board.resources.memory_bytes}


@command(example="ternforge boards\nternforge boards --json")
def boards(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the boards that a design can be built for."""
    if as_json:
        print_json({"boards": [_record(board) for board in all_boards().values()]})
        return
    table = Table("board", "device", "LUT", "memory", "DSP", "clock in", "core")
    for board in all_boards().values():
        table.add_row(
            board.name, board.part, f"{board.resources.lut:,}",
            f"{board.resources.memory_bytes / 1024:.0f} KiB", str(board.resources.dsp),
            f"{board.oscillator_mhz:g} MHz", f"{board.core_mhz:g} MHz",
        )
    console = Console()
    console.print(table)
    for board in all_boards().values():
        console.print(f"{board.name}: {board.title}; {board.verified}; {board.url}", soft_wrap=True)
