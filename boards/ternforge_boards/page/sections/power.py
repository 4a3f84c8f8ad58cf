"""Power and energy, with their ranges."""

from typing import Any

from ternforge_boards.page.charts.power import power_ranges
from ternforge_boards.page.tables import Cell, Column, Table, missing, shown

from . import Builds

__all__ = ["power_section"]


def power_section(builds: Builds) -> dict[str, Any] | None:
    """For each build with power a chart of its contributions; a table of energies for all."""
    parts, rows = [], []
    for key, report in builds:
        if (power := report.power) is None:
            continue
        lines = [[Cell(line.name, key=line.name), Cell(line.rail, key=line.rail),
                  shown(line.power), Cell(line.power.source, key=line.power.source)]
                 for line in power.lines]
        columns = [Column("contribution"), Column("rail"), Column("power", numeric=True),
                   Column("source")]
        parts.append({"key": key, "name": report.name, "power": power,
                      "chart": power_ranges(power, name=report.name),
                      "table": Table(f"Power of {key} by contribution", columns, lines,
                                     name="power")})
        energy, name = power.energy, Cell(f"{key}  {report.name}", key=key)
        rows += [[name, Cell(rail, key=rail), shown(whole), shown(per_token),
                  missing() if per_mac is None else shown(per_mac)]
                 for rail, whole, per_token, per_mac in (
                     ("core", power.core, energy.core_per_token, energy.core_per_mac),
                     ("memory", power.memory, energy.memory_per_token, None),
                     ("board", power.board, energy.board_per_token, None))]
    without = [f"{key} {report.name}" for key, report in builds if report.power is None]
    if not parts:
        return None
    columns = [Column("build"), Column("rail"), *(Column(title, numeric=True) for title in (
        "power", "energy per token", "energy per ternary MAC"))]
    return {"parts": parts, "without": without,
            "table": Table("Power, and energy per token and MAC", columns, rows, name="energy")}
