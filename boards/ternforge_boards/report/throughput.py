"""Speed of a design, from the cycles of a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig

from .memory import bytes_per_cycle
from .schema import CauseCycles, Evidence, Throughput
from .value import Status, Value

__all__ = ["Speed", "simulated_speed", "throughput_of"]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a design is, and what says so."""

    throughput: Throughput
    evidence: Evidence
    ternary_weights: int  #: that each token reads


def throughput_of(causes: Mapping[str, float], *, weights: int, peak: float, core_mhz: float,
                  streams: int, status: Status, source: str) -> Throughput:
    """Cycles, tokens per second and share of the memory's bandwidth.

    Parameters
    ----------
    causes : mapping
        Cycles of a step by cause; they add up to those of the step.
    weights : int
        Ternary weights that a step reads; five lie in a byte.
    peak : float
        Bytes that the image's memory gives in a cycle of the core at most.
    core_mhz : float
        Clock of the core.
    streams : int
        Tokens that a step makes.
    status, source
        How the cycles were come by.
    """
    cycles = sum(causes.values())
    ideal, rate = weights / 5 / peak, core_mhz * 1e6 / cycles

    def value(number: float, unit: str, how: str) -> Value:
        return Value(value=number, unit=unit, status=status, source=how)

    clock = f"{core_mhz:g} MHz / cycles"
    return Throughput(
        cycles_per_token=value(cycles, "cycles", source),
        ideal_cycles_per_token=Value(
            value=ideal, unit="cycles", status=Status.ESTIMATED,
            source=f"weights / 5 per byte / {peak:g} bytes per cycle"),
        causes=tuple(CauseCycles(cause=cause, cycles=count) for cause, count in causes.items()),
        streams=streams,
        tokens_per_second=value(rate, "tok/s", clock),
        tokens_per_second_summed=value(
            rate * streams, "tok/s", f"{clock}, {streams} stream{'s' * (streams > 1)}"),
        bandwidth_share=value(ideal / cycles, "1", "ideal cycles / cycles"))


def simulated_speed(core: CoreConfig, dram: DramConfig | None, core_mhz: float,
                    cycles: Mapping[str, Any]) -> Speed:
    """Speed from what :func:`~ternforge_sim.cycles.measure_cycles` gives."""
    weights = cycles["ternary_weights"]
    streams = cycles["streams"]
    return Speed(
        throughput=throughput_of(
            cycles["causes"], weights=weights, peak=bytes_per_cycle(core, dram),
            core_mhz=core_mhz, streams=streams, status=Status.SIMULATED,
            source=f"Verilator, {cycles['steps']} steps"),
        evidence=Evidence(
            checked_tokens=cycles["checked_tokens"], bit_exact=cycles["bit_exact"],
            of=f"the generated Verilog in Verilator, {cycles['steps']} steps of {streams} "
               f"sequence{'s' * (streams > 1)} from empty states; each write to vectors, states "
               "and codes, and each token, against the integer model"),
        ternary_weights=weights)
