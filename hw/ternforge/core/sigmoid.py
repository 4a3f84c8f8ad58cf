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


def _gated_add(total: Value, factor: Value, gate: Value) -> Value:
    """``total + factor`` if ``gate``, else ``total``: one logic cell per bit of the iCE40."""
    width = max(len(total), len(factor)) + 1
    return Mux(gate, total + factor, total)[:width]


def _multiply_add(total: Value, factor: Value, bits: Value) -> Value:
    """``total + factor * bits`` without a multiplier block, row by row."""
    for index in range(len(bits)):
        total = Cat(total[:index], _gated_add(total[index:], factor, bits[index]))
    return total


class Sigmoid(wiring.Component):
    """``numerics.sigmoid(saturate(t << shift, 16))``.

    One value per cycle, :attr:`latency` cycles after ``t``; never stalls and carries no ``valid``.
    The table of 256 segments stands in one block RAM (two of the iCE40); slope times fraction is
    made of adders, no multiplier block. The result is exact and lies in 1..32767.

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
    2      slope * fraction in three parts
    3      (combinational) their sum with the base: ``s``
    =====  ==============================================

    Attributes
    ----------
    latency : int
        Cycles from ``t`` to ``s``: 3. Two adders stand between the last register and ``s``.

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

        # Cycle 2: 127 if negative, plus slope * fraction; less slope * 128 if negative.
        minus = negative[1]
        parts = (_multiply_add(minus.replicate(_FRACTION_BITS), slope, factor[:2]),
                 _multiply_add(C(0, 1), slope, factor[2:5]),
                 _multiply_add(C(0, 1), slope, factor[5:]))
        low = Signal(len(parts[0]), reset_less=True)
        middle = Signal(len(parts[1]), reset_less=True)
        high = Signal(signed(len(parts[2]) + 1), reset_less=True)
        later = Signal.like(base)
        top = parts[2][2:]
        m.d.sync += [low.eq(parts[0]), middle.eq(parts[1]), later.eq(base),
                     high.eq(Cat(parts[2][:2], Mux(minus, top - slope, top)))]

        # Cycle 3: the half that rounds stands below the base. The base counts from one half, so
        # its complement counts down from there.
        half = C(1 << _FRACTION_BITS >> 1, _FRACTION_BITS)
        small = Cat(low[:2], low[2:] + middle)
        large = Signal(_FRACTION_BITS + _MAGNITUDE_BITS)
        total = Signal.like(large)
        m.d.comb += [
            large.eq(Cat(half[:5], Cat(half[5:], later, ~negative[2]) + high)),
            total.eq(large + small),
            self.s.eq(total[_FRACTION_BITS:]),
        ]
        return m
