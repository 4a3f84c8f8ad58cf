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


def _gated_product(factor: Value, bits: Value) -> Value:
    """``factor * bits`` as a row of conditional additions: one logic cell per bit of each."""
    total: Value = Cat(Mux(bits[0], factor, 0), C(0, 1))
    for index in range(1, len(bits)):
        high = total[index:]
        total = Cat(total[:index], Mux(bits[index], high + factor, high)[:len(factor) + 1])
    return total


class Sigmoid(wiring.Component):
    """``numerics.sigmoid(saturate(t << shift, 16))`` or its complement to one.

    One value per cycle, :attr:`latency` cycles after ``t``; never stalls and carries no ``valid``.
    The table of 256 segments stands in one block RAM (two of the iCE40); slope times fraction is
    made of adders, no multiplier block. The result is exact and lies in 1..32767.

    =====  ==========================================================
    cycle  what its registers take
    =====  ==========================================================
    0      magnitude of ``t``
    1      aligned magnitude: the table's address, and the fraction
    2      base and slope
    3      slope * fraction in two parts
    4      base + rounded product
    5      (combinational) negated if the result belongs below one half
    =====  ==========================================================

    Attributes
    ----------
    latency : int
        Cycles from ``t`` to ``s``: 5. A sum of 15 bits stands between the last register and ``s``.

    Members
    -------
    t : :py:`In(signed(16))`
        Argument with ``11 - shift`` fraction bits.
    shift : :py:`In(3)`
        Left shift of the argument, saturating; held while values are under way.
    complement : :py:`In(1)`
        Give ``32768 - sigmoid`` instead; held like ``shift``.
    s : :py:`Out(15)`
        Result, Q0.15.
    """

    latency = 5

    t: Signal
    shift: Signal
    complement: Signal
    s: Signal

    def __init__(self):
        super().__init__({"t": In(signed(ACTIVATION_BITS)), "shift": In(3), "complement": In(1),
                          "s": Out(SIGMOID_FRACTION)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = memory.Memory(
            shape=_BASE_BITS + _SLOPE_BITS, depth=1 << _SEGMENT_BITS, attrs={"ram_style": "block"},
            init=[slope << _BASE_BITS | (base - _BASE_OFFSET) for base, slope in sigmoid_table()])
        read = table.read_port()

        # The sign goes along; the complement of sigmoid(t) is sigmoid(-t).
        negative = Signal(5)
        m.d.sync += negative.eq(Cat(self.t[-1] ^ self.complement, negative))

        # Cycle 0: magnitude, up to 2**15.
        magnitude = Signal(ACTIVATION_BITS, reset_less=True)
        m.d.sync += magnitude.eq(Mux(self.t[-1], -self.t, self.t))

        # Cycle 1: shift; set all bits if one of those shifted out, or the sign bit, is set.
        shifted, overflow = magnitude[:_MAGNITUDE_BITS], magnitude[-1]
        for bit in reversed(range(len(self.shift))):
            amount = 1 << bit
            overflow = overflow | (self.shift[bit] & shifted[-amount:].any())
            moved = Cat(C(0, amount), shifted[:-amount])
            shifted = Mux(self.shift[bit], moved, shifted)
        aligned = Signal(_MAGNITUDE_BITS)
        fraction = Signal(_FRACTION_BITS, reset_less=True)
        m.d.comb += [aligned.eq(shifted | overflow.replicate(_MAGNITUDE_BITS)),
                     read.addr.eq(aligned[_FRACTION_BITS:])]
        m.d.sync += fraction.eq(aligned[:_FRACTION_BITS])

        # Cycle 2: out of the table.
        base, slope = Signal(_BASE_BITS, reset_less=True), Signal(_SLOPE_BITS, reset_less=True)
        factor = Signal(_FRACTION_BITS, reset_less=True)
        m.d.sync += [Cat(base, slope).eq(read.data), factor.eq(fraction)]

        # Cycle 3: slope * fraction, low and high bits of the fraction apart.
        cut = 4
        low = Signal(_SLOPE_BITS + cut, reset_less=True)
        high = Signal(_SLOPE_BITS + _FRACTION_BITS - cut, reset_less=True)
        base_later = Signal.like(base)
        m.d.sync += [low.eq(_gated_product(slope, factor[:cut])),
                     high.eq(_gated_product(slope, factor[cut:])), base_later.eq(base)]

        # Cycle 4: the half that rounds stands below the base.
        half = C(1 << _FRACTION_BITS >> 1, _FRACTION_BITS)
        product = Signal(_SLOPE_BITS + _FRACTION_BITS)
        total = Signal(_FRACTION_BITS + _MAGNITUDE_BITS)
        s = Signal(_MAGNITUDE_BITS, reset_less=True)
        m.d.comb += [product.eq(Cat(low[:cut], high + low[cut:])),
                     total.eq(Cat(half, base_later) + product)]
        m.d.sync += s.eq(total[_FRACTION_BITS:])

        # Cycle 5: base counts from one half; modulo 2**15, 32768 - s is -s.
        half_up = s + _BASE_OFFSET
        m.d.comb += self.s.eq(Mux(negative[-1], -half_up, half_up))
        return m
