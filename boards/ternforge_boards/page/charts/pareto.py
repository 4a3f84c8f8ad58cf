"""Points of a sweep: speed against a cost, with the line of those that no other beats."""

from collections.abc import Sequence

from markupsafe import Markup

from ternforge_boards.page.data import SweepPoint
from ternforge_boards.page.scale import logarithmic
from ternforge_boards.page.svg import drawing, mark, shape, tag, text
from ternforge_boards.report.text import figure, number

__all__ = ["COSTS", "cost", "on_front", "pareto"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 500, 360, 84, 30, 16, 56

#: What speed is set against, with the unit.
COSTS = {"lut": ("area", "LUT"), "power": ("power of the core", "W")}


def cost(point: SweepPoint, kind: str) -> float | None:
    """What a point costs; None where it is not known."""
    if kind == "lut":
        return point.lut
    return None if point.power is None else point.power.value


def pareto(points: Sequence[SweepPoint], kind: str) -> Markup | None:
    """A marker for each point that has both figures, in the shape of its group.

    Hollow ones miss a clock. Points on the front have their number in the table.
    """
    title, unit = COSTS[kind]
    known = [(price, rate, n, point) for n, point in enumerate(points, 1)
             if (price := cost(point, kind)) and point.speed and (rate := point.speed.value)]
    if not known:
        return None
    groups = list(dict.fromkeys(point.group for point in points))
    x = logarithmic((k[0] for k in known), LEFT, WIDTH - RIGHT)
    y = logarithmic((k[1] for k in known), HEIGHT - BOTTOM, TOP)
    grid = [tag("g", tag("line", x1=x(t), x2=x(t), y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"),
                text(x(t), HEIGHT - BOTTOM + 18, figure(t, unit) if unit == "W" else number(t),
                     anchor="middle", class_="tick"))
            for t in x.ticks]
    grid += [tag("g", tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(t), y2=y(t), class_="grid"),
                 text(LEFT - 8, y(t) + 4, number(t), anchor="end", class_="tick")) for t in y.ticks]
    lines, marks = [], []
    for group in groups:
        front = sorted((x(price), y(rate)) for price, rate, _, point in known
                       if point.group == group and on_front(point, kind))
        if len(front) > 1:
            steps = "".join(f"H{px:.1f}V{py:.1f}" for px, py in front[1:])
            lines.append(tag("path", d=f"M{front[0][0]:.1f} {front[0][1]:.1f}{steps}",
                             class_=f"front line{groups.index(group) % 8}"))
    for price, rate, n, point in known:
        marks.append(_point(point, n, x(price), y(rate), groups.index(point.group),
                            on_front(point, kind),
                            f"{n}. {point.name}: {number(rate)} tok/s, {figure(price, unit)}"))
    titles = [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, f"{title}, {unit}", anchor="middle",
                   class_="axis"),
              text(12, TOP + (HEIGHT - BOTTOM) / 2, "tok/s", anchor="middle", class_="axis",
                   transform=f"rotate(-90 12 {TOP + (HEIGHT - BOTTOM) / 2:.0f})")]
    return drawing(WIDTH, HEIGHT, f"Tokens per second against {title} of {len(known)} points",
                   *grid, *titles, *lines, *marks, kind=f"pareto {kind}")


def on_front(point: SweepPoint, kind: str) -> bool:
    """Whether no other point of its group beats it."""
    return point.area_front if kind == "lut" else point.power_front


def _point(point: SweepPoint, number_: int, x: float, y: float, series: int, front: bool,
           tip: str) -> Markup:
    hollow = " hollow" if point.met is False else ""
    label = [text(x + 8, y - 6, str(number_), class_="note")] if front else []
    return mark(tip + (", misses a clock" if hollow else ""),
                shape(series, x, y, class_=f"point c{series % 8}{hollow}"), *label)
