"""Yosys' JSON form of a flat module."""

from collections import defaultdict
from typing import Any

__all__ = ["Cell", "driven_twice", "loads_of", "lost_addends"]

Cell = dict[str, Any]


def loads_of(module: dict[str, Any]) -> dict[Any, list[tuple[str, str]]]:
    """Cell and port of all that reads each bit; names are empty for a port of the module."""
    loads: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for port in module["ports"].values():
        for bit in port["bits"]:
            loads[bit].append(("", ""))
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    loads[bit].append((name, port))
    return loads


def driven_twice(module: dict[str, Any]) -> list[str]:
    """``CELL.PORT`` of all that drives a bit which something else drives too."""
    drivers: dict[Any, list[str]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                for bit in filter(lambda bit: isinstance(bit, int), bits):  # others are constants
                    drivers[bit].append(f"{name}.{port}")
    return [driver for found in drivers.values() if len(found) > 1 for driver in found]


def lost_addends(module: dict[str, Any]) -> list[str]:
    """``CELL.PORT`` of each addend of an SB_MAC16 that has undefined bits, though it is added."""
    found = []
    for name, cell in module["cells"].items():
        if cell["type"] == "SB_MAC16":
            found += [f"{name}.{port}" for port, half in (("C", "TOP"), ("D", "BOT"))
                      if int(cell["parameters"].get(f"{half}ADDSUB_UPPERINPUT", "0"), 2)
                      and "x" in cell["connections"].get(port, ())]
    return found
