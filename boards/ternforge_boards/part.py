"""A vendor's part with a memory behind AXI4: a record of facts, found by name."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import ternforge_boards.parts
from ternforge.errors import unknown
from ternforge.mem.axi4 import Axi4Config
from ternforge_boards.records import records

__all__ = ["Part", "part", "parts"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One card or board of a vendor's, for ``ternforge verilog --target axi4``."""

    name: str  #: what ``--board`` takes
    title: str  #: for people
    vendor: Literal["amd", "altera"]
    part: str  #: as the vendor's tool takes it
    family: str  #: likewise
    core: str  #: preset of the core
    clock_mhz: float  #: constraint of the core's clock; no vendor's tool has confirmed it
    axi: Axi4Config
    memory: str  #: what serves the AXI4 port
    area: str  #: which of :data:`~ternforge_boards.area.AREA_FAMILIES` comes nearest
    url: str  #: the maker's page
    sources: tuple[str, ...]  #: documents that the facts above are from


@cache
def parts() -> dict[str, Part]:
    """All parts by name: every module in ``ternforge_boards.parts`` defines one ``PART``."""
    return records(ternforge_boards.parts, "PART")


def part(name: str) -> Part:
    """The part called ``name``; else an error that offers the nearest names."""
    if name not in parts():
        raise unknown("AXI4 board", name, parts())
    return parts()[name]
