"""Critical paths of a routed design, in the names of its units."""

from collections.abc import Iterator, Mapping
from typing import Any

from ternforge_boards.nextpnr import Clock, edge_net

from .schema import ClockReport, PathStep
from .units import Units

__all__ = ["clock_reports", "merged"]


def clock_reports(clocks: tuple[Clock, ...], routing: Mapping[str, Any],
                  units: Units) -> tuple[ClockReport, ...]:
    """Every clock with the path that bounds it.

    Parameters
    ----------
    clocks : tuple of Clock
        From :func:`~ternforge_boards.nextpnr.parse_report`.
    routing : mapping
        The JSON that nextpnr's ``--report`` writes.
    units : Units
        Of the netlist that was routed.
    """
    paths = {(edge_net(path["from"]), edge_net(path["to"])): path["path"]
             for path in routing["critical_paths"]}

    def of(clock: Clock) -> tuple[PathStep, ...]:
        source, _, target = clock.net.partition(" to ")
        return tuple(_steps(paths.get((source, target or source), []), units))

    return tuple(ClockReport(net=clock.net, achieved_mhz=clock.achieved_mhz,
                             constrained_mhz=clock.constrained_mhz, met=clock.met, path=of(clock))
                 for clock in clocks)


def _steps(path: list[dict[str, Any]], units: Units) -> Iterator[PathStep]:
    for hop in path:
        # A net belongs to what drives it; a cell, to the unit of its name.
        cell = hop["from"]["cell"]
        yield PathStep(kind=hop["type"], delay_ns=round(hop["delay"], 3), unit=units.find(cell),
                       cell=hop.get("net", cell))


def merged(path: tuple[PathStep, ...]) -> list[tuple[str, int, float, float]]:
    """Runs of hops in one unit: its name, tables or carries passed, nanoseconds, those of routing.

    >>> merged((PathStep(kind="logic", delay_ns=1.0, unit="port", cell="a"),
    ...         PathStep(kind="routing", delay_ns=2.0, unit="port", cell="b")))
    [('port', 1, 3.0, 2.0)]
    """
    runs: list[tuple[str, int, float, float]] = []
    for step in path:
        name, cells, delay, routing = (step.unit, 0, 0.0, 0.0)
        if runs and runs[-1][0] == step.unit:
            name, cells, delay, routing = runs.pop()
        routed = step.kind == "routing"
        runs.append((name, cells + (step.kind == "logic"), delay + step.delay_ns,
                     routing + step.delay_ns * routed))
    return runs
