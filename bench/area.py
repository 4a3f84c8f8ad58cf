"""Area of the core and of some of its units on large parts, from synthesis alone."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ternforge.presets import core_preset
from ternforge.verilog import generate
from ternforge_boards.area import AREA_FAMILIES, estimate_area

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


#: What is synthesised.
PARTS = tuple(Part(unit, preset, family) for preset in ("ddr-n16", "ddr-n64")
              for family in AREA_FAMILIES for unit in ("core", "lanes", "epilogue"))


def measure(part: Part, seeds: Any = ()) -> Data:
    """LUT, FF, block RAM and DSP; lanes are the portable ones."""
    component = UNITS[part.unit](replace(core_preset(part.preset), lane="portable"))
    design = generate(component, "unit_under_test")
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
