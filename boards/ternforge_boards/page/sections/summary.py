"""What each build is and reaches, at a glance."""

from dataclasses import dataclass
from typing import Any

from ternforge_boards.page.tables import Cell, Column, Table, missing, share, shown
from ternforge_boards.report.schema import Report
from ternforge_boards.report.text import figure, number, percent
from ternforge_boards.report.value import Status

from . import Builds

__all__ = ["Card", "summary_section"]


@dataclass(frozen=True)
class Card:
    """The figures of one build that decide."""

    key: str
    report: Report
    speed: Cell
    figures: list[tuple[str, Cell]]


def summary_section(builds: Builds) -> dict[str, Any]:
    """Cards, and the same as a table if there are several builds."""
    cards = [Card(key, report, shown(report.throughput.tokens_per_second), _figures(report))
             for key, report in builds]
    if len(builds) < 2:
        return {"cards": cards, "table": None}
    names = [name for name, _ in cards[0].figures]
    rows = [[Cell(f"{card.key}  {card.report.name}", key=card.key),
             shown(card.report.throughput.tokens_per_second, unit=False),
             *(cell for _, cell in card.figures)] for card in cards]
    columns = [Column("build"), Column("tok/s", numeric=True, about="of one stream"),
               *(Column(name, numeric=name != "integer model") for name in names)]
    return {"cards": cards, "table": Table("All builds", columns, rows, name="summary")}


def _figures(report: Report) -> list[tuple[str, Cell]]:
    clock, total, have = report.critical_clock, report.area.total, report.area.available
    fmax = missing("not placed") if clock is None else Cell(
        f"{number(clock.achieved_mhz)} MHz", key=clock.achieved_mhz, status=Status.MEASURED,
        detail=f"{'meets' if clock.met else 'misses'} {number(clock.constrained_mhz)} MHz",
        bad=not clock.met)
    area = Cell(f"{total.lut:,}", key=float(total.lut),
                status=Status.ESTIMATED if clock is None else Status.MEASURED,
                detail=f"{percent(total.lut / have.lut)} of {have.lut:,}" if have.lut else "")
    energy = report.power and report.power.energy
    return [
        ("Fmax", fmax), ("LUT", area),
        ("of peak bandwidth", _bandwidth(report)),
        ("energy/token, core", shown(energy.core_per_token) if energy else
         missing("not estimated")),
        ("energy/token, board", shown(energy.board_per_token) if energy else
         missing("not estimated")),
        ("integer model", _evidence(report)),
    ]


def _evidence(report: Report) -> Cell:
    """What was checked against the integer model."""
    checked, exact = report.evidence.checked_tokens, report.evidence.bit_exact
    if not checked:
        return missing("not checked")
    return Cell("bit-exact" if exact else "differs", key=str(exact), bad=not exact,
                detail=f"{checked:,} tokens checked", status=Status.SIMULATED)


def _bandwidth(report: Report) -> Cell:
    value, peak = report.throughput.bandwidth_share, report.design.memory_bytes_per_second
    if value.value is None:
        return shown(value)
    cell = share(value.value)
    return Cell(cell.text, key=cell.key, status=value.status, detail=f"of {figure(peak, 'B/s')}")
