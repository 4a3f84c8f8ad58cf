"""Output registers of block RAMs and multipliers, which Yosys leaves outside of them.

An ECP5 block RAM gives its word 5.6 ns after the clock (nextpnr, speed grade 6), and much sooner
with the register that it has at its output (``REGMODE``, Lattice FPGA-TN-02204). Its multiplier
block has one as well (``REG_OUTPUT_CLK``, Lattice FPGA-TN-02205). Yosys 0.70 infers neither.
Flip-flops that stand alone behind such an output do the same, so they move into it.
"""

from typing import Any

from ternforge_boards.netlist import Cell, loads_of

__all__ = ["absorb_output_registers"]


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Move flip-flops behind block RAMs and multipliers into their output registers.

    All used outputs of a port must go to one flip-flop each and nowhere else; its clock must be the
    port's, and it must have neither enable nor reset.

    Parameters
    ----------
    module : dict
        Flat module of ECP5 cells in Yosys' JSON form; changed in place.

    Returns
    -------
    int
        Flip-flops that moved.
    """
    cells: dict[str, Cell] = module["cells"]
    loads = loads_of(module)

    def behind(cell: Cell, prefix: str, clock: list[Any] | None) -> dict[str, str]:
        """The flip-flop behind each used output, or nothing unless all can move."""
        found = {}
        for port, bits in cell["connections"].items():
            if not port.startswith(prefix) or not port.removeprefix(prefix).isdecimal():
                continue
            for load in loads[bits[0]]:
                if port in found or not _plain(cells.get(load[0]), load[1]):
                    return {}
                found[port] = load[0]
        clocks = [cells[name]["connections"]["CLK"] for name in found.values()]
        return found if all(one == (clock or clocks[0]) for one in clocks) else {}

    moved = 0

    def move(cell: Cell, prefix: str, clock: list[Any] | None = None) -> list[Any] | None:
        """Move what stands behind; the clock of what moved."""
        nonlocal moved
        found = behind(cell, prefix, clock)
        for port, name in found.items():
            flip_flop = cells.pop(name)["connections"]
            cell["connections"][port] = flip_flop["Q"]
            clock = flip_flop["CLK"]
        moved += len(found)
        return clock if found else None

    for cell in list(cells.values()):
        if cell["type"] == "DP16KD":
            for side in "AB":
                if (cell["connections"].get(f"OCE{side}") == ["1"]
                        and move(cell, f"DO{side}", cell["connections"][f"CLK{side}"])):
                    cell["parameters"][f"REGMODE_{side}"] = "OUTREG"
        elif cell["type"] == "MULT18X18D":
            clock = move(cell, "P")
            if clock:
                cell["parameters"] |= {"REG_OUTPUT_CLK": "CLK0", "REG_OUTPUT_CE": "CE0",
                                       "REG_OUTPUT_RST": "RST0"}
                cell["connections"] |= {"CLK0": clock, "CE0": ["1"], "RST0": ["0"]}
                cell["port_directions"] |= {"CLK0": "input", "CE0": "input", "RST0": "input"}
    return moved


def _plain(cell: Cell | None, port: str) -> bool:
    """Whether ``port`` is the data input of a flip-flop without enable and reset."""
    if cell is None or cell["type"] != "TRELLIS_FF" or port not in ("DI", "M"):
        return False
    parameters, connections = cell["parameters"], cell["connections"]
    return (parameters.get("CEMUX", "1").strip() == "1" and parameters.get("CLKMUX") == "CLK"
            and parameters.get("REGSET") == "RESET" and connections.get("LSR", ["0"]) == ["0"])
