"""Beats that a memory is tested with."""

import random

from amaranth import *
from amaranth.lib import enum

from ..config import CoreConfig

__all__ = ["RANDOM_BEATS", "Pattern", "pattern"]

#: Beats of the random pattern: several bursts of any chip.
RANDOM_BEATS = 16


class Pattern(enum.Enum, shape=2):
    """What is written where."""

    RANDOM = 0  #: :data:`RANDOM_BEATS` random beats
    ONES = 1  #: a one in each bit of a beat in turn
    ADDRESS = 2  #: at 0 and each power of two, a beat that is nowhere else


def random_beats(width: int) -> list[int]:
    """The same on every run; neighbours differ in about half of their bits."""
    rng = random.Random(width)
    return [rng.getrandbits(width) for _ in range(RANDOM_BEATS)]


def pattern(m: Module, config: CoreConfig, kind: Value,
            number: Value) -> tuple[Value, Value, Value]:
    """Address and content of beat ``number`` of a :class:`Pattern`, and how many there are.

    Combinational.
    """
    width = config.beat_bits
    addresses = (config.memory_beats - 1).bit_length()
    place, content, count = Signal(24), Signal(width), Signal(range(max(width, 64) + 1))
    with m.Switch(kind):
        with m.Case(Pattern.RANDOM):
            m.d.comb += [place.eq(number[:4]), count.eq(RANDOM_BEATS)]
            with m.Switch(number[:4]):
                for index, beat in enumerate(random_beats(width)):
                    with m.Case(index):
                        m.d.comb += content.eq(beat)
        with m.Case(Pattern.ONES):
            m.d.comb += [place.eq(number), count.eq(width),
                         content.eq(Cat(number == bit for bit in range(width)))]
        with m.Default():
            m.d.comb += [place.eq(Cat(number == k + 1 for k in range(addresses))),
                         count.eq(1 + addresses),
                         content.eq(Cat(number[:8], ~number[:8]).replicate(-(-width // 16)))]
    return place, content, count
