"""Area of cores and of some units on parts that nothing is placed on, from synthesis alone."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ternforge.presets import core_preset
from ternforge.verilog import generate
from ternforge_boards.area import estimate_area

from .figures import Data, Figure, Measurement
from .units import CHECKED, UNITS

__all__ = ["FIGURES", "MEASUREMENTS", "PARTS", "Part", "measure"]

DEPENDS = ("hw", "boards/ternforge_boards", "bench/area.py", "bench/units.py", "bench/figures.py")


@dataclass(frozen=True)
class Part:
    """One unit of a core for one family."""

    unit: str  #: one of :data:`~bench.units.UNITS`
    preset: str
    family: str  #: one of :data:`~ternforge_boards.area.AREA_FAMILIES`

    @property
    def name(self) -> str:
        """Of its measurement."""
        return f"area.{self.unit}-{self.family}-{self.preset}"


#: What is synthesised: for large parts, and the cores that nextpnr takes too long for.
PARTS = (*(Part(unit, preset, family) for preset in ("ddr-n16", "ddr-n64")
           for family in ("xcup", "cyclonev") for unit in ("core", "lanes", "epilogue")),
         Part("core", "hbm-c8", "xcup"), Part("core", "ddr-n16-prefill", "ecp5"))


def measure(part: Part, seeds: Any = ()) -> Data:
    """LUT, FF, block RAM and DSP; lanes are the preset's on its own family, else portable."""
    config = core_preset(part.preset)
    if config.lane != part.family:
        config = replace(config, lane="portable")
    design = generate(UNITS[part.unit](config), "unit_under_test", family=part.family)
    return estimate_area(design.text, design.name, part.family,
                         memories=design.memories).as_dict()


MEASUREMENTS = tuple(Measurement(name=part.name, run=partial(measure, part), depends=DEPENDS)
                     for part in PARTS)


def _figure(part: Part, key: str, text: str) -> Figure:
    def value(data: Data) -> float:
        return data[key]

    return Figure(name=f"{part.name}.{key.replace('_', '-')}",
                  title=f"{part.unit}, {part.preset}, {part.family}, synthesis only: {text}",
                  unit="", of=(part.name,), value=value, checked=CHECKED[part.preset])


FIGURES = tuple(_figure(part, key, text) for part in PARTS
                for key, text in (("lut", "LUT"), ("ff", "FF"), ("block_ram", "block RAM"),
                                  ("dsp", "DSP"))
                if part.unit == "core" or key == "lut")
