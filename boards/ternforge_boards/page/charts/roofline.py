"""Multiply-accumulates per second against those per byte read, under what bounds them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ternforge_boards.page.scale import Scale, logarithmic
from ternforge_boards.page.svg import drawing, mark, shape, tag, text
from ternforge_boards.report.schema import Report
from ternforge_boards.report.text import figure, number, percent

__all__ = ["Roof", "roof", "roofline"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1040, 360, 100, 40, 16, 58

#: Ternary weights in a byte of the image, see docs/architecture.md.
WEIGHTS_PER_BYTE = 5


@dataclass(frozen=True, kw_only=True)
class Roof:
    """Where a build is, and what bounds it. Rates are per second, and over all streams."""

    key: str
    name: str
    bytes_per_token: float  #: read by a step, in which each stream takes a token
    intensity: float  #: MAC per byte read
    macs: float  #: MAC/s reached
    bandwidth: float  #: peak of the image's memory, B/s
    compute: float | None  #: MAC/s of the lanes; None if the report does not say

    @property
    def limit(self) -> float:
        """The lower of the two bounds at this intensity, in MAC/s."""
        return min(self.bandwidth * self.intensity, self.compute or float("inf"))

    @property
    def bound(self) -> str:
        """Which of the two it is."""
        return ("memory" if self.compute is None or self.bandwidth * self.intensity <= self.compute
                else "lanes")


def roof(report: Report, key: str) -> Roof | None:
    """The figures of one build; None if it does not give its speed or the ideal cycles.

    A step reads what the memory gives at its peak in ``ideal_cycles_per_token``. The lanes do
    five MAC per byte of a beat and stream in each cycle.
    """
    design, speed = report.design, report.throughput
    ideal, rate = speed.ideal_cycles_per_token.value, speed.tokens_per_second_summed.value
    if not ideal or not rate or not design.ternary_weights:
        return None
    size = ideal * design.memory_bytes_per_second / (design.core_mhz * 1e6)
    lanes = design.core.get("lanes")
    return Roof(
        key=key, name=report.name, bytes_per_token=size, macs=rate * design.ternary_weights,
        intensity=design.ternary_weights * speed.streams / size,
        bandwidth=design.memory_bytes_per_second,
        compute=(WEIGHTS_PER_BYTE * lanes * speed.streams * design.core_mhz * 1e6
                 if isinstance(lanes, int) and lanes > 0 else None))


def roofline(roofs: Sequence[Roof]) -> Markup:
    """A roof and a point for each build, on logarithmic axes."""
    places = [r.intensity for r in roofs]
    x = logarithmic((min(places) / 3, max(places) * 3), LEFT, WIDTH - RIGHT)
    rates = [n for r in roofs for n in (r.macs, r.limit, r.compute or r.limit)]
    y = logarithmic((min(rates) / 2, max(rates) * 1.3), HEIGHT - BOTTOM, TOP)
    grid = [tag("g", tag("line", x1=x(t), x2=x(t), y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"),
                text(x(t), HEIGHT - BOTTOM + 18, number(t), anchor="middle", class_="tick"))
            for t in x.ticks]
    grid += [tag("g", tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(t), y2=y(t), class_="grid"),
                 text(LEFT - 10, y(t) + 4, figure(t, "MAC/s"), anchor="end", class_="tick"))
             for t in y.ticks]
    titles = [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "ternary MAC per byte read",
                   anchor="middle", class_="axis")]
    return drawing(
        WIDTH, HEIGHT, "Roofline: ternary MAC per second against MAC per byte read; "
        + "; ".join(f"{r.key} reaches {percent(r.macs / r.limit)} of its {r.bound} bound"
                    for r in roofs),
        *grid, *titles, *(_roof(r, n, x, y) for n, r in enumerate(roofs)),
        *_points(roofs, x, y), kind="roofline")


def _roof(r: Roof, series: int, x: Scale, y: Scale) -> Markup:
    """Two lines that meet; cut at the borders of the drawing."""
    start = max(x.low, y.low / r.bandwidth)
    top = y.high if r.compute is None else r.compute
    ridge = min(max(top / r.bandwidth, start), x.high)
    path = f"M{x(start):.1f} {y(r.bandwidth * start):.1f}"
    path += f"L{x(ridge):.1f} {y(r.bandwidth * ridge):.1f}"
    if r.compute is not None:
        path += f"L{x(x.high):.1f} {y(r.compute):.1f}"
    bound = "" if r.compute is None else f", lanes {figure(r.compute, 'MAC/s')}"
    return tag("g", mark(f"{r.name}: memory {figure(r.bandwidth, 'B/s')}{bound}",
                         tag("path", d=path, class_=f"roof line{series % 8}"),
                         tag("path", d=path, class_="hover")), data_build=r.key)


def _points(roofs: Sequence[Roof], x: Scale, y: Scale) -> list[Markup]:
    """Markers, with labels beside them that keep clear of each other."""
    drawn, last = [], float("-inf")
    for n, r in sorted(enumerate(roofs), key=lambda pair: y(pair[1].macs)):
        cx, cy, share = x(r.intensity), y(r.macs), percent(r.macs / r.limit)
        last = max(cy, last + 17)
        drawn.append(tag("g", mark(
            f"{r.name}: {figure(r.macs, 'MAC/s')} at {number(r.intensity)} MAC/B, {share} of its "
            f"{r.bound} bound",
            tag("line", x1=cx, x2=cx, y1=cy, y2=y(r.limit), class_="gap"),
            shape(n, cx, cy, class_=f"point c{n % 8}")),
            text(cx + 14, last + 4, f"{r.key}: {share} of its bound", class_="value"),
            data_build=r.key))
    return drawn
