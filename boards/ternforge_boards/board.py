"""What a board is: a record of facts, found by name."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import ternforge_boards.boards
from ternforge.errors import unknown
from ternforge.mem.litedram import DramConfig
from ternforge_boards.records import records

__all__ = ["Board", "ExternalMemory", "Pin", "Resources", "board", "boards", "vector"]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One port of the top-level module and the ball of the package that it goes to."""

    port: str  #: name in the Verilog; one bit of a vector is ``led[0]``
    site: str  #: ball or pin number of the package; empty if it does not leave the package
    io: str = ""  #: electrical standard, as the tools call it; the tool's default if empty
    pull: Literal["", "up", "down"] = ""  #: resistor inside the FPGA
    drive_ma: int = 0  #: drive strength; the tool's default if zero
    options: tuple[str, ...] = ()  #: more, as the tool writes it: ``SLEWRATE=FAST``
    inverted: bool = False  #: the board's signal is active low


def vector(port: str, sites: str, **common: Any) -> tuple[Pin, ...]:
    """Pins of a port of several bits, bit 0 first in ``sites``; ``common`` is that of each.

    >>> [pin.port for pin in vector("ba", "P19 N20", io="LVCMOS33")]
    ['ba[0]', 'ba[1]']
    """
    return tuple(Pin(port=f"{port}[{index}]", site=site, **common)
                 for index, site in enumerate(sites.split()))


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the device has, as nextpnr counts it."""

    lut: int  #: four-input lookup tables (iCE40: logic cells, each with a flip-flop)
    ff: int  #: flip-flops
    block_ram: int  #: block RAMs
    block_ram_bits: int  #: bits in one block RAM
    dsp: int  #: multiplier blocks
    spram: int = 0  #: single-port RAMs
    spram_bits: int = 0  #: bits in one single-port RAM

    @property
    def memory_bytes(self) -> int:
        """Bytes in all memories of the device together."""
        return (self.block_ram * self.block_ram_bits + self.spram * self.spram_bits) // 8


@dataclass(frozen=True, kw_only=True)
class ExternalMemory:
    """The memory beside the FPGA that holds the image."""

    dram: DramConfig  #: chip, and how its controller is clocked
    size_bytes: int
    prefix: str  #: of its ports at the board, before the controller's own names
    renamed: tuple[tuple[str, str], ...] = ()  #: those called otherwise: controller's, board's
    absent: tuple[str, ...] = ()  #: controller's ports whose pins the board itself ties
    tied: tuple[tuple[str, int], ...] = ()  #: more ports at the board, and the bit that they get

    def port(self, name: str) -> str:
        """The board's port for one of the controller's."""
        return dict(self.renamed).get(name, f"{self.prefix}{name}")


@dataclass(frozen=True, kw_only=True)
class Board:
    """One board."""

    name: str  #: what ``--board`` takes
    title: str  #: for people
    family: Literal["ice40", "ecp5", "gowin"]
    device: str  #: as nextpnr's option names it: ``up5k``, ``85k``, ``GW2A-LV18PG256C8/I7``
    package: str  #: as nextpnr's ``--package`` takes it; empty where the device says it
    speed: str = ""  #: speed grade, where nextpnr wants one
    part: str  #: the manufacturer's part number
    clock_port: str = "clk"  #: port that the oscillator drives; among ``pins``
    oscillator_mhz: float
    core_mhz: float  #: clock of the core unless asked otherwise, made by the PLL
    pins: tuple[Pin, ...]
    high: tuple[str, ...] = ()  #: ports that are always 1
    resources: Resources
    flash_offset: int | None = None  #: where in its SPI flash it boots its image from, if it does
    flash_bytes: int = 0  #: size of that flash
    memory: ExternalMemory | None = None  #: where the image is, if not in the FPGA
    url: str  #: the maker's page
    verified: str  #: what was tried on it, and how
    synth_options: tuple[str, ...] = ()  #: for Yosys, on top of the family's
    route_options: tuple[str, ...] = ()  #: for nextpnr
    trim_carries: bool = True  #: ECP5: cut the ends of carry chains, see :mod:`.carries`
    core: Any = None  #: preset of the core's parameters
    loader: str = ""  #: what openFPGALoader calls it; empty if it does not know the board
    cable: str = ""  #: and then its JTAG adapter, if it has one

    @property
    def identifier(self) -> str:
        """Its name as Verilog and file names have it."""
        return self.name.replace("-", "_")

    def pin(self, port: str) -> Pin:
        """The pin of a port; raises :class:`~ternforge.errors.UserError` if there is none."""
        for pin in self.pins:
            if pin.port == port:
                return pin
        raise unknown(f"port of board {self.name}", port, [pin.port for pin in self.pins])


@cache
def boards() -> dict[str, Board]:
    """All boards by name: every module in ``ternforge_boards.boards`` defines one ``BOARD``."""
    return records(ternforge_boards.boards, "BOARD")


def board(name: str) -> Board:
    """The board called ``name``; else an error that offers the nearest names."""
    if name not in boards():
        raise unknown("board", name, boards())
    return boards()[name]
