"""Ends of carry chains, for which nextpnr would make cells that do nothing.

Yosys connects the carry input of a chain's first ``CCU2C`` to 0 and the carry output of its last to
a net that nothing reads. nextpnr 0.11 brings the former from the fabric and the latter to it with a
``CCU2C`` each, two LUT4 sites. Neither is made for a pin without a net.
"""

from typing import Any

from ternforge_boards.netlist import Cell, loads_of

__all__ = ["trim_carry_chains"]


def trim_carry_chains(module: dict[str, Any]) -> int:
    """Disconnect carry outputs that nothing reads and carry inputs that decide nothing.

    Parameters
    ----------
    module : dict
        Flat module of ECP5 cells in Yosys' JSON form; changed in place.

    Returns
    -------
    int
        Pins that were disconnected.
    """
    loads = loads_of(module)
    trimmed = 0
    for cell in module["cells"].values():
        if cell["type"] != "CCU2C":
            continue
        pins = cell["connections"]
        if not loads[pins["COUT"][0]]:
            pins["COUT"] = ["x"]
            trimmed += 1
        if pins["CIN"] == ["0"] and not loads[pins["S0"][0]] and _ignores(cell):
            pins["CIN"] = ["x"]
            trimmed += 1
    return trimmed


def _ignores(cell: Cell) -> bool:
    """Whether the table of the first half is 0, so that its carry is made of A and B alone."""
    pins, table = cell["connections"], int(cell["parameters"]["INIT0"], 2)
    free = [pin for pin in "ABCD" if pins[f"{pin}0"] not in (["0"], ["1"])]
    index = sum(1 << k for k, pin in enumerate("ABCD") if pins[f"{pin}0"] == ["1"])
    entries = [index]
    for pin in free:
        entries += [entry | 1 << "ABCD".index(pin) for entry in entries]
    return cell["parameters"]["INJECT1_0"].strip() == "NO" and not any(
        table >> entry & 1 for entry in entries)
