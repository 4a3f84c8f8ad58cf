"""SDRAM and DDR3 controllers from LiteDRAM: what one is asked for, its Verilog, its numbers."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..cache import cached, content_key
from ..errors import UserError
from ..output import to_json, write_text
from ..verilog import Port

__all__ = ["DramConfig", "InitStep", "LiteDram", "generate_litedram"]

#: Where the bits of a command stand in ``init_command`` and in :attr:`InitStep.command`.
RAS, CAS, WE = 1, 2, 4

PACKAGES = ("litedram", "litex", "migen")


@dataclass(frozen=True, kw_only=True)
class DramConfig:
    """A memory chip and how its controller is clocked.

    Each command to an SDR chip moves two words at half rate, one at full rate; one to a DDR3 chip
    moves eight, in two cycles of the controller.

    Raises
    ------
    TypeError, ValueError
        If a field is out of its range.
    """

    kind: str  #: ``sdr`` or ``ddr3``
    chip: str  #: class of ``litedram.modules``, such as ``MT48LC16M16`` or ``MT41K64M16``
    clock_hz: int  #: of the controller, which is that of the core
    ratio: int = 2  #: clocks of the chip in one of the controller: 1 or 2 with SDR, 2 with DDR3
    data_bits: int = 16  #: data pins; whole bytes
    #: of the FPGA, whose I/O cells the PHY takes: ``ecp5``; or ``generic``, SDR alone, to simulate
    family: str = "ecp5"

    def __post_init__(self):
        if self.kind not in ("sdr", "ddr3"):
            raise ValueError(f"DramConfig.kind must be 'sdr' or 'ddr3', not {self.kind!r}")
        families = ("ecp5", "generic") if self.kind == "sdr" else ("ecp5",)
        if self.family not in families:
            raise ValueError(f"DramConfig.family must be {' or '.join(map(repr, families))}, not "
                             f"{self.family!r}")
        for name in ("clock_hz", "data_bits"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise TypeError(f"DramConfig.{name} must be a positive integer, not {value!r}")
        if self.data_bits % 8:
            raise ValueError(f"DramConfig.data_bits must be whole bytes, not {self.data_bits}")
        if self.ratio not in ((1, 2) if self.kind == "sdr" else (2,)):
            rule = "1 or 2 with SDR" if self.kind == "sdr" else "2 with DDR3"
            raise ValueError(f"DramConfig.ratio must be {rule}, not {self.ratio}")

    @property
    def groups(self) -> int:
        """Byte groups: bytes that the data pins carry at a time."""
        return self.data_bits // 8

    @property
    def word_bits(self) -> int:
        """Width of the controller's ports: what one command moves."""
        return self.data_bits * (self.ratio if self.kind == "sdr" else 8)

    @property
    def cycles_per_word(self) -> int:
        """Controller cycles in which the chip moves a word."""
        return 1 if self.kind == "sdr" else 2

    @property
    def bytes_per_cycle(self) -> float:
        """Peak of the chip, in bytes per controller cycle."""
        return self.word_bits / 8 / self.cycles_per_word


@dataclass(frozen=True)
class InitStep:
    """One step of a chip's initialisation."""

    comment: str
    command: int  #: bits RAS, CAS, WE; 0 changes only what follows
    address: int
    bank: int
    reset_n: int
    cke: int
    wait: int  #: controller cycles to the next step


@dataclass(frozen=True, kw_only=True)
class LiteDram:
    """A generated controller.

    Ports by group; see ``docs/memory.md`` for their timing:

    ``clk``, ``rst``
        Of the controller and of all that talks to it. Inputs; of a DDR3 PHY outputs, divided from
        ``clk_2x`` behind what stops that clock while the PHY's delays are set up.
    ``clk_2x``, ``clk_init``, ``locked``
        Inputs of the PHY: the chip's clock (with SDR at ratio 2 and DDR3), a slow clock for its
        setting up (DDR3), and that both run (DDR3).
    ``init_*``
        While ``init_select`` is high, ``init_command`` (RAS, CAS, WE, active high) with
        ``init_address`` and ``init_bank`` goes to the chip in each cycle, and the controller's
        own commands go nowhere.
    ``level_*``
        Read delays of the DDR3 PHY.
    ``port0_*``, ``port1_*``
        Native ports of LiteDRAM.
    others
        Pins of the chip, or ``dfi_*`` without a PHY.
    """

    config: DramConfig
    phy: bool  #: whether the PHY is part of it; else it ends in the DFI
    text: str  #: Verilog, top module ``litedram``
    ports: tuple[Port, ...]  #: direction ``inout`` for data pins
    address_bits: int  #: of words
    segment_words: int  #: neighbouring words of one row, a power of two; then comes the next bank
    bank_bits: int
    row_bits: int
    column_bits: int
    read_latency: int  #: controller cycles from DFI's read enable to its data
    write_latency: int  #: and from its write enable to its data
    cas_latency: int  #: clocks of the chip
    cas_write_latency: int
    refresh_postponing: int  #: refreshes that the controller does in a row
    #: of the chip, in its clocks at this rate; 0 where it has none
    chip: Mapping[str, int]
    controller: Mapping[str, int]  #: what the controller keeps, in its own cycles
    init: tuple[InitStep, ...]

    @property
    def words(self) -> int:
        """Size of the memory."""
        return 1 << self.address_bits

    def write(self, folder: Path) -> Path:
        """Write ``litedram.v`` into ``folder``; return its path."""
        write_text(folder / "litedram.v", self.text)
        return folder / "litedram.v"


def _versions() -> list[str]:
    try:
        return [metadata.version(package) for package in PACKAGES]
    except metadata.PackageNotFoundError:
        raise UserError("the memory controller needs the package litedram, which is not installed: "
                        "install ternforge[dram]") from None


def generate_litedram(config: DramConfig, *, phy: bool = True) -> LiteDram:
    """Controller for ``config``, cached by content.

    Parameters
    ----------
    config : DramConfig
        Chip and clocks.
    phy : bool
        False leaves the PHY out: same controller, same latencies, its DFI as ports; to simulate.

    Raises
    ------
    UserError
        If LiteDRAM is not installed, or does not know the chip as one of that kind.
    """
    versions = _versions()
    folder = Path(__file__).parent

    def fill(target: Path):
        from .litedram_top import build
        text, description = build(config, phy)
        write_text(target / "litedram.v", text)
        write_text(target / "litedram.json", to_json(description))

    key = content_key("litedram", versions, asdict(config), phy, folder / "litedram.py",
                      folder / "litedram_top.py")
    result = cached("litedram", key, fill)
    found: dict[str, Any] = json.loads((result / "litedram.json").read_text())
    found["ports"] = tuple(Port(**port) for port in found["ports"])
    found["init"] = tuple(InitStep(**step) for step in found["init"])
    return LiteDram(config=config, phy=phy, text=(result / "litedram.v").read_text(), **found)
