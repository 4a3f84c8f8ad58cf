"""Yosys' JSON form of a flat module."""

from collections import defaultdict
from typing import Any

__all__ = ["Cell", "loads_of"]

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
