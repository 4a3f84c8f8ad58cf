"""Power of a memory chip from data-sheet currents and the commands that it gets."""

from dataclasses import dataclass

from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig
from ternforge_boards.report.schema import PowerLine
from ternforge_boards.report.value import Status, Value
from ternforge_firmware.image import Image
from ternforge_sim.dram import DramCounts, DramMemoryModel, build_dram_simulator

from .coefficients import Coefficients

__all__ = ["DramRates", "chip_rows", "dram_lines", "simulate_rates"]

#: Tokens of the simulation: one to fill pipelines, and one to count.
TOKENS = 2


@dataclass(frozen=True, kw_only=True)
class DramRates:
    """Commands per second while tokens are made."""

    activates: float
    reads: float
    writes: float
    refreshes: float

    @classmethod
    def of(cls, first: DramCounts, last: DramCounts, seconds: float) -> "DramRates":
        """From counts at the beginning and the end of a time."""
        return cls(**{name: (getattr(last, name) - getattr(first, name)) / seconds
                      for name in ("activates", "reads", "writes", "refreshes")})


def simulate_rates(core: CoreConfig, dram: DramConfig, image: Image, core_hz: float) -> DramRates:
    """Commands of a token, from the Verilog with LiteDRAM's controller."""
    hardware = DramMemoryModel(dram=dram).open(build_dram_simulator(core, dram), core)
    try:
        hardware.load(image.memory())
        hardware.step(0, reset=True)
        first, begin = hardware.counts(), hardware.cycle
        hardware.step(1 % image.vocab_size)
        return DramRates.of(first, hardware.counts(), (hardware.cycle - begin) / core_hz)
    finally:
        hardware.close()


def chip_rows(dram: DramConfig) -> str:
    """Beginning of the names of the rows for a chip, such as ``sdr``."""
    return dram.kind


def dram_lines(rates: DramRates, chip: Coefficients, kind: str) -> tuple[PowerLine, ...]:
    """Contributions of a chip.

    Standing by, it takes between the current with all banks precharged and that with a row open.
    Each command adds a charge: ACTIVATE with its precharge what IDD0 adds to standby in a cycle of
    a row (tRC), READ what IDD4R adds to an open row in a burst, REFRESH what IDD5 adds in tRFC.

    Parameters
    ----------
    rates : DramRates
        Commands per second.
    chip : Coefficients
        With rows ``KIND_standby_precharged``, ``KIND_standby_open`` in amperes, and the energies
        ``KIND_activate``, ``KIND_read``, ``KIND_write``, ``KIND_refresh``.
    kind : str
        See :func:`chip_rows`.
    """
    volts = chip[f"{kind}_volts"].value
    closed, opened = (chip[f"{kind}_standby_{name}"] for name in ("precharged", "open"))
    lines = []
    if volts is None or closed.value is None or opened.value is None:
        standby = Value(value=None, unit="W", status=Status.ESTIMATED, source=closed.source)
    else:
        low, high = closed.si(volts, "W"), opened.si(volts, "W")
        assert low.low is not None and high.high is not None
        assert low.value is not None and high.value is not None
        standby = Value(value=(low.value + high.value) / 2, unit="W", status=Status.ESTIMATED,
                        low=low.low, high=high.high, source=opened.si().source)
    lines.append(PowerLine(name="memory, standing by", rail="memory", power=standby))
    for name, rate in (("activate", rates.activates), ("read", rates.reads),
                       ("write", rates.writes), ("refresh", rates.refreshes)):
        energy = chip[f"{kind}_{name}"].si(rate, "W") if rate else None
        if energy is not None:
            lines.append(PowerLine(name=f"memory, {name}, {rate:,.0f} per second", rail="memory",
                                   power=energy))
    return tuple(lines)
