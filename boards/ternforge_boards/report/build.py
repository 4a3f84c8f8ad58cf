"""``report.json`` of a build: what was measured, and how it prints."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ternforge.errors import UserError
from ternforge_boards.board import board as find_board
from ternforge_boards.build import BuildResult
from ternforge_boards.handoff import Design
from ternforge_firmware.image import load_json

__all__ = ["FIELDS", "FORMAT", "make_report", "print_build", "read_report", "used_resources"]

FORMAT = 1  #: version of the file

#: What every report holds, and what kind each value is: "text", "count" (a whole number),
#: "figure" (a number, zero or more), "flag", "names" (an object with text values) or "path"
#: (text, or null).
FIELDS = {
    "board": "text", "model": "text", "model_hash": "text", "device": "text", "core_mhz": "figure",
    "fmax_mhz": "figure", "constrained_mhz": "figure", "met": "flag", "lut": "count",
    "ff": "count", "block_ram": "count", "dsp": "count", "spram": "count", "seed": "count",
    "cycles_per_token": "figure", "ideal_cycles_per_token": "figure",
    "weight_stream_share": "figure", "checked_tokens": "count", "bit_exact": "flag",
    "tokens_per_second": "figure", "bitstream": "path", "tool_versions": "names",
}


def make_report(design: Design, result: BuildResult, cycles: dict[str, Any]) -> dict[str, Any]:
    """All figures of a build as plain data.

    LUT, FF, block RAM, DSP and Fmax come from nextpnr, cycles from simulation;
    ``tokens_per_second`` is the clock of the core over the cycles per token.
    """
    return {
        "format": FORMAT,
        "board": design.board.name,
        "model": design.image.model,
        "model_hash": design.image.model_hash,
        "core": vars(design.core),
        "core_mhz": design.core_mhz,
        **asdict(result),
        **cycles,
        "tokens_per_second": design.core_mhz * 1e6 / cycles["cycles_per_token"],
    }


def read_report(path: Path) -> dict[str, Any]:
    """Read a ``report.json``, or the one in a folder.

    Raises
    ------
    UserError
        If there is none, or it is not one of ours.
    """
    file = path / "report.json" if path.is_dir() else path
    again = "make it again with `ternforge build`"
    try:
        report = load_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {str(file)!r}: {error.strerror}; make one with "
                        "`ternforge build`") from None
    except ValueError:
        raise UserError(f"{str(file)!r} is not a report, or a truncated one: it must be JSON; "
                        f"{again}") from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise UserError(f"{str(file)!r} is not a report of format {FORMAT}: {again}")
    for name, kind in FIELDS.items():
        if name not in report:
            raise UserError(f"the report {str(file)!r} must have the field {name!r}: {again}")
        if not _is(kind, report[name]):
            raise UserError(f"the field {name!r} of the report {str(file)!r} must be "
                            f"{KINDS[kind]}, not {report[name]!r}: {again}")
    find_board(report["board"])
    return report


#: No figure of a build comes near it.
LARGEST = 10**15

#: Kinds of :data:`FIELDS` in messages.
KINDS = {"text": "text", "count": "a whole number", "figure": "a number", "flag": "true or false",
         "names": "an object with text values", "path": "text or null"}


def _is(kind: str, value: Any) -> bool:
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "names":
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if kind in ("text", "path"):
        return isinstance(value, str) or (kind == "path" and value is None)
    if isinstance(value, bool) or not isinstance(value, int if kind == "count" else int | float):
        return False
    return 0 <= value < LARGEST


def used_resources(report: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """Name, number that the build uses, and number that the device has, of each resource."""
    have = find_board(report["board"]).resources
    yield "LUT4", report["lut"], have.lut
    yield "flip-flops", report["ff"], have.ff
    yield "block RAM", report["block_ram"], have.block_ram
    yield "DSP", report["dsp"], have.dsp
    if have.spram:
        yield "single-port RAM", report["spram"], have.spram


def print_build(report: dict[str, Any], console: Console | None = None) -> None:
    """The report as a table, with the share of the device that is used."""
    table = Table(title=f"{report['model']} on {report['board']} ({report['device']})")
    for title in ("what", "value", "of the device", "from"):
        table.add_column(title, justify="right" if title == "value" else "left")

    for name, count, available in used_resources(report):
        table.add_row(name, f"{count:,}", f"{count / available:.0%}", "nextpnr")
    table.add_row("Fmax", f"{report['fmax_mhz']:.1f} MHz",
                  f"constraint {report['constrained_mhz']:.1f} MHz",
                  f"nextpnr, seed {report['seed']}")
    table.add_row("cycles per token", f"{report['cycles_per_token']:.0f}",
                  f"{report['weight_stream_share']:.1%} of the weight-stream limit", "simulation")
    table.add_row("tokens/s", f"{report['tokens_per_second']:.0f}",
                  f"at {report['core_mhz']:g} MHz", "clock / cycles")
    exact = "bit-exact" if report["bit_exact"] else "NOT bit-exact"
    table.add_row("tokens checked", str(report["checked_tokens"]), exact, "simulation")
    (console or Console()).print(table)
