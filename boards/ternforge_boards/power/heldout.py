"""The model against a published design that had no part in the fit."""

from dataclasses import dataclass
from math import sqrt

from ternforge_boards.report.value import Value

from .activity import Activity, Range
from .coefficients import Coefficients
from .estimate import core_lines, total
from .published import PublishedCore

__all__ = ["HeldOut", "held_out"]


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Current of the core's supply: what was measured, and what the model says."""

    measured: float  #: A
    model: Value  #: A

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the model's range."""
        low, high = self.model.low, self.model.high
        return low is not None and high is not None and low <= self.measured <= high


def held_out(core: PublishedCore, given: Coefficients) -> HeldOut:
    """Estimate a design of which only the numbers of resources are known.

    Its tables move as :attr:`~.published.PublishedCore.toggles_per_lut` says; of its memories and
    multipliers any number works in a cycle, from none to all.
    """
    def some(most: float) -> Range:
        return Range(most / 2, 0.0, most)

    low, high = (core.lut * toggles for toggles in core.toggles_per_lut)
    activity = Activity(
        how="numbers of resources", flip_flops=core.ff,
        sink_toggles=Range(sqrt(low * high), low, high), block_ram_reads=some(core.block_ram),
        block_ram_writes=Range.exact(0.0), spram_reads=some(core.spram),
        spram_writes=Range.exact(0.0), dsp_operations=some(core.dsp),
        pin_toggles=Range.exact(0.0))
    lines = core_lines(activity, given, "up5k", core.mhz * 1e6, 0.0)
    power = total([(line.name, line.power) for line in lines], "W", "sum of the lines")
    return HeldOut(measured=core.milliamps * 1e-3,
                   model=power.scaled(1 / given.volts, "A", "sum of the lines over volts"))
