"""Sigmoid from a table of base and slope, with the alignment of its argument."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from ternforge.numerics import ACTIVATION_BITS, SIGMOID_FRACTION, SIGMOID_ONE, sigmoid_table

__all__ = ["Sigmoid"]

_MAGNITUDE_BITS = ACTIVATION_BITS - 1
_SEGMENT_BITS = 8
_FRACTION_BITS = _MAGNITUDE_BITS - _SEGMENT_BITS
_BASE_OFFSET = SIGMOID_ONE // 2
_BASE_BITS = SIGMOID_FRACTION - 1
_SLOPE_BITS = 10


class Sigmoid(wiring.Component):
    """``numerics.sigmoid(saturate(t << shift, 16))``.

    One value per cycle, :attr:`latency` cycles after ``t``; never stalls and carries no ``valid``.
    The table of 256 segments stands in one block RAM (two of the iCE40); slope times fraction takes
    one multiplier block. The result is exact and lies in 1..32767.

    No magnitude is formed. A negative argument stands ``128 - f`` above the left end of its
    segment, where ``f`` are the low seven bits as they are, so that

    - for ``t >= 0``, ``128 * s`` is ``128 * base + 64 + slope * f``,
    - for ``t < 0``, it is ``128 * (32767 - base) + 64 + 127 + slope * (f - 128)``,

    both rounded down. The segments meet (``base + slope`` is the next base) and the last one is
    flat, which covers the clip.

    =====  ==============================================
    cycle  what its registers take
    =====  ==============================================
    0      the table's address, and the fraction
    1      base and slope
    2      slope * fraction, and the base
    3      (combinational) their sum: ``s``
    =====  ==============================================

    Attributes
    ----------
    latency : int
        Cycles from ``t`` to ``s``: 3. An adder stands between the last register and ``s``.

    Members
    -------
    t : :py:`In(signed(16))`
        Argument with ``11 - shift`` fraction bits.
    shift : :py:`In(3)`
        Left shift of the argument, saturating; held while values are under way.
    s : :py:`Out(15)`
        Result, Q0.15.
    """

    latency = 3

    t: Signal
    shift: Signal
    s: Signal

    def __init__(self):
        super().__init__({"t": In(signed(ACTIVATION_BITS)), "shift": In(3),
                          "s": Out(SIGMOID_FRACTION)})

    def elaborate(self, platform):
        m = Module()
        assert sigmoid_table()[-1][1] == 0
        m.submodules.table = table = memory.Memory(
            shape=_BASE_BITS + _SLOPE_BITS, depth=1 << _SEGMENT_BITS, attrs={"ram_style": "block"},
            init=[slope << _BASE_BITS | (base - _BASE_OFFSET) for base, slope in sigmoid_table()])
        read = table.read_port()
        negative = Signal(3, reset_less=True)
        m.d.sync += negative.eq(Cat(self.t[-1], negative))

        # Cycle 0: shift one's complement magnitudes; any bit lost sets the whole address.
        sign = self.t[-1]
        shifted = self.t[:_MAGNITUDE_BITS] ^ sign.replicate(_MAGNITUDE_BITS)
        raw, overflow = self.t[:_FRACTION_BITS], C(0, 1)
        for bit in reversed(range(len(self.shift))):
            amount = 1 << bit
            overflow = overflow | (self.shift[bit] & shifted[-amount:].any())
            moved = Cat(sign.replicate(amount), shifted[:-amount])
            shifted = Mux(self.shift[bit], moved, shifted)
            raw = Mux(self.shift[bit], raw << amount, raw)[:_FRACTION_BITS]
        fraction = Signal(_FRACTION_BITS, reset_less=True)
        m.d.comb += read.addr.eq(shifted[_FRACTION_BITS:_MAGNITUDE_BITS]
                                 | overflow.replicate(_SEGMENT_BITS))
        m.d.sync += fraction.eq(raw)

        # Cycle 1: out of the table.
        base, slope = Signal(_BASE_BITS, reset_less=True), Signal(_SLOPE_BITS, reset_less=True)
        factor = Signal(_FRACTION_BITS, reset_less=True)
        m.d.sync += [base.eq(read.data[:_BASE_BITS] ^ negative[0].replicate(_BASE_BITS)),
                     slope.eq(read.data[_BASE_BITS:]), factor.eq(fraction)]

        # Cycle 2: f, or f - 128 if negative, is the fraction with the sign above it. The base
        # counts from one half, so its complement counts down from there.
        minus = negative[1]
        product = Signal(signed(_SLOPE_BITS + 1 + _FRACTION_BITS + 1), reset_less=True)
        end = Signal(_MAGNITUDE_BITS, reset_less=True)
        m.d.sync += [
            product.eq(Cat(slope, C(0, 1)).as_signed() * Cat(factor, minus).as_signed()),
            end.eq(Cat(base, ~minus) + minus),
        ]

        # Cycle 3: below the base, the half that rounds, less one if negative.
        minus = negative[2]
        half = Cat(minus.replicate(_FRACTION_BITS - 1), ~minus)
        total = Signal(_FRACTION_BITS + _MAGNITUDE_BITS)
        m.d.comb += [total.eq(Cat(half, end) + product), self.s.eq(total[_FRACTION_BITS:])]
        return m
