"""Kinds of lanes by themselves, as ``bench/lanes.py`` measures them, against their limits."""

from functools import partial

from .figures import Figure, Measurement, Reach
from .lanes import measure

__all__ = ["FIGURES", "MEASUREMENTS"]

DEPENDS = ("hw", "boards/ternforge_boards", "bench/lanes.py", "bench/kinds.py", "bench/figures.py")

#: Products per cycle of the lanes that are measured.
MACS = 70
#: Most LUT per product by bits of a weight.
LIMITS = {"2": "<= 12.5", "1.6": "<= 15.5"}


def _name(bits: str) -> str:
    return f"lanes.ecp5-chains-{bits}bit"


MEASUREMENTS = tuple(
    Measurement(name=_name(bits), run=partial(measure, "ecp5", "ecp5", MACS, bits=bits),
                depends=DEPENDS, seeded=True) for bits in LIMITS)

FIGURES = tuple(
    Figure(name=f"{_name(bits)}.{key}", title=f"{title}, ecp5 lanes, {MACS} MAC, {bits} bit/weight",
           unit=unit, of=(_name(bits),), value=value, reach=Reach(reach),
           checked="tokens.370m-ddr-n16", quick=True)
    for bits, limit in LIMITS.items()
    for key, title, unit, value, reach in (
        ("lut-per-mac", "LUT per ternary int8 MAC/cycle", "LUT4",
         lambda data: data["lut_per_mac"], limit),
        ("fmax", "Fmax", "MHz", lambda data: data["fmax_mhz"], ">= 180")))
