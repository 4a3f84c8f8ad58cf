"""A sweep as the page shows it."""

from collections.abc import Sequence
from pathlib import Path

from ternforge_boards.page import SweepPoint, write_page
from ternforge_boards.report.schema import Report

from .pareto import best, pareto
from .point import Result

__all__ = ["best_reports", "page_points", "write_sweep_page"]


def page_points(results: Sequence[Result]) -> list[SweepPoint]:
    """Each point, failed ones too, with its place on the fronts."""
    candidates = iter(pareto(results))
    points = []
    for result in results:
        name, group = result.point.name, f"{result.point.board}, {result.point.model}"
        if result.throughput is None:
            points.append(SweepPoint(name=name, group=group, reason=result.reason or ""))
            continue
        candidate = next(candidates)
        power = result.report.power.core if result.report and result.report.power else None
        points.append(SweepPoint(
            name=name, group=group, speed=result.throughput.tokens_per_second_summed,
            lut=candidate.lut, power=power, met=candidate.met, area_front=candidate.area_front,
            power_front=candidate.power_front))
    return points


def best_reports(results: Sequence[Result]) -> list[Report]:
    """Reports of the points that are first in something."""
    names = {(one.name, one.model) for one in best(pareto(results))}
    return [result.report for result in results
            if result.report and (result.point.name, result.point.model) in names]


def write_sweep_page(path: Path, results: Sequence[Result]) -> None:
    """Write the page of a sweep: all points, and the builds that are first in something."""
    write_page(path, best_reports(results), points=page_points(results), title="ternforge sweep")
