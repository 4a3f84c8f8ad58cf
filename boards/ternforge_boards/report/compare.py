"""Builds and published systems beside each other, with what is not like for like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .published import Anchor
from .schema import Report
from .value import Status, Value

__all__ = ["COLUMNS", "Comparison", "Row", "Versioned", "compare", "ratio"]

#: What is compared.
COLUMNS = ("model", "device", "tok/s per stream", "tok/s summed", "power", "of", "tok/s per W",
           "energy per token", "tok/s per 1000 LUT", "tok/s per GB/s", "share of own limit")

#: What a ratio of two figures is called, the less certain one last.
ORDER = (Status.MEASURED, Status.SIMULATED, Status.ESTIMATED, Status.PUBLISHED)


@dataclass(frozen=True)
class Versioned:
    """A report, and the version of the file that it was read from."""

    report: Report
    version: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A build, or a published system."""

    name: str
    cells: tuple[Value | str | None, ...]  #: one for each of :data:`COLUMNS`
    marks: tuple[str, ...] = ()  #: why it is not like for like with the first row
    citation: str = ""
    href: str = ""

    def cell(self, column: str) -> Value | str | None:
        """The cell of a column."""
        return self.cells[COLUMNS.index(column)]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows in the order in which they were asked for, published systems last."""

    rows: tuple[Row, ...]
    columns: tuple[str, ...] = COLUMNS

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON."""
        def of(cell: Value | str | None) -> Any:
            return cell.model_dump(mode="json") if isinstance(cell, Value) else cell

        return {"columns": list(self.columns), "rows": [
            {"name": row.name, "cells": {column: of(cell) for column, cell
                                         in zip(self.columns, row.cells, strict=True)},
             "marks": list(row.marks), "citation": row.citation, "href": row.href}
            for row in self.rows]}


def ratio(over: Value, under: Value, unit: str, source: str, factor: float = 1.0) -> Value:
    """``factor * over / under`` with the range that theirs give; null where one of them is.

    A figure without a range counts as exact.
    """
    def ends(value: Value) -> tuple[float | None, float | None]:
        low = value.value if value.low is None else value.low
        return low, (value.value if value.high is None else value.high)

    def divide(a: float | None, b: float | None) -> float | None:
        return None if a is None or not b else factor * a / b

    status = max(over.status, under.status, key=ORDER.index)
    low, high = divide(ends(over)[0], ends(under)[1]), divide(ends(over)[1], ends(under)[0])
    ranged = (over.low is not None or under.low is not None) and None not in (low, high)
    if divide(over.value, under.value) is None and not ranged:
        known = next((one.source for one in (under, over) if one.value is None), source)
        return Value(value=None, unit=unit, status=status, source=known)
    return Value(value=divide(over.value, under.value), unit=unit, status=status, source=source,
                 low=low if ranged else None, high=high if ranged else None)


def compare(builds: Sequence[Versioned], anchors: Sequence[Anchor] = ()) -> Comparison:
    """Put builds and published systems side by side; marks are in relation to the first build."""
    rows = [_build(build, builds[0]) for build in builds]
    first = builds[0].report.design.model if builds else None
    return Comparison(rows=(*rows, *(_anchor(anchor, first) for anchor in anchors)))


def _exact(value: float, unit: str, source: str) -> Value:
    return Value(value=value, unit=unit, status=Status.MEASURED, source=source)


def _rates(summed: Value, power: Value) -> tuple[Value, Value]:
    """Tokens per second per watt, and joules per token."""
    return (ratio(summed, power, "tok/s/W", "tok/s summed over power"),
            ratio(power, summed, "J", "power over tok/s summed"))


def _build(build: Versioned, first: Versioned) -> Row:
    report, design = build.report, build.report.design
    told = report.throughput
    summed = told.tokens_per_second_summed
    power, rail = _power(report)
    per_watt, energy = _rates(summed, power)
    lut = _exact(report.area.total.lut, "", report.area.source)
    bandwidth = _exact(design.memory_bytes_per_second, "B/s", design.memory)
    return Row(name=report.name, marks=tuple(_marks(build, first, rail)), cells=(
        design.model, f"{design.board}, {design.core_mhz:g} MHz", told.tokens_per_second, summed,
        power, rail, per_watt, energy,
        ratio(summed, lut, "tok/s", "tok/s summed over LUT4 as nextpnr counts", 1e3),
        ratio(summed, bandwidth, "tok/s", "tok/s summed over the peak rate of the image's memory",
              1e9),
        told.bandwidth_share))


def _power(report: Report) -> tuple[Value, str]:
    """Power of the board, or of the core where that of the board is not known; and which."""
    if report.power is None:
        return Value(value=None, unit="W", status=Status.ESTIMATED, source="not estimated"), ""
    for rail in ("board", "core"):
        value: Value = getattr(report.power, rail)
        if value.value is not None or value.low is not None:
            return value, rail
    return report.power.board, ""


def _marks(build: Versioned, first: Versioned, rail: str) -> list[str]:
    report, other = build.report, first.report
    marks = []
    if build.version != first.version:
        marks.append(f"report of version {build.version}, not {first.version}")
    if report.design.model_hash != other.design.model_hash:
        marks.append("another model" if report.design.model != other.design.model
                     else "other weights of the same name")
    if report.design.family != other.design.family:
        marks.append(f"LUT of {report.design.family}, not {other.design.family}")
    if report.tool_versions != other.tool_versions and (
            report.design.family == other.design.family):
        marks.append("other versions of the tools")
    if report.throughput.streams > 1:
        marks.append(f"summed over {report.throughput.streams} streams")
    if rail == "core":
        marks.append("power of the core rail alone")
    if not all(clock.met for clock in report.clocks):
        marks.append("misses a clock")
    if not report.evidence.bit_exact:
        marks.append("not bit-exact")
    return marks


def _anchor(anchor: Anchor, model: str | None) -> Row:
    per_watt, energy = _rates(anchor.tokens_per_second_summed, anchor.power)
    marks = ["published", *(["another model"] if model not in (None, anchor.model) else []),
             *anchor.marks]
    if anchor.power_of == "unknown" and anchor.power.value is not None:
        marks.append("not said what the power is of")
    return Row(name=anchor.name, marks=tuple(marks), citation=f"{anchor.citation} ({anchor.read})",
               href=anchor.url, cells=(
                   anchor.model, anchor.device, anchor.tokens_per_second,
                   anchor.tokens_per_second_summed, anchor.power,
                   "" if anchor.power_of == "unknown" else anchor.power_of, per_watt, energy,
                   None, None, None))
