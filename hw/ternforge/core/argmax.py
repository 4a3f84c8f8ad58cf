"""The row of the largest value."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Argmax"]


class Argmax(wiring.Component):
    """Finds the first of the largest values in a sequence.

    One value per cycle; ``token`` counts a value in the cycle after it.

    Parameters
    ----------
    bits : int
        Width of the signed values.

    Members
    -------
    clear : :py:`In(1)`
        Strobe: begin a sequence. ``token`` is 0 until its first value.
    valid : :py:`In(1)`
        Take ``value``; not with ``clear``.
    value : :py:`In(signed(bits))`
    token : :py:`Out(16)`
        Number of the largest value, from 0; holds until ``clear``.
    """

    clear: Signal
    valid: Signal
    value: Signal
    token: Signal

    def __init__(self, bits: int):
        self.bits = bits
        super().__init__({"clear": In(1), "valid": In(1), "value": In(signed(bits)),
                          "token": Out(16)})

    def elaborate(self, platform):
        m = Module()
        below_best = Signal(signed(self.bits), reset_less=True)  # ~best is -best - 1
        row, empty = Signal(16), Signal()
        excess = Signal(signed(self.bits + 1))
        larger = Signal()
        m.d.comb += [excess.eq(self.value + below_best),
                     larger.eq(self.valid & (empty | ~excess[-1]))]
        with m.If(self.valid):
            m.d.sync += [row.eq(row + 1), empty.eq(0)]
        with m.If(larger):
            m.d.sync += [below_best.eq(~self.value), self.token.eq(row)]
        with m.If(self.clear):
            m.d.sync += [row.eq(0), empty.eq(1), self.token.eq(0)]
        return m
