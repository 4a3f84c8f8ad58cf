"""What moves per clock cycle while tokens are made, as ranges."""

from dataclasses import dataclass

from ternforge_boards.report.schema import Report

from .simulator import Counts

__all__ = ["TOGGLES_PER_LUT", "Activity", "Range", "counted_activity", "typical_activity"]

#: Sink-weighted toggles per table and cycle that are taken where the gates are not simulated: what
#: a token of shakespeare-up5k moves on the iCEBreaker, from half to four times of it.
TOGGLES_PER_LUT = 0.43


@dataclass(frozen=True)
class Range:
    """A figure between two bounds."""

    value: float
    low: float
    high: float

    def __post_init__(self):
        if not self.low <= self.value <= self.high:
            raise ValueError(f"the range {self.low:g} to {self.high:g} must hold {self.value:g}")

    @classmethod
    def exact(cls, value: float) -> "Range":
        """One that is counted."""
        return cls(value, value, value)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Per clock cycle with a token under way."""

    how: str  #: for people
    flip_flops: int
    sink_toggles: Range  #: glitches included
    block_ram_reads: Range
    block_ram_writes: Range
    spram_reads: Range
    spram_writes: Range
    dsp_operations: Range  #: multiplications with new factors
    pin_toggles: Range  #: of output pins
    functional_toggles: float | None = None  #: of ``sink_toggles``, those left when all is settled


def counted_activity(counts: Counts, flip_flops: int, how: str) -> Activity:
    """Of gates that were simulated."""
    def rate(number: float) -> Range:
        return Range.exact(number / counts.cycles)

    return Activity(
        how=how, flip_flops=flip_flops, sink_toggles=rate(counts.sink_toggles),
        block_ram_reads=rate(counts.block_ram_reads),
        block_ram_writes=rate(counts.block_ram_writes), spram_reads=rate(counts.spram_reads),
        spram_writes=rate(counts.spram_writes), dsp_operations=rate(counts.dsp_operations),
        pin_toggles=rate(counts.pin_toggles),
        functional_toggles=counts.functional_sink_toggles / counts.cycles)


def typical_activity(report: Report) -> Activity:
    """Without a simulation of the gates: from the numbers of resources, with wide ranges.

    Block RAM is read in every cycle at most, and by each of its blocks once in a hundred at least;
    multipliers have new factors between never and always; a pin changes at most once per cycle.
    """
    area, share = report.area.total, TOGGLES_PER_LUT * report.area.total.lut

    def up_to(most: float) -> Range:
        return Range(most / 10, most / 100, most)

    return Activity(
        how=f"not simulated: {TOGGLES_PER_LUT:g} (half to four times as many) sink-weighted "
            "toggles per LUT and cycle, as shakespeare-up5k has on the iCEBreaker; memories and "
            "multipliers between a hundredth of the cycles and all",
        flip_flops=area.ff, sink_toggles=Range(share, share / 2, share * 4),
        block_ram_reads=up_to(area.block_ram), block_ram_writes=up_to(area.block_ram),
        spram_reads=up_to(area.spram), spram_writes=Range.exact(0.0),
        dsp_operations=up_to(area.dsp), pin_toggles=up_to(1.0))
