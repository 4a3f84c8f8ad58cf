"""The row of the largest value."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .several import parts, several

__all__ = ["Argmax"]


class Argmax(wiring.Component):
    """Finds the first of the largest values in a sequence.

    ``count`` values per cycle; ``token`` counts them in the cycle after them, and ``latency``
    cycles later where they are several, of which the largest is found first, pair by pair.

    Parameters
    ----------
    bits : int
        Width of the signed values.
    count : int
        Values per cycle, a power of two.

    Attributes
    ----------
    latency : int
        ``log2(count)``.

    Members
    -------
    clear : :py:`In(1)`
        Strobe: begin a sequence. ``token`` is 0 until its first value.
    valid : :py:`In(1)`
        Take ``value``; not with ``clear``, nor less than ``latency`` cycles before it.
    value : :py:`In(several(signed(bits), count))`
        The first of a cycle lowest.
    token : :py:`Out(16)`
        Number of the largest value, from 0; holds until ``clear``.
    """

    clear: Signal
    valid: Signal
    value: Any  # signed(bits), or an array of them
    token: Signal

    def __init__(self, bits: int, count: int = 1):
        self.bits, self.count = bits, count
        self.latency = (count - 1).bit_length()
        super().__init__({"clear": In(1), "valid": In(1),
                          "value": In(several(signed(bits), count)), "token": Out(16)})

    def elaborate(self, platform):
        m = Module()
        below_best = Signal(signed(self.bits), reset_less=True)  # ~best is -best - 1
        row, empty = Signal(16), Signal()
        excess = Signal(signed(self.bits + 1))
        larger = Signal()
        value, index, valid = self._largest(m)
        m.d.comb += [excess.eq(value + below_best),
                     larger.eq(valid & (empty | ~excess[-1]))]
        with m.If(valid):
            m.d.sync += [row.eq(row + 1), empty.eq(0)]
        with m.If(larger):
            m.d.sync += [below_best.eq(~value), self.token.eq(Cat(index, row))]
        with m.If(self.clear):
            m.d.sync += [row.eq(0), empty.eq(1), self.token.eq(0)]
        return m

    def _largest(self, m: Module) -> tuple[Value, Value, Value]:
        """The first of the largest values of a cycle, its place among them, and ``valid``."""
        valid = self.valid
        found: list[tuple[Value, Value]] = [(value, C(0, 0))
                                            for value in parts(self.value, self.count)]
        while len(found) > 1:
            later, still = [], Signal(name=f"valid_of_{len(found)}")
            for pair in range(len(found) // 2):
                (first, place), (second, other) = found[2 * pair:2 * pair + 2]
                value = Signal(signed(self.bits), name=f"value_{len(found)}_{pair}",
                               reset_less=True)
                index = Signal(len(place) + 1, name=f"index_{len(found)}_{pair}", reset_less=True)
                m.d.sync += [value.eq(first), index.eq(place)]
                with m.If(second > first):
                    m.d.sync += [value.eq(second), index.eq(Cat(other, 1))]
                later.append((value, index))
            m.d.sync += still.eq(valid)
            found, valid = later, still
        return *found[0], valid
