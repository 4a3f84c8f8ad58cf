"""Every figure of a report in one list, for tables and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ternforge.output import write_text

from .schema import Area, Report
from .value import Status, Value

__all__ = ["MEANINGS", "Figure", "figures", "resources", "write_csv"]

#: What the cycles of each cause went to.
MEANINGS = {
    "weights": "beats of weights",
    "constants": "beats of constants",
    "header": "packet headers, and their decoding",
    "memory": "the core waits for a beat",
    "refresh": "the core waits for a beat, and the chip refreshed its rows",
    "rows": "the core waits for a beat, and the chip changed its row",
    "tile": "fill: the codes of the next tile do not stand yet",
    "vector": "barrier: the quantiser needs a whole vector",
    "drain": "barrier: the last rows of a matrix leave the pipeline",
    "between": "before the first packet and after the last",
}

#: Titles of an area's fields.
RESOURCES = {"lut": "LUT4", "ff": "flip-flops", "block_ram": "block RAM", "dsp": "DSP",
             "spram": "single-port RAM"}

#: Published figures beside ours, by family and field of :class:`~.schema.Energy`.
PEERS = {("ice40", "core_per_mac"): "of an int8 product on a UP5K 66 to 69 pJ were measured "
                                    "(SymbioticEDA/MARLANN, power-test/README.md)"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of a table."""

    section: str
    name: str
    value: Value
    note: str = ""  #: what it is measured against


def resources(area: Area, available: Area) -> Iterator[tuple[str, int, int]]:
    """Title, number in use, and number that the device has, of what the device has at all."""
    for field, title in RESOURCES.items():
        if have := getattr(available, field):
            yield title, getattr(area, field), have


def figures(report: Report) -> Iterator[Figure]:
    """All figures, section by section."""
    yield from _area(report)
    for clock in report.clocks:
        yield Figure(
            section="clock", name=f"Fmax of {clock.net}",
            value=Value(value=clock.achieved_mhz, unit="MHz", status=Status.MEASURED,
                        source=f"nextpnr, seed {report.seed}"),
            note=f"constraint {clock.constrained_mhz:.1f} MHz" + ("" if clock.met else ", MISSED"))
    yield from _throughput(report)
    if report.power is not None:
        power = report.power
        for line in power.lines:
            yield Figure(section="power", name=line.name, value=line.power, note=line.rail)
        for rail in ("core", "memory", "board"):
            yield Figure(section="power", name=f"{rail}, all", value=getattr(power, rail),
                         note=f"{power.temperature_c:g} °C" + (
                             f", {power.core_volts:g} V" if rail == "core" else ""))
        for name, value in power.energy:
            yield Figure(section="energy", name=name.replace("_", " "), value=value,
                         note=PEERS.get((report.design.family, name), ""))
    yield Figure(
        section="evidence", name="tokens checked",
        value=Value(value=report.evidence.checked_tokens, unit="tokens", status=Status.SIMULATED,
                    source="Verilator, against the integer model"),
        note="bit-exact" if report.evidence.bit_exact else "NOT bit-exact")


def _area(report: Report) -> Iterator[Figure]:
    area = report.area
    for title, used, have in resources(area.total, area.available):
        yield Figure(section="area", name=title, note=f"{used / have:.0%} of the device",
                     value=Value(value=used, unit="", status=Status.MEASURED, source="nextpnr"))
    for unit in area.units:
        for (title, used, _), field in zip(resources(unit.area, area.available),
                                           _present(area.available), strict=True):
            whole = getattr(area.total, field)
            if used:
                yield Figure(
                    section="area by unit", name=f"{unit.name}: {title}",
                    value=Value(value=used, unit="", status=Status.MEASURED, source=area.source),
                    note=f"{used / whole:.0%} of the design" if whole else "")


def _present(available: Area) -> list[str]:
    return [field for field in RESOURCES if getattr(available, field)]


def _throughput(report: Report) -> Iterator[Figure]:
    told = report.throughput
    cycles = told.cycles_per_token
    yield Figure(section="cycles", name="cycles per token", value=cycles,
                 note="of each stream" if told.streams > 1 else "")
    yield Figure(section="cycles", name="ideal cycles", value=told.ideal_cycles_per_token,
                 note="if the image's memory were never idle")
    for cause in told.causes:
        share = cause.cycles / cycles.value if cycles.value else 0.0
        yield Figure(section="cycles by cause", name=cause.cause,
                     value=Value(value=cause.cycles, unit="cycles", status=Status.SIMULATED,
                                 source=cycles.source),
                     note=f"{share:.1%}; {MEANINGS.get(cause.cause, '')}".rstrip("; "))
    yield Figure(section="throughput", name="tokens/s", value=told.tokens_per_second,
                 note=f"at {report.design.core_mhz:g} MHz, one stream")
    if told.streams > 1:
        yield Figure(section="throughput", name="tokens/s, all streams",
                     value=told.tokens_per_second_summed, note=f"{told.streams} streams")
    yield Figure(section="throughput", name="share of the bandwidth",
                 value=told.bandwidth_share,
                 note=f"of {report.design.memory_bytes_per_second / 1e9:.3g} GB/s, "
                      f"{report.design.memory}")


def write_csv(path: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows with the same keys as CSV, with the keys as its first line."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
