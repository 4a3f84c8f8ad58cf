"""Which points are worth a look: fronts of speed against area and power, and the best of each."""

from collections.abc import Callable, Sequence

from pydantic import Field

from ternforge_boards.report.value import Record, Value

from .point import Result

__all__ = ["Best", "Candidate", "best", "front", "pareto"]


class Candidate(Record):
    """The figures of one finished point, and the fronts that it is on, among those of its model."""

    name: str
    board: str
    model: str
    tokens_per_second: float = Field(description="summed over streams")
    status: str = Field(description="of the tokens per second: simulated or estimated")
    lut: int | None
    watts: float | None = Field(description="of the FPGA's core; null where it is not known")
    fmax_mhz: float | None
    met: bool | None = Field(description="whether every clock is met; null if none was placed")
    area_front: bool
    power_front: bool


class Best(Record):
    """The point that is first in something, among those of its model."""

    what: str
    model: str
    name: str
    value: float
    unit: str


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of (cost, gain) no other beats: none costs as little and gains as much, or is better.

    Equal points are on the front together.
    """
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    return [not any(beats(other, point) for other in points) for point in points]


def pareto(results: Sequence[Result]) -> list[Candidate]:
    """Figures of every point that did not fail, in order, with its place on the fronts.

    Points that miss a clock are on none: they do not run at the speed that they promise. Models
    are not compared with each other.
    """
    plain = [_candidate(result) for result in results if result.throughput is not None]
    on_area, on_power = (_on_front(plain, cost) for cost in (_lut, _watts))
    return [one.model_copy(update={"area_front": area, "power_front": power})
            for one, area, power in zip(plain, on_area, on_power, strict=True)]


def best(candidates: Sequence[Candidate]) -> list[Best]:
    """The fastest, the smallest, and the best per LUT and per watt, of each model."""
    kinds: tuple[tuple[str, str, Callable[[Candidate], float | None]], ...] = (
        ("fastest", "tok/s", lambda one: one.tokens_per_second),
        ("smallest", "LUT", lambda one: None if one.lut is None else -one.lut),
        ("most tok/s per LUT", "tok/s/LUT", lambda one: _per(one, one.lut)),
        ("most tok/s per watt", "tok/s/W", lambda one: _per(one, one.watts)))
    found = []
    for model in dict.fromkeys(one.model for one in candidates):
        for what, unit, figure in kinds:
            known = [(value, -index, one) for index, one in enumerate(candidates)
                     if one.model == model and one.met is not False
                     and (value := figure(one)) is not None]
            if known:
                value, _, one = max(known)
                found.append(Best(what=what, model=model, name=one.name, value=abs(value),
                                  unit=unit))
    return found


def _per(one: Candidate, cost: float | None) -> float | None:
    return one.tokens_per_second / cost if cost else None


def _lut(one: Candidate) -> float | None:
    return one.lut


def _watts(one: Candidate) -> float | None:
    return one.watts


def _on_front(candidates: Sequence[Candidate],
              cost: Callable[[Candidate], float | None]) -> list[bool]:
    on = [False] * len(candidates)
    for model in {one.model for one in candidates}:
        known = [(index, price, one.tokens_per_second) for index, one in enumerate(candidates)
                 if one.model == model and one.met is not False
                 and (price := cost(one)) is not None]
        for (index, _, _), best_of_all in zip(
                known, front([(price, gain) for _, price, gain in known]), strict=True):
            on[index] = best_of_all
    return on


def _candidate(result: Result) -> Candidate:
    report, throughput = result.report, result.throughput
    assert throughput is not None
    speed = throughput.tokens_per_second_summed
    power: Value | None = None if report is None or report.power is None else report.power.core
    critical = report and report.critical_clock
    return Candidate(
        name=result.point.name, board=result.point.board, model=result.point.model,
        tokens_per_second=speed.value or 0.0, status=speed.status.value,
        lut=None if report is None else report.area.total.lut,
        watts=None if power is None else power.value,
        fmax_mhz=None if critical is None else critical.achieved_mhz, met=result.met,
        area_front=False, power_front=False)
