"""Plots of a run, as SVG files that are the same for the same figures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ternforge.output import atomic_file

from .figures import Data, Reach, Row
from .show import lanes_rows
from .tokens import CASES
from .units import TARGETS, UNITS

__all__ = ["write_plots"]

MEASURED, RECORDED_COLOUR, MISSED = "#3465a4", "#aaaaaa", "#c4625a"


def _reach(axes: Any, rows: Sequence[Row], data: Mapping[str, Data]) -> bool:
    shares = [(row.title, share, bool(row.reached)) for row in rows if row.value is not None
              and (share := Reach(row.reach).share(row.value)) is not None]
    if not shares:
        return False
    titles, values, reached = zip(*reversed(shares), strict=True)
    axes.barh(titles, values, color=[MEASURED if ok else MISSED for ok in reached])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, 2)  # how far a figure passes its limit does not matter
    axes.set_xlabel("figure over its limit, the better the larger; 1 is the limit")
    return True


def _lanes(axes: Any, rows: Sequence[Row], data: Mapping[str, Data]) -> bool:
    if not any(row["status"] == "measured" for row in lanes_rows(data)):
        return False
    shown = [(f"{row['design']}, {row['family']}", row["lut_per_mac"], row["status"] == "measured")
             for row in lanes_rows(data)]
    titles, values, measured = zip(*reversed(shown), strict=True)
    axes.barh([title if here else f"{title} (recorded)"
               for title, here in zip(titles, measured, strict=True)], values,
              color=[MEASURED if here else RECORDED_COLOUR for here in measured])
    axes.set_xscale("log")
    axes.set_xlabel("LUT4 per MAC and cycle, the better the smaller")
    return True


def _tokens(axes: Any, rows: Sequence[Row], data: Mapping[str, Data]) -> bool:
    shown = [(f"{case.size}, {case.core}, latency {case.latency}", 100 * data[case.name]["share"])
             for case in CASES if case.name in data]
    if not shown:
        return False
    titles, values = zip(*reversed(shown), strict=True)
    axes.barh(titles, values, color=MEASURED)
    axes.axvline(97, color="black", linewidth=1)
    axes.set_xlabel("weights' share of the cycles of a token in %")
    return True


def _area(axes: Any, rows: Sequence[Row], data: Mapping[str, Data]) -> bool:
    names = [(target, unit) for target in TARGETS for unit in UNITS
             if target.name(unit) in data]
    if not names:
        return False
    titles = [f"{unit}, {target.family}" for target, unit in reversed(names)]
    axes.barh(titles, [data[target.name(unit)]["lut"] for target, unit in reversed(names)],
              color=MEASURED)
    axes.set_xlabel("LUT4 of each unit by itself")
    return True


PLOTS: dict[str, Callable[[Any, Sequence[Row], Mapping[str, Data]], bool]] = {
    "reach": _reach, "lanes": _lanes, "tokens": _tokens, "area": _area}


def write_plots(rows: Sequence[Row], data: Mapping[str, Data], folder: Path) -> list[Path]:
    """Write ``NAME.svg`` for each of :data:`PLOTS` that there are figures of.

    Raises
    ------
    ModuleNotFoundError
        Without matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    written = []
    for name, draw in PLOTS.items():
        with rc_context({"svg.hashsalt": name, "font.size": 8}):
            figure = Figure(layout="constrained")
            axes = figure.subplots()
            if not draw(axes, rows, data):
                continue
            bars = sum(len(container) for container in axes.containers)
            figure.set_size_inches(8, 1 + 0.18 * bars)
            axes.margins(y=0.01)
            with atomic_file(folder / f"{name}.svg") as staged:
                figure.savefig(staged, metadata={"Date": None})
        written.append(folder / f"{name}.svg")
    return written
