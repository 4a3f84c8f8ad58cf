"""``ternforge boards``."""

from dataclasses import asdict, fields
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.output import print_json
from ternforge_boards.board import Board
from ternforge_boards.board import boards as all_boards
from ternforge_boards.ceiling import Ceiling, ceilings, peak_bandwidth

__all__ = ["boards"]


def _record(board: Board, bounds: list[Ceiling]) -> dict[str, Any]:
    """The board as plain data; its core preset is left to the commands that use it."""
    record = {field.name: getattr(board, field.name) for field in fields(board)}
    del record["core"]
    return {**record, "memory_bytes": board.resources.memory_bytes,
            "peak_bandwidth": peak_bandwidth(board), "models": [asdict(bound) for bound in bounds]}


def _memory(board: Board) -> str:
    memory = board.memory
    if memory is None:
        return f"{board.resources.memory_bytes / 1024:.0f} KiB inside"
    kind = {"sdr": "SDRAM", "ddr3": "DDR3"}[memory.dram.kind]
    return f"{memory.size_bytes >> 20} MB {kind}, {memory.dram.data_bits} bit"


@command(example="ternforge boards\nternforge boards --json")
def boards(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the boards that a design can be built for, and what bounds each model on them."""
    found = {board: list(ceilings(board)) for board in all_boards().values()}
    if as_json:
        print_json({"boards": [_record(board, bounds) for board, bounds in found.items()]})
        return
    console = Console()
    table = Table("board", "LUT", "DSP", "image memory", "MB/s", "core", "largest model")
    table.columns[0].no_wrap = True
    for board, bounds in found.items():
        fitting = [bound for bound in bounds if not bound.misfit]
        largest = max(fitting, key=lambda bound: bound.image_bytes).model if fitting else "none"
        table.add_row(board.name, f"{board.resources.lut:,}", str(board.resources.dsp),
                      _memory(board), f"{peak_bandwidth(board) / 1e6:,.0f}",
                      f"{board.core_mhz:g} MHz", largest)
    console.print(table)
    limits = Table("model", *(board.name for board in found),
                   title="most tokens/s: the memory's peak bandwidth over the bytes of a token")
    limits.columns[0].no_wrap = True
    for column in limits.columns[1:]:
        column.justify = "right"
    for row in zip(*found.values(), strict=True):
        limits.add_row(row[0].model, *("-" if bound.misfit else f"{bound.tokens_per_second:,.1f}"
                                       for bound in row))
    console.print(limits)
    for board in found:
        console.print(f"{board.name}: {board.title}, {board.part}; {board.verified}; {board.url}",
                      soft_wrap=True)
