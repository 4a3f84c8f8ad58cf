"""What each kind of lanes takes and reaches: synthesis, place and route of the lanes by themselves.

``python bench/lanes.py``. Every step is cached by its content, so that a second run only prints.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command, run_function
from ternforge.config import CoreConfig
from ternforge.errors import UserError, unknown
from ternforge.lanes import KINDS, dot_product
from ternforge.output import print_json, to_json, write_text
from ternforge.trits import TRITS_PER_BYTE
from ternforge.verilog import generate
from ternforge_boards.jobs import Progress, console_progress
from ternforge_boards.measure import UNIT_BOARDS, measure_component

__all__ = ["CODES", "measure"]

#: Codes of the weights: five to a byte with their decoder, or two bits each.
CODES = {"1.6": True, "2": False}

#: What nextpnr is asked for in MHz, beyond what lanes reach, and adder levels between registers.
TARGETS = {"ecp5": (250.0, 1), "ice40": (60.0, 2), "gowin": (450.0, 1)}

#: The same of lanes of tables, whose fill units are measured with them, and the vectors that these
#: hold: most elements per cycle, and longest vector. As the presets ``ddr-n16`` and ``up5k``.
TABLE_TARGETS = {"ecp5": (250.0, 1), "ice40": (100.0, 1)}
TABLE_VECTORS = {"ecp5": (8, 2816), "ice40": (1, 400)}


def measure(kind: str, family: str, macs: int, seeds: Sequence[int], *, bits: str = "1.6",
            tree_levels: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Record of one kind of lanes at one size; cached by content.

    Parameters
    ----------
    kind : str
        One of :data:`ternforge.lanes.KINDS`.
    family : str
        One of :data:`~ternforge_boards.measure.UNIT_BOARDS`.
    macs : int
        Products per cycle, a multiple of 10.
    seeds : sequence of int
        Of nextpnr; the clock is their median.
    bits : str
        Bits of a weight, one of :data:`CODES`.
    tree_levels : int
        Adder levels between registers; the family's unless given.
    progress : callable
        See :func:`~ternforge_boards.jobs.console_progress`.

    Raises
    ------
    UserError
        If there is no such kind, family or code, or no such number of products.
    """
    check(kind, family, macs, bits)
    freq_mhz, levels = (TABLE_TARGETS if tables(kind) else TARGETS)[family]
    config = CoreConfig(lanes=macs // TRITS_PER_BYTE, tree_levels=tree_levels or levels, lane=kind)
    if tables(kind):
        most, longest = TABLE_VECTORS[family]
        half = config.lanes // 2
        config = replace(config, elements=min(most, half & -half), max_fan_in=longest)
    lanes = dot_product(config, packed=CODES[bits])
    found = measure_component(generate(lanes, "lanes", family=family).text, "lanes", family, seeds,
                              freq_mhz, progress=progress)
    return {"kind": kind, "macs": macs, "bits_per_weight": bits,
            "tree_levels": config.tree_levels, "latency": lanes.latency,
            "elements": config.elements, "max_fan_in": config.max_fan_in, **found.as_dict(),
            "lut_per_mac": found.lut / macs}


def check(kind: str, family: str, macs: int, bits: str) -> None:
    """Raise UserError unless :func:`measure` takes these."""
    for what, value, choices in (("kind of lanes", kind, KINDS), ("family", family, UNIT_BOARDS),
                                 ("number of bits", bits, CODES)):
        if value not in choices:
            raise unknown(what, value, choices)
    if tables(kind) and not CODES[bits]:
        raise UserError(f"the lanes {kind} have no code of {bits} bits: a byte addresses a table")
    if macs < 10 or macs % 10:
        raise UserError(f"the products per cycle must be a positive multiple of 10, not {macs}")


def tables(kind: str) -> bool:
    """Whether it is a kind whose tables are filled."""
    return kind in KINDS and KINDS[kind].holds_tiles


@command(example="python bench/lanes.py --family ecp5 --kind ecp5 --macs 70 --seeds 5")
def bench(
    family: Annotated[list[str] | None, typer.Option(
        help="Family; may be repeated. All unless given.")] = None,
    kind: Annotated[list[str] | None, typer.Option(
        help="Kind of lanes; may be repeated. All that are made for the family.")] = None,
    macs: Annotated[list[int] | None, typer.Option(
        help="Products per cycle, a multiple of 10; may be repeated. ECP5: 70, or 80 of tables, "
             "and 200; others: 40.")] = None,
    bits: Annotated[list[str] | None, typer.Option(
        help="Bits of a weight, 1.6 or 2; may be repeated. Both that the kind has unless "
             "given.")] = None,
    tree_levels: Annotated[int | None, typer.Option(
        help="Adder levels between registers; 2 on the iCE40, but for tables, 1 on "
             "others.")] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of nextpnr; the median counts.")] = 5,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure lanes by themselves: LUT4 sites, flip-flops, block RAM, clock.

    Tables come with the units that fill them, and with the memory of the vectors.
    """
    if seeds < 1:
        raise UserError(f"--seeds must be positive, not {seeds}")
    if tree_levels is not None and tree_levels < 1:
        raise UserError(f"--tree-levels must be positive, not {tree_levels}")
    points = [(name, one, size, code) for one in family or UNIT_BOARDS
              for name in kind or [name for name, made in KINDS.items()
                                   if name == "portable" or one in made.best_for
                                   or made.holds_tiles]
              for size in macs or ([40] if one == "ice40" else
                                   [80, 200] if tables(name) else [70, 200])
              for code in bits or (["1.6"] if tables(name) else CODES)]
    for point in points:
        check(*point)
    with console_progress(Console(stderr=True, quiet=as_json)) as progress:
        records = [measure(name, one, size, range(1, seeds + 1), bits=code,
                           tree_levels=tree_levels, progress=progress)
                   for name, one, size, code in points]
    if out is not None:
        write_text(out, to_json(records) + "\n")
    if as_json:
        print_json(records)
        return
    table = Table("family", "kind", title=f"lanes by themselves, median of {seeds} seeds")
    for title in ("MAC", "bits", "levels", "LUT", "LUT/MAC", "FF", "RAM", "MHz"):
        table.add_column(title, justify="right")
    for row in records:
        table.add_row(row["family"], row["kind"], str(row["macs"]), row["bits_per_weight"],
                      str(row["tree_levels"]), str(row["lut"]), f"{row['lut_per_mac']:.1f}",
                      str(row["ff"]), str(row["block_ram"]), f"{row['fmax_mhz']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(run_function(bench, "python bench/lanes.py"))
