"""Area by unit: the size of a rectangle is the unit's share of a resource."""

import squarify
from markupsafe import Markup

from ternforge_boards.page.svg import drawing, mark, tag, text
from ternforge_boards.report.schema import AreaReport
from ternforge_boards.report.text import percent

__all__ = ["RESOURCES", "treemap"]

#: Fields of an area, and what they are called.
RESOURCES = {"lut": "LUT", "ff": "flip-flops", "block_ram": "block RAM", "dsp": "DSP",
             "spram": "single-port RAM"}

WIDTH, HEIGHT = 500, 300
LETTER, LINE = 6.6, 15  #: of the labels, in the units of the drawing


def treemap(area: AreaReport, resource: str, *, name: str) -> Markup | None:
    """The units that use ``resource``, largest first; None if none does."""
    parts = sorted(((getattr(unit.area, resource), unit.name) for unit in area.units
                    if getattr(unit.area, resource)), key=lambda part: (-part[0], part[1]))
    if not parts:
        return None
    total = sum(size for size, _ in parts)
    places = squarify.squarify(squarify.normalize_sizes([size for size, _ in parts],
                                                        WIDTH, HEIGHT), 0, 0, WIDTH, HEIGHT)
    title = RESOURCES[resource]
    return drawing(
        WIDTH, HEIGHT, f"{title} of {name} by unit; the largest is {parts[0][1]} with "
        f"{percent(parts[0][0] / total)}",
        *(_unit(unit, size, total, title, place)
          for (size, unit), place in zip(parts, places, strict=True)), kind=f"treemap {resource}")


def _unit(unit: str, size: int, total: int, title: str, place: dict[str, float]) -> Markup:
    x, y, width, height = (place[key] for key in ("x", "y", "dx", "dy"))
    share = size / total
    shade = min(4, int(share * 12))
    name = next((name for name in (unit, unit.rpartition(".")[2])
                 if width > 14 + LETTER * len(name)), None)
    label = [] if name is None else [name, f"{size:,} ({percent(share)})", percent(share)]
    fits = [line for n, line in enumerate(label[:1] + [
        line for line in label[1:] if width > 14 + LETTER * len(line)][:1])
        if height > 8 + LINE * (n + 1)]
    return mark(
        f"{unit}: {size:,} {title}, {percent(share)}",
        tag("rect", x=x + 1, y=y + 1, width=max(width - 2, 0.5), height=max(height - 2, 0.5),
            rx=2, class_=f"shade{shade}"),
        *(text(x + 8, y + 18 + LINE * n, line, class_=("strong", None)[n])
          for n, line in enumerate(fits)))
