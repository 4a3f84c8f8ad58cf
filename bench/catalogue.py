"""Every measurement and figure; a module of figures is added here."""

from . import area, axi, dram, kinds, parallel, speed, systems, tokens, units, upload
from .figures import Figure, Measurement, check_registry
from .peers import compare

__all__ = ["FIGURES", "MEASUREMENTS"]

_MODULES = (units, area, kinds, systems, tokens, dram, parallel, speed, axi, upload, compare)

MEASUREMENTS: tuple[Measurement, ...] = tuple(m for module in _MODULES
                                              for m in module.MEASUREMENTS)
FIGURES: tuple[Figure, ...] = tuple(f for module in _MODULES for f in module.FIGURES)

check_registry(MEASUREMENTS, FIGURES)
