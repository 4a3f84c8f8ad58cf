"""Elements of a drawing, with whatever is put into them escaped."""

import re

from markupsafe import Markup

__all__ = ["PATTERNS", "drawing", "mark", "shape", "tag", "text"]

#: Series have as many colours and patterns; what comes after begins again.
PATTERNS = 10

SHAPES = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z", "M-4.5 -4.5h9v9h-9Z", "M0 -5.5L5.5 4.5H-5.5Z",
          "M0 -6L6 0L0 6L-6 0Z")


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element. Underscores in names of attributes are hyphens; None leaves one out."""
    pairs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items() if value is not None)
    return Markup("<{0}{1}>{2}</{0}>").format(name, pairs, Markup("").join(children))


def _attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: str, *, anchor: str = "start", **attributes) -> Markup:
    """A line of text; ``anchor`` is start, middle or end."""
    return tag("text", content, x=x, y=y,
               text_anchor=None if anchor == "start" else anchor, **attributes)


def mark(tip: str, *children: Markup, **attributes) -> Markup:
    """What stands for one datum. ``tip`` is shown beside the pointer."""
    return tag("g", *children, class_="mark", data_tip=tip, **attributes)


def shape(series: int, x: float, y: float, **attributes: str) -> Markup:
    """A circle, square, triangle or diamond around a place, by series."""
    return tag("path", d=SHAPES[series % len(SHAPES)], transform=f"translate({x:.1f} {y:.1f})",
               **attributes)


def drawing(width: float, height: float, label: str, *children: Markup, kind: str) -> Markup:
    """A whole drawing, with ``label`` for those who cannot see it."""
    return tag("svg", *children, viewBox=f"0 0 {_attribute(width)} {_attribute(height)}",
               width=width, height=height, role="img", aria_label=label,
               class_=re.sub(r"[^a-z -]", "", f"chart {kind}"))
