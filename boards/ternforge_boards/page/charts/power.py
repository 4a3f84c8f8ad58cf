"""Power by contribution: a point for the best figure, a line for its range."""

from markupsafe import Markup

from ternforge_boards.page.scale import Scale, linear, logarithmic
from ternforge_boards.page.svg import drawing, mark, tag, text
from ternforge_boards.report.schema import Power
from ternforge_boards.report.text import figure, span
from ternforge_boards.report.value import Value

__all__ = ["power_ranges"]

WIDTH, LEFT, RIGHT, ROW = 1040, 250, 170, 26


def power_ranges(power: Power, *, name: str) -> Markup:
    """Contributions under the rail that they belong to, rails in bold."""
    rows: list[tuple[str, Value, bool]] = []
    for rail in ("core", "memory", "board"):
        rows.append((f"{rail}, in all", getattr(power, rail), True))
        rows += [(line.name, line.power, False) for line in power.lines if line.rail == rail]
    known = [n for _, v, _ in rows for n in (v.value, v.low, v.high) if n]
    wide = bool(known) and max(known) > 50 * min(known)
    scale = (logarithmic if wide else linear)(known, LEFT, WIDTH - RIGHT)
    bottom = ROW * len(rows) + 6
    axis = [tag("g", tag("line", x1=scale(t), x2=scale(t), y1=4, y2=bottom, class_="grid"),
                text(scale(t), bottom + 18, figure(t, "W"), anchor="middle", class_="tick"))
            for t in (scale.ticks if known else ())]
    drawn = [_row(*row, y=n * ROW + ROW / 2 + 4, scale=scale) for n, row in enumerate(rows)]
    return drawing(WIDTH, bottom + 28, f"Power of {name} by contribution, with ranges", *axis,
                   *drawn, kind="power")


def _row(title: str, value: Value, total: bool, *, y: float, scale: Scale) -> Markup:
    strong = "strong" if total else ""
    label = text(LEFT - 12, y + 4, title if len(title) <= 34 else
                 f"{title[:33]}\N{HORIZONTAL ELLIPSIS}", anchor="end", class_=f"unit {strong}")
    if value.value is None and value.low is None:
        return tag("g", label, text(LEFT + 8, y + 4, f"not given: {_short(value.source)}",
                                    class_="refused"), class_="refusal")
    parts = []
    if value.low is not None and value.high is not None:
        x1, x2 = scale(value.low), scale(value.high)
        parts.append(tag("path", d=f"M{x1:.1f} {y - 5}v10M{x1:.1f} {y}H{x2:.1f}M{x2:.1f} {y - 5}"
                         "v10", class_=f"whisker {strong}"))
    if value.value is not None:
        parts.append(tag("circle", cx=scale(value.value), cy=y, r=5 if total else 4,
                         class_=f"dot {strong}"))
    best = "" if value.value is None else figure(value.value, value.unit)
    return tag("g", label, mark(
        f"{title}: {best} {span(value)}, {value.status.value}; {value.source}", *parts),
        text(WIDTH - RIGHT + 16, y + 4, best or span(value), class_=f"value {strong}"))


def _short(reason: str) -> str:
    return reason if len(reason) <= 90 else f"{reason[:89]}\N{HORIZONTAL ELLIPSIS}"
