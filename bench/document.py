"""Tables of a run in a Markdown document, between the comments that name them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ternforge.errors import UserError
from ternforge.output import write_text

from .area import PARTS
from .figures import Data, Row
from .parallel import CASES as PARALLEL
from .peers.compare import RECORDED
from .show import MARKS, lanes_rows, number
from .tokens import CASES
from .units import TARGETS, UNITS

__all__ = ["TABLES", "update"]

#: Matches what stands between ``<!-- bench: NAME -->`` and ``<!-- end -->``.
_BLOCK = re.compile(r"(<!-- bench: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _figures(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    return _table(("what", "reach", "value", "", "command"), (
        (row.title, row.reach, *(("", f"failed: {row.reason}") if row.value is None else (
            f"{number(row.value)} {row.unit}".strip(), MARKS[row.reached])), f"`{row.command}`")
        for row in rows if row.reach))


def _lanes(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    return _table(
        ("design", "family", "MAC/cycle", "LUT4", "DSP", "LUT per MAC", "MHz", "MMAC/s per LUT",
         "area", "speed", "from"),
        ([row["design"], row["family"], *(number(row.get(key)) for key in (
            "mac_per_cycle", "lut", "dsp", "lut_per_mac", "fmax_mhz", "density", "area_ratio",
            "speed_up")), row["status"]] for row in lanes_rows(data)))


def _units(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    keys = ("lut", "ff", "block_ram", "dsp", "fmax_mhz")
    return _table(
        ("unit", *(f"{title}, {target.family}" for target in TARGETS
                   for title in ("LUT4", "FF", "block RAM", "DSP", "MHz"))),
        ([unit, *(number(data.get(target.name(unit), {}).get(key)) for target in TARGETS
                  for key in keys)] for unit in UNITS))


def _area(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    return _table(
        ("unit", "core", "part", "LUT", "FF", "block RAM", "DSP"),
        ([part.unit, part.preset, part.family,
          *(number(found[key]) for key in ("lut", "ff", "block_ram", "dsp"))]
         for part in PARTS if (found := data.get(part.name)) is not None))


def _tokens(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    return _table(
        ("shape", "core", "latency", "cycles per token", "weights alone", "share",
         "layers simulated"),
        ([case.size, case.core, str(case.latency), number(found["cycles"]),
          number(round(found["ideal_cycles"])), f"{found['share']:.2%}",
          f"{', '.join(str(layers) for layers, _ in found['simulated'])} of {found['layers']}"]
         for case in CASES if (found := data.get(case.name)) is not None))


def _parallel(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    gains = {row.name.rpartition(".")[0]: row.value for row in rows
             if row.name.endswith((".speed-up", ".throughput"))}
    return _table(
        ("shape and core", "cores", "streams", "bytes in a beat", "cycles per pass", "share",
         "against one"),
        ([case.title, *(number(found[key]) for key in ("cores", "streams", "lanes")),
          " / ".join(number(cycles) for cycles in dict.fromkeys(found["pass_cycles"])),
          f"{found['share']:.2%}", f"{number(gains.get(case.name))} x"]
         for case in PARALLEL if (found := data.get(case.name)) is not None))


def _published(rows: Sequence[Row], data: Mapping[str, Data]) -> str:
    return _table(("system", "published figures", "by"), (
        (row["design"], row["how"], row["source"]) for row in RECORDED
        if row["status"] == "published"))


#: Tables by name.
TABLES: dict[str, Callable[[Sequence[Row], Mapping[str, Data]], str]] = {
    "figures": _figures, "parallel": _parallel, "lanes": _lanes, "units": _units,
    "area": _area, "tokens": _tokens, "published": _published}


def update(path: Path, rows: Sequence[Row], data: Mapping[str, Data]) -> None:
    """Write the tables of this run in the place of those of an earlier one.

    Raises
    ------
    UserError
        If the document holds none of the comments, or names another table.
    """
    text = path.read_text(encoding="utf-8")
    names = [found["name"] for found in _BLOCK.finditer(text)]
    if not names:
        raise UserError(f"{str(path)!r} must have a place for a table, such as "
                        "'<!-- bench: figures -->' and '<!-- end -->' on lines of their own")
    for name in names:
        if name not in TABLES:
            raise UserError(f"a table of {str(path)!r} must be one of {', '.join(TABLES)}, not "
                            f"{name!r}")
    write_text(path, _BLOCK.sub(
        lambda found: found[1] + TABLES[found["name"]](rows, data) + found[3], text))
