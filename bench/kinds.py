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


#: Lanes of tables: products per cycle, and of which measurement they are.
TABLE_MACS = 80
TABLES = "lanes.ecp5-tables-1.6bit"

MEASUREMENTS = (
    *(Measurement(name=_name(bits), run=partial(measure, "ecp5", "ecp5", MACS, bits=bits),
                  depends=DEPENDS, seeded=True) for bits in LIMITS),
    Measurement(name=TABLES, run=partial(measure, "table", "ecp5", TABLE_MACS), depends=DEPENDS,
                seeded=True))


def _figures(name: str, lanes: str, most: str, least: str, checked: str,
             quick: bool) -> tuple[Figure, ...]:
    return tuple(
        Figure(name=f"{name}.{key}", title=f"{title}, {lanes}", unit=unit, of=(name,), value=value,
               reach=Reach(reach), checked=checked, quick=quick)
        for key, title, unit, value, reach in (
            ("lut-per-mac", "LUT per ternary int8 MAC/cycle", "LUT4",
             lambda data: data["lut_per_mac"], most),
            ("fmax", "Fmax", "MHz", lambda data: data["fmax_mhz"], least)))


FIGURES = (
    *(figure for bits, limit in LIMITS.items() for figure in _figures(
        _name(bits), f"ecp5 lanes, {MACS} MAC, {bits} bit/weight", limit, ">= 180",
        "tokens.370m-ddr-n16", True)),
    *_figures(TABLES, f"table lanes with fill, {TABLE_MACS} MAC, 1.6 bit/weight", "<= 7", ">= 130",
              "tokens.370m-ddr-n16-table", False))
