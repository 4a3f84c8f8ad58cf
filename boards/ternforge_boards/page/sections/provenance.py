"""Where everything comes from."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from ternforge_boards.page.tables import Cell, Column, Table, shown
from ternforge_boards.report.schema import Report
from ternforge_boards.report.text import figure
from ternforge_boards.report.value import Value

from . import Builds

__all__ = ["provenance_section"]


def provenance_section(builds: Builds) -> list[dict[str, Any]]:
    """For each build: what went in, and a table of every value with its source."""
    columns = [Column("figure"), Column("value", numeric=True), Column("source")]
    return [{"key": key, "name": report.name, "facts": _facts(report), "table": Table(
        f"Every figure of {key} and its source", columns,
        [[Cell(name, key=name), shown(value), Cell(value.source, key=value.source)]
         for name, value in _values(report)], name="sources")} for key, report in builds]


def _values(part: BaseModel, path: str = "") -> Iterator[tuple[str, Value]]:
    """Every figure within, by its path, such as ``power.energy.core_per_token``."""
    for name in type(part).model_fields:
        found, at = getattr(part, name), f"{path}.{name}".lstrip(".")
        if isinstance(found, Value):
            yield at, found
        elif isinstance(found, BaseModel):
            yield from _values(found, at)
        elif isinstance(found, tuple):
            for n, item in enumerate(found):
                if isinstance(item, BaseModel):
                    yield from _values(item, f"{at}.{getattr(item, 'name', n)}")


def _facts(report: Report) -> list[tuple[str, str, bool]]:
    """What it is, what it says, and whether it is code."""
    design, evidence = report.design, report.evidence
    exact = "bit-exact" if evidence.bit_exact else "not bit-exact"
    checked = f"{exact}, {evidence.checked_tokens:,} tokens; " if evidence.checked_tokens else ""
    facts = [
        ("device", f"{design.device} ({design.family})", False),
        ("core's clock", f"{design.core_mhz:g} MHz, from {design.clock_from}", False),
        ("core", ", ".join(f"{name} {value}" for name, value in design.core.items()), True),
        ("image memory", f"{design.memory}, {figure(design.memory_bytes_per_second, 'B/s')} peak",
         False),
        ("ternary weights per token", f"{design.ternary_weights:,}", False),
        ("design hash", design.design_hash, True),
        ("model", design.model, False),
        ("model hash", design.model_hash, True),
        ("tools", ", ".join(f"{name} {version}" for name, version in
                            sorted(report.tool_versions.items())), False),
        ("seeds", _seeds(report), False),
        ("evidence", f"{checked}{evidence.of}", False),
        ("area", report.area.source, False),
        ("bitstream", report.bitstream or "none", True),
    ]
    if (power := report.power) is not None:
        at = f"{power.temperature_c:g} °C, core at {power.core_volts:g} V"
        facts.append(("power", f"{at}; activity: {power.activity}", False))
    return facts


def _seeds(report: Report) -> str:
    reached = [f"{seed.seed}: {seed.fmax_mhz:.1f} MHz{'' if seed.met else ' (missed)'}"
               for seed in report.seeds]
    return f"{', '.join(reached)}; packed: {report.seed}" if reached else "not placed"
