"""``ternforge gates``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.core.core import Core
from ternforge.mem.burst import BurstFetch
from ternforge.mem.fetch import Fetch
from ternforge.output import print_json
from ternforge.presets import core_preset
from ternforge.verilog import generate
from ternforge_boards.asic import count_gates
from ternforge_boards.jobs import console_progress
from ternforge_boards.untraced import Untraced

__all__ = ["gates"]


@command(example="ternforge gates --core up5k --liberty cells.lib")
def gates(
    core: Annotated[str, typer.Option(help="Core preset, or a board for its core.")],
    liberty: Annotated[Path, typer.Option(help="Liberty file of a standard-cell library.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the gates of a core in a standard-cell library; a look ahead, without placement."""
    config = replace(core_preset(core), lane="portable")
    console = Console(stderr=True, quiet=as_json)
    with console.status("generating Verilog ..."):
        fetch = Fetch(config, 2) if config.bank_beats else BurstFetch(config)
        design = generate(Untraced(Core(config, fetch)), "ternforge_core")
    with console_progress(console) as progress:
        found = count_gates(design.text, design.name, liberty, progress)
    if as_json:
        print_json(found.as_dict())
        return
    table = Table("cell", "count")
    table.columns[1].justify = "right"
    for kind, count in found.by_cell.items():
        table.add_row(kind, f"{count:,}")
    console = Console()
    console.print(table)
    console.print(f"{core}: {found.cells:,} cells, area {found.area:,.0f} in the library's unit. "
                  f"{found.memory_bits:,} bits in {found.memories} memories are left out, as is "
                  "the image's memory: a chip has macros for them. Synthesis only: no wires, no "
                  "clock tree, no timing.", markup=False)
