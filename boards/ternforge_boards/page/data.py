"""What a page may show beside reports: a comparison, and the points of a sweep."""

from dataclasses import dataclass

from ternforge_boards.report.value import Value

__all__ = ["Compared", "ComparedRow", "SweepPoint"]


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A build, or a published system."""

    name: str
    cells: tuple[Value | str | None, ...]  #: one for each column of the comparison
    marks: tuple[str, ...] = ()  #: why it is not like for like with the others
    citation: str = ""  #: of a published system
    href: str = ""  #: where the citation leads, if anywhere


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Builds and published systems beside each other."""

    columns: tuple[str, ...]
    rows: tuple[ComparedRow, ...]


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """One point of a sweep, or why there is none."""

    name: str
    group: str  #: what may be compared with each other, such as board and model
    speed: Value | None = None  #: tok/s, summed over streams
    lut: float | None = None
    power: Value | None = None  #: of the core of the FPGA
    met: bool | None = None  #: whether every clock is met; None if none was placed
    area_front: bool = False  #: no other is faster and smaller
    power_front: bool = False  #: no other is faster with less power
    reason: str = ""  #: why it failed
