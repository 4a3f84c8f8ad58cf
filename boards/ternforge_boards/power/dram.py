"""Power of a memory chip from data-sheet currents and the commands that it gets."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig
from ternforge.output import to_json, write_text
from ternforge_boards.report.schema import PowerLine
from ternforge_boards.report.value import Status, Value
from ternforge_firmware.image import Image
from ternforge_sim.dram import DramCounts, DramMemoryModel, build_dram_simulator
from ternforge_sim.runner import generator_key

from .activity import Range
from .coefficients import FOLDER, Coefficients, read_toml
from .estimate import product

__all__ = ["DramRates", "chip_of", "dram_lines", "simulate_rates"]


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
    """Commands of a token, from the Verilog with LiteDRAM's controller; cached by content."""
    def fill(folder: Path) -> None:
        hardware = DramMemoryModel(dram=dram).open(build_dram_simulator(core, dram), core)
        try:
            hardware.load(image.memory())
            hardware.step(0, reset=True)
            first, begin = hardware.counts(), hardware.cycle
            hardware.step(1 % image.vocab_size)
            found = DramRates.of(first, hardware.counts(), (hardware.cycle - begin) / core_hz)
        finally:
            hardware.close()
        write_text(folder / "rates.json", to_json(asdict(found)))

    key = content_key(repr(core), repr(dram), image.model_hash, core_hz, generator_key())
    return DramRates(**json.loads((cached("dram-rates", key, fill) / "rates.json").read_text()))


def chip_of(dram: DramConfig) -> Coefficients | None:
    """Coefficients of a chip of this kind and width; None if there are none."""
    file = FOLDER / f"{dram.kind}_x{dram.data_bits}.toml"
    return read_toml(file) if file.is_file() else None


def dram_lines(rates: DramRates, dram: DramConfig,
               chip: Coefficients | None) -> tuple[PowerLine, ...]:
    """Contributions of a chip.

    Standing by, it takes between the current with all banks precharged and that with a row open.
    Each command adds what the data sheet's current for it adds to standby, for its time: ACTIVATE
    with its precharge (IDD0, tRC), a beat that is read or written (IDD4), REFRESH (IDD5, tRFC).
    """
    if chip is None:
        source = (f"no currents are known of {dram.kind.upper()} memory of {dram.data_bits} bits "
                  "in this package")
        return (_line("memory", Value(value=None, unit="W", status=Status.ESTIMATED,
                                      source=source)),)
    low = chip["standby_precharged"].si(chip.volts, "W")
    high = chip["standby_open"].si(chip.volts, "W")
    middle = (low.value, high.value)
    standby = Value(
        value=None if None in middle else sum(part for part in middle if part is not None) / 2,
        unit="W", status=Status.ESTIMATED, low=low.low, high=high.high, source=high.source)
    beats = dram.word_bits // dram.data_bits
    lines = [_line("memory, standing by", standby)]
    for name, rate in (("activate", rates.activates), ("beat_read", rates.reads * beats),
                       ("beat_written", rates.writes * beats), ("refresh", rates.refreshes)):
        if rate:
            lines.append(_line(f"memory, {name.replace('_', ' ')}",
                               product(chip[name], Range.exact(1.0), rate, "W",
                                       f"{rate:,.0f} per second")))
    return tuple(lines)


def _line(name: str, power: Value) -> PowerLine:
    return PowerLine(name=name, rail="memory", power=power)
