"""Where the cycles of a token go: one bar for each build, a segment for each cause."""

from collections.abc import Sequence

from markupsafe import Markup

from ternforge_boards.page.svg import PATTERNS, drawing, mark, tag, text
from ternforge_boards.report.schema import Report
from ternforge_boards.report.text import number, percent

__all__ = ["causes", "cycle_bars"]

WIDTH, LEFT, RIGHT, ROW = 1040, 46, 150, 46


def causes(reports: Sequence[Report]) -> list[str]:
    """Every cause, in the order in which the reports name them."""
    return list(dict.fromkeys(c.cause for report in reports for c in report.throughput.causes))


def cycle_bars(reports: Sequence[Report], keys: Sequence[str]) -> Markup:
    """Shares of a token's cycles; the whole of each bar is a token."""
    names, height = causes(reports), ROW * len(reports) + 30
    end = WIDTH - RIGHT
    ticks = [tag("g", tag("line", x1=x, x2=x, y1=4, y2=ROW * len(reports) + 4, class_="grid"),
                 text(x, height - 8, percent(step / 4), anchor="middle", class_="tick"))
             for step in range(5) for x in [LEFT + (end - LEFT) * step / 4]]
    bars = [_bar(report, key, names, n * ROW + 8, end)
            for n, (report, key) in enumerate(zip(reports, keys, strict=True))]
    return drawing(WIDTH, height, "Share of the cycles of a token by cause, a bar for each build",
                   *ticks, *bars, kind="cycles")


def _bar(report: Report, key: str, names: list[str], y: float, end: float) -> Markup:
    total = sum(c.cycles for c in report.throughput.causes)
    x, segments = float(LEFT), []
    for cause in report.throughput.causes:
        width = (end - LEFT) * cause.cycles / total if total else 0
        share, series = cause.cycles / (total or 1), names.index(cause.cause) % PATTERNS
        label = next((line for line in (f"{cause.cause} {percent(share)}", percent(share))
                      if width > 18 + 6.6 * len(line)), None)
        segments.append(mark(
            f"{report.name}: {cause.cause}, {number(cause.cycles)} cycles, {percent(share)}",
            tag("rect", x=x, y=y, width=max(width, 0), height=ROW - 16, class_=f"s{series}"),
            tag("rect", x=x, y=y, width=max(width, 0), height=ROW - 16, fill=f"url(#p{series})"),
            *([] if label is None else _plate(x, y, label))))
        x += width
    return tag("g", text(LEFT - 14, y + 20, key, anchor="end", class_="key"), *segments,
               text(end + 12, y + 20, f"{number(total)} cycles", class_="value"), data_build=key)


def _plate(x: float, y: float, label: str) -> list[Markup]:
    """A label that is readable on every pattern."""
    return [tag("rect", x=x + 5, y=y + 6, width=6.1 * len(label) + 8, height=18, rx=3,
                class_="plate"),
            text(x + 9, y + 19, label, class_="on-plate")]
