"""The figures as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .figures import Data, Row
from .peers.compare import PEERS, RECORDED, density
from .units import ECP5, TARGETS

__all__ = ["MARKS", "WIDE", "figure_table", "lanes_rows", "lanes_table", "number", "print_all"]

#: Columns of a terminal on which the table says what each figure is.
WIDE = 140

#: How a row is marked.
MARKS = {True: "reached", False: "not reached", None: ""}


def number(value: float | None) -> str:
    """Four digits, or all those of a whole number."""
    if value is None:
        return ""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def figure_table(rows: Sequence[Row], *, wide: bool = True) -> Table:
    """Each figure with its reach, and whether it is reached or why there is none.

    ``wide`` adds what each figure is.
    """
    table = Table(title="figures")
    table.add_column("figure", no_wrap=True)
    if wide:
        table.add_column("what")
    for title in ("value", "unit", "reach", ""):
        table.add_column(title, justify="right" if title in ("value", "reach") else "left",
                         no_wrap=bool(title))
    colours = {True: "green", False: "red", None: ""}
    group = ""
    for row in rows:
        if row.group != group:
            table.add_section()
            group = row.group
        mark = f"failed: {row.reason}" if row.value is None else MARKS[row.reached]
        table.add_row(row.name, *([row.title] if wide else []), number(row.value), row.unit,
                      row.reach, mark,
                      style="red" if row.value is None else colours[row.reached])
    return table


def lanes_rows(data: Mapping[str, Data]) -> list[dict[str, Any]]:
    """Our lanes and their peers as measured, family by family, then what others recorded.

    ``area_ratio`` is LUT per MAC over ours, ``speed_up`` our MAC/s from a LUT over theirs; both are
    left out where our lanes were not measured.
    """
    found = []
    for target in TARGETS:
        ours = data.get(target.name("lanes"))
        if ours is not None:
            found.append(_row(f"ternforge lanes, {target.preset}", target.family, "measured",
                              target.config.tile, ours))
        found += [_row(peer.title, target.family, "measured", theirs["mac_per_cycle"], theirs)
                  for peer in PEERS if peer.target is target
                  and (theirs := data.get(peer.measurement)) is not None]
    found += [_row(row["design"], ECP5.family, f"recorded; {row['source']}",
                   row["mac_per_cycle"], row) for row in RECORDED if row["status"] == "recorded"]
    for row in found:
        ours = next((other for other in found if other["design"].startswith("ternforge")
                     and other["family"] == row["family"]), None)
        if ours is not None:
            row["area_ratio"] = row["lut_per_mac"] / ours["lut_per_mac"]
            row["speed_up"] = ours["density"] / row["density"]
    return found


def _row(design: str, family: str, status: str, macs: float, data: Data) -> dict[str, Any]:
    return {"design": design, "family": family, "status": status, "mac_per_cycle": macs,
            "lut": data["lut"], "dsp": data.get("dsp"), "fmax_mhz": data["fmax_mhz"],
            "lut_per_mac": data["lut"] / macs, "density": density(data, macs)}


def lanes_table(data: Mapping[str, Data]) -> Table:
    """Side by side: what was measured here, and what others recorded."""
    table = Table("design", "family", title="lanes side by side")
    table.caption = ("area: its LUT per MAC/cycle over ours; speed: our MAC/s from a LUT over its; "
                     "the recorded ones stand in bench/peers/recorded.json with their sources")
    keys = {"mac_per_cycle": "MAC/cycle", "lut": "LUT4", "dsp": "DSP", "fmax_mhz": "MHz",
            "lut_per_mac": "LUT/MAC", "density": "MMAC/s/LUT", "area_ratio": "area",
            "speed_up": "speed"}
    for title in keys.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("from")
    status = ""
    for row in lanes_rows(data):
        if row["status"].partition(";")[0] + row["family"] != status:
            table.add_section()
            status = row["status"].partition(";")[0] + row["family"]
        table.add_row(row["design"], row["family"], *(number(row.get(key)) for key in keys),
                      row["status"].partition(";")[0])
    return table


def published_table() -> Table:
    """Whole systems of others, as published; nothing of them was run here."""
    table = Table("system", "figures", "published by", title="published, not run here")
    for row in RECORDED:
        if row["status"] == "published":
            table.add_row(row["design"], row["how"], row["source"])
    return table


def print_all(rows: Sequence[Row], data: Mapping[str, Data], console: Console) -> None:
    """All tables, and how many figures reach what they must."""
    console.print(figure_table(rows, wide=console.width >= WIDE))
    if any(row.group == "peer" for row in rows):
        console.print(lanes_table(data))
        console.print(published_table())
    ruled = [row for row in rows if row.reach]
    failed = sum(row.value is None for row in rows)
    console.print(f"{sum(bool(row.reached) for row in ruled)} of {len(ruled)} figures with a rule "
                  f"reach it" + (f"; {failed} figures could not be measured" if failed else ""))
