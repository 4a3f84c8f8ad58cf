"""Tables of the page: cells that show one thing and sort by another."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ternforge_boards.report.text import MISSING, figure, number, percent, span
from ternforge_boards.report.value import Status, Value

__all__ = ["Cell", "Column", "Note", "Table", "count", "missing", "share", "shown"]


@dataclass(frozen=True)
class Column:
    """A column; numeric ones are aligned at the right, and sort by number."""

    title: str
    numeric: bool = False
    about: str = ""  #: what it is, where the title does not say


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what it sorts by."""

    text: str
    key: float | str | None = None  #: what it sorts by; None comes last
    detail: str = ""  #: smaller, below the text, in one line
    reason: str = ""  #: smaller, below the text; wraps
    bad: bool = False  #: whether the detail is a complaint
    status: Status | None = None
    marks: tuple[int, ...] = ()  #: numbers of footnotes


@dataclass(frozen=True)
class Note:
    """A footnote."""

    heading: str
    text: str
    source: str = ""  #: a citation
    href: str = ""  #: where it leads, if anywhere


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[Note] = field(default=())  #: footnotes, from 1
    name: str = ""  #: a class, to find it by

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {self.caption!r} must have {len(self.columns)} cells, "
                                 f"not {len(row)}")


def missing(reason: str = "") -> Cell:
    """Nothing is known, for a reason."""
    return Cell(MISSING, reason=reason)


def count(value: float, unit: str = "") -> Cell:
    """A number without a source of its own."""
    return Cell(f"{number(value)} {unit}".strip(), key=value)


def share(value: float) -> Cell:
    """A share, of 0 to 1."""
    return Cell(percent(value), key=value)


def shown(value: Value | str | None, *, unit: bool = True, marks: Sequence[int] = ()) -> Cell:
    """A figure with its range and how it was come by. Without one: its range, or the reason.

    ``unit=False`` is for columns whose title has the unit.
    """
    if value is None:
        return Cell(MISSING, marks=tuple(marks))
    if isinstance(value, str):
        return Cell(value, key=value.casefold(), marks=tuple(marks))
    if value.value is None:
        return Cell(span(value) or "not given", key=value.high, reason=value.source,
                    status=value.status if value.low is not None else None, marks=tuple(marks))
    rough = value.low is not None
    text = (figure(value.value, value.unit, rough=rough) if unit else
            number(value.value, rough=rough))
    return Cell(text, key=value.value, detail=span(value, unit=unit), status=value.status,
                marks=tuple(marks))
