"""Area and speed of the core and of each of its units by itself."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from amaranth.lib import wiring

from ternforge.config import CoreConfig
from ternforge.core.accumulate import Accumulator
from ternforge.core.constants import ConstantFeed
from ternforge.core.core import Core
from ternforge.core.decoder import TritDecoder
from ternforge.core.epilogue import Epilogue
from ternforge.core.quantise import Quantiser
from ternforge.core.scale import ScaleUnit
from ternforge.core.sequencer import Sequencer
from ternforge.core.state_ram import StateRam
from ternforge.core.tile import TileBuffer
from ternforge.core.vector_ram import VectorRam
from ternforge.lanes import dot_product
from ternforge.mem.burst import BurstFetch
from ternforge.mem.fetch import Fetch
from ternforge.presets import core_preset
from ternforge.verilog import generate
from ternforge_boards.measure import measure_component
from ternforge_boards.untraced import Untraced

from .figures import Data, Figure, Measurement, Reach

__all__ = ["CHECKED", "FIGURES", "MEASUREMENTS", "TARGETS", "UNITS", "Untraced", "measure"]

#: What area and speed of a unit depend on.
DEPENDS = ("hw", "boards/ternforge_boards", "bench/units.py", "bench/figures.py")


def _core(config: CoreConfig) -> Untraced:
    fetch = Fetch(config, 2) if config.bank_beats else BurstFetch(config)
    return Untraced(Core(config, fetch))


def _fetch(config: CoreConfig) -> wiring.Component:
    return Fetch(config, 2) if config.bank_beats else BurstFetch(config)


#: What is measured, by name.
UNITS: dict[str, Callable[[CoreConfig], wiring.Component]] = {
    "core": _core,
    "lanes": dot_product,
    "decoder": lambda config: TritDecoder(masked=False),
    "accumulator": Accumulator,
    "tile-buffer": TileBuffer,
    "quantiser": Quantiser,
    "scale-unit": lambda config: ScaleUnit(),
    "epilogue": Epilogue,
    "constants": ConstantFeed,
    "sequencer": Sequencer,
    "fetch": _fetch,
    "vector-ram": VectorRam,
    "state-ram": StateRam,
}


@dataclass(frozen=True)
class Target:
    """A family, the core that is measured for it, and what nextpnr is asked for."""

    family: str
    preset: str
    freq_mhz: float
    device: str | None = None  #: for what does not fit the smallest
    units: tuple[str, ...] = tuple(UNITS)  #: those that are measured
    lane: str | None = None  #: kind of lanes, if not the preset's

    @property
    def config(self) -> CoreConfig:
        """The core that is measured."""
        config = core_preset(self.preset)
        return config if self.lane is None else replace(config, lane=self.lane)

    def name(self, unit: str) -> str:
        """Of a unit's measurement."""
        return f"{unit}.{self.family}-{self.preset}"


ECP5 = Target("ecp5", "ddr-n16", 200, "45k")
ICE40 = Target("ice40", "up5k", 60)
# A whole core fits a GW2A-18, but nextpnr does not place it within a quarter of an hour.
GOWIN = Target("gowin", "ddr-n16", 450, units=("lanes", "decoder", "epilogue"), lane="portable")

#: All of them.
TARGETS = (ECP5, ICE40, GOWIN)


def measure(unit: str, target: Target, seeds: Sequence[int]) -> Data:
    """LUT, FF, block RAM, DSP and Fmax of a unit; its registers to the outside are left out."""
    component = UNITS[unit](target.config)
    design = generate(component, "unit_under_test", family=target.family)
    return measure_component(design.text, design.name, target.family, seeds, target.freq_mhz,
                             memories=design.memories, device=target.device,
                             jobs=os.cpu_count() or 1).as_dict()


def _measurements(target: Target) -> list[Measurement]:
    return [Measurement(name=target.name(unit), run=partial(measure, unit, target),
                        depends=DEPENDS, seeded=True) for unit in target.units]


MEASUREMENTS = tuple(one for target in TARGETS for one in _measurements(target))

#: Measurement whose tokens prove the configuration, by preset.
CHECKED = {"ddr-n16": "tokens.370m-ddr-n16", "ddr-n64": "tokens.370m-ddr-n64",
           "ddr-n16-prefill": "prefill.370m", "hbm-c8": "tokens.1.3b-hbm-c8-latency-100",
           "up5k": "board.icebreaker"}


def _figures(unit: str, target: Target, *, quick: bool, **reaches: str) -> list[Figure]:
    """LUT, FF, block RAM, DSP and Fmax; ``reaches`` by the key of the value."""
    name = target.name(unit)
    keys = (("lut", "LUT4"), ("ff", "FF"), ("block_ram", "block RAM"), ("dsp", "DSP"),
            ("fmax_mhz", "MHz"))
    shown = keys if unit == "core" else (keys[0], keys[-1])

    def value(key: str, data: Data) -> float:
        return data[key]

    return [Figure(name=f"{name}.{key.partition('_mhz')[0].replace('_', '-')}",
                   title=f"{unit}, {target.preset}, {target.family}: "
                         f"{'Fmax' if key == 'fmax_mhz' else text}",
                   unit="MHz" if key == "fmax_mhz" else "", of=(name,), value=partial(value, key),
                   reach=Reach(reaches.get(key, "")), checked=CHECKED[target.preset],
                   quick=quick) for key, text in shown]


def _per_mac(target: Target, reach: str, *, quick: bool = True) -> Figure:
    config, name = target.config, target.name("lanes")
    return Figure(name=f"{name}.lut-per-mac",
                  title=f"LUT per ternary int8 MAC/cycle, {target.family}, {config.tile} MAC, "
                        "1.6 bit/weight decoder included",
                  unit="LUT4", of=(name,), value=lambda data: data["lut"] / config.tile,
                  reach=Reach(reach), checked=CHECKED[target.preset], quick=quick)


FIGURES = (
    _per_mac(ECP5, "<= 15.5"), _per_mac(ICE40, "<= 24"), _per_mac(GOWIN, "", quick=False),
    *_figures("lanes", ECP5, quick=True, fmax_mhz=">= 180"),
    *_figures("lanes", ICE40, quick=True),
    *_figures("core", ECP5, quick=False, lut="<= 3500", dsp="<= 8", fmax_mhz=">= 130"),
    *_figures("core", ICE40, quick=False),
    *(figure for unit in ECP5.units if unit not in ("core", "lanes")
      for figure in _figures(unit, ECP5, quick=unit in ("decoder", "epilogue"))),
    *(figure for unit in ICE40.units if unit not in ("core", "lanes")
      for figure in _figures(unit, ICE40, quick=unit == "decoder")),
    *(figure for unit in GOWIN.units for figure in _figures(unit, GOWIN, quick=False)),
)
