"""What a page may show of a sweep."""

from dataclasses import dataclass

from ternforge_boards.report.value import Value

__all__ = ["SweepPoint"]


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
