"""The critical path of a clock as it runs through the units."""

from itertools import groupby

from markupsafe import Markup

from ternforge_boards.page.scale import Scale, linear
from ternforge_boards.page.svg import drawing, mark, tag, text
from ternforge_boards.report.schema import ClockReport, PathStep
from ternforge_boards.report.text import number

__all__ = ["KINDS", "path_bars"]

#: Kinds of delay, each with the pattern that it has; others are drawn as the last.
KINDS = {"clk-to-q": 2, "logic": 0, "routing": 1, "setup": 3}

WIDTH, LEFT, RIGHT, ROW = 1040, 190, 90, 30


def path_bars(clock: ClockReport, *, name: str) -> Markup:
    """A row for each unit that the path enters, on one axis of time."""
    stays = [(unit, list(steps)) for unit, steps in groupby(clock.path, lambda step: step.unit)]
    total, period = sum(s.delay_ns for s in clock.path), 1000 / clock.constrained_mhz
    scale = linear((total, period), LEFT, WIDTH - RIGHT, most=8)
    bottom = ROW * len(stays) + 8
    axis = [tag("g", tag("line", x1=scale(t), x2=scale(t), y1=4, y2=bottom, class_="grid"),
                text(scale(t), bottom + 18, f"{number(t)} ns", anchor="middle", class_="tick"))
            for t in scale.ticks]
    bars, labels, start = [], [], 0.0
    for n, (unit, steps) in enumerate(stays):
        end = start + sum(step.delay_ns for step in steps)
        bars += _bar(steps, start, n * ROW + 8, scale)
        labels.append(_labels(unit, end - start, scale(end), n * ROW + 23))
        start = end
    limit = tag("g", tag("line", x1=scale(period), x2=scale(period), y1=4, y2=bottom + 24,
                         class_="limit"),
                text(scale(period), bottom + 38, f"period {number(period)} ns", anchor="middle",
                     class_="limit-label"))
    return drawing(WIDTH, bottom + 46, f"Critical path of {clock.net} in {name}: {number(total)} ns"
                   f" through {', '.join(unit for unit, _ in stays)}", *axis, *bars, limit, *labels,
                   kind="path")


def _bar(steps: list[PathStep], start: float, y: float, scale: Scale) -> list[Markup]:
    """A segment for each hop."""
    segments, at = [], start
    for step in steps:
        x, width = scale(at), scale(at + step.delay_ns) - scale(at)
        pattern = KINDS.get(step.kind, len(KINDS))
        segments.append(mark(
            f"{step.kind} {number(step.delay_ns)} ns, {step.cell}",
            tag("rect", x=x, y=y, width=width, height=ROW - 10, class_=f"s{pattern}"),
            tag("rect", x=x, y=y, width=width, height=ROW - 10, fill=f"url(#p{pattern})")))
        at += step.delay_ns
    return segments


def _labels(unit: str, delay: float, x: float, y: float) -> Markup:
    name = unit if len(unit) <= 26 else f"{unit[:12]}\N{HORIZONTAL ELLIPSIS}{unit[-12:]}"
    return tag("g", text(LEFT - 12, y, name, anchor="end", class_="unit"),
               text(x + 8, y, f"{number(delay)} ns", class_="value"))
