"""Tables of Gowin parts, of which nextpnr 0.11 times only those of four inputs.

After routing, it finds no path through a ``LUT1``, ``LUT2`` or ``LUT3``: a design without other
tables has no Fmax at all. All of them stand in the place of a ``LUT4``, so they may be one.
"""

from typing import Any

__all__ = ["widen_tables"]


def widen_tables(module: dict[str, Any]) -> int:
    """Make a ``LUT4`` of each smaller table; the inputs that it gets stay open.

    Parameters
    ----------
    module : dict
        Flat module of Gowin cells in Yosys' JSON form; changed in place.

    Returns
    -------
    int
        Tables that were changed.
    """
    changed = 0
    for cell in module["cells"].values():
        if cell["type"] in ("LUT1", "LUT2", "LUT3"):
            entries = 2 ** int(cell["type"][-1])
            table = cell["parameters"]["INIT"][-entries:].zfill(entries)
            cell["parameters"]["INIT"] = table * (16 // entries)
            cell["type"] = "LUT4"
            changed += 1
    return changed
