"""Tables, CSV and JSON of a sweep."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .pareto import Candidate, best, pareto
from .plan import Plan
from .point import Result

__all__ = ["as_csv", "as_data", "print_sweep"]


def _row(result: Result) -> dict[str, Any]:
    """The figures of a point by column."""
    point, report, throughput = result.point, result.report, result.throughput
    area = None if report is None else report.area.total
    [figures] = pareto([result]) or [None]
    return {
        "board": point.board, "model": point.model, **point.settings,
        "core_mhz": point.core_mhz, "seed": point.seed, "depth": point.depth.value,
        "core_alone": point.alone,
        "tokens_per_second": figures and figures.tokens_per_second,
        "status": figures and figures.status,
        "cycles_per_token": throughput and throughput.cycles_per_token.value,
        "bandwidth_share": throughput and throughput.bandwidth_share.value,
        "lut": area and area.lut, "ff": area and area.ff,
        "block_ram": area and area.block_ram, "dsp": area and area.dsp,
        "spram": area and area.spram, "fmax_mhz": figures and figures.fmax_mhz,
        "met": result.met, "watts": figures and figures.watts, "reason": result.reason,
    }


def as_data(plan: Plan, results: Sequence[Result], worked: int, seconds: float) -> dict[str, Any]:
    """All of a sweep as plain data."""
    candidates = pareto(results)
    return {
        "format": 1, "worked_on": worked, "seconds": round(seconds, 2),
        "points": [result.model_dump(mode="json") for result in results],
        "excluded": [vars(one) for one in plan.excluded], "notes": list(plan.notes),
        "candidates": [one.model_dump(mode="json") for one in candidates],
        "best": [one.model_dump(mode="json") for one in best(candidates)],
    }


def as_csv(results: Sequence[Result]) -> str:
    """A line per point, failed ones too; empty where a figure is not known."""
    rows = [_row(result) for result in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.append(columns.pop(columns.index("reason")))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


#: Columns of the table, and whether they are numbers.
_COLUMNS = {"point": False, "model": False, "tokens/s": True, "from": False, "cycles": True,
            "LUT4": True, "BRAM": True, "DSP": True, "Fmax": True, "": False}


def print_sweep(plan: Plan, results: Sequence[Result], console: Console) -> None:
    """The points as a table, what was excluded by rule, and the best points.

    A column that says the same of all points stands in the title, and an empty one is left out.
    """
    candidates = {one.name + one.model: one for one in pareto(results)}
    rows = [_cells(result, candidates.get(result.point.name + result.point.model))
            for result in results]
    same = {name: {row[name] for row in rows if row[name]} for name in ("model", "from")}
    told = [found.pop() for found in same.values() if len(found) == 1]
    shown = [name for name in _COLUMNS if len(same.get(name, ["", ""])) > 1
             and any(row[name] for row in rows)]
    marks = ("* is on the front of tokens/s against LUT, + against power"
             if any(row["LUT4"] for row in rows) else None)
    table = Table(title=", ".join([one for one in told if one] or ["points"]), caption=marks)
    for name in shown:
        table.add_column(name, justify="right" if _COLUMNS[name] else "left", no_wrap=bool(name))
    for row, result in zip(rows, results, strict=True):
        style = "red" if result.reason else "yellow" if result.met is False else ""
        table.add_row(*(Text(row[name]) for name in shown), style=style)
    console.print(table)
    for result in results:
        if result.reason:
            console.print(f"{result.point.name}: {result.reason}", style="red", markup=False,
                          soft_wrap=True)
    for rule, count in Counter(one.rule for one in plan.excluded).most_common():
        reason = next(one for one in plan.excluded if one.rule == rule)
        console.print(f"{count} excluded by the {rule}, such as {reason.name}: {reason.reason}",
                      markup=False, soft_wrap=True)
    for one in best(list(candidates.values())):
        value = f"{one.value:,.0f}" if one.value >= 100 else f"{one.value:.3g}"
        console.print(f"{one.what}, {one.model}: {one.name} ({value} {one.unit})", markup=False,
                      soft_wrap=True)


def _cells(result: Result, figures: Candidate | None) -> dict[str, str]:
    """Texts of one row."""
    cells = {**dict.fromkeys(_COLUMNS, ""), "point": result.point.name,
             "model": result.point.model}
    if figures is None or result.throughput is None:
        return {**cells, "": "failed"}
    cells |= {"tokens/s": f"{figures.tokens_per_second:,.0f}", "from": figures.status,
              "cycles": f"{result.throughput.cycles_per_token.value or 0:,.0f}"}
    if result.report is not None:
        area = result.report.area.total
        cells |= {"LUT4": f"{area.lut:,}", "BRAM": str(area.block_ram), "DSP": str(area.dsp)}
    if figures.fmax_mhz is not None:
        cells["Fmax"] = f"{figures.fmax_mhz:.1f}"
    notes = ["*" * figures.area_front + "+" * figures.power_front,
             "misses timing" if figures.met is False else "",
             "core alone" if result.point.alone else ""]
    return {**cells, "": " ".join(note for note in notes if note)}
