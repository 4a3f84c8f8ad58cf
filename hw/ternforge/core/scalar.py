"""Sequential divider and integer square root behind the quantiser."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.numerics import CODE_MAX, VECTOR_BITS

__all__ = ["RATIO", "ScalarUnit"]

#: ``max|v| / sqrt(sum of squares)``: :class:`ternforge.numerics.Ratio`
RATIO = data.StructLayout({"mantissa": 16, "exponent": signed(8)})


class ScalarUnit(wiring.Component):
    """Reciprocal of the largest magnitude, then its ratio to the root of a sum of squares.

    One bit per cycle through one subtractor: ``reciprocal`` is valid 18 cycles after
    ``start`` plus one for each leading zero of ``largest``, ``ratio`` 35 to 56 cycles later.
    ``start`` is ignored until ``ratio`` is valid. All results are the floors that
    :mod:`ternforge.numerics` defines and cannot overflow.

    Parameters
    ----------
    sum_bits : int
        Width of the sum of squares, at least 32; even.

    Members
    -------
    start : :py:`In(1)`
    largest : :py:`In(24)`
        ``max|v|``; taken with ``start``.
    squares : :py:`In(sum_bits)`
        Sum of squares; taken 16 cycles after ``start`` or later, so that it may be finished later.
    align : :py:`Out(5)`
        The exponent of ``largest`` plus 15, with ``reciprocal``: ``(v << 15) >> align`` aligns
        ``v`` with the mantissa of ``largest``.
    reciprocal : :py:`Out(16)`
    reciprocal_valid : :py:`Out(1)`
        From the first result until the next ``start``.
    ratio : :py:`Out(RATIO)`
    ratio_valid : :py:`Out(1)`
        From the last result until the next ``start``; high after reset.
    """

    start: Signal
    largest: Signal
    squares: Signal
    align: Signal
    reciprocal: Signal
    reciprocal_valid: Signal
    ratio: data.View
    ratio_valid: Signal

    def __init__(self, sum_bits: int):
        if not isinstance(sum_bits, int) or sum_bits < 32 or sum_bits % 2:
            raise ValueError("ScalarUnit sum_bits must be an even integer of at least 32, "
                             f"not {sum_bits!r}")
        self.sum_bits = sum_bits
        super().__init__({
            "start": In(1),
            "largest": In(VECTOR_BITS),
            "squares": In(sum_bits),
            "align": Out(5),
            "reciprocal": Out(16),
            "reciprocal_valid": Out(1),
            "ratio": Out(RATIO),
            "ratio_valid": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        # Both operands are normalised by shifting left; the exponents count down meanwhile.
        largest = Signal(VECTOR_BITS, reset_less=True)
        squares = Signal(self.sum_bits, reset_less=True)
        half = Signal(signed(6))

        # One bit per cycle: is `work` at least `subtrahend`? The square root brings in two bits
        # of the radicand, `pair`; its trial subtrahend is (root << 2) + 1, of which the low part
        # is `borrow`.
        work = Signal(17, reset_less=True)
        root = Signal(16, reset_less=True)  # divisor, or square root so far
        rooting = Signal()
        pair = squares[-2:]
        borrow = rooting & ~pair.any()
        difference = Signal(18)
        enough = Signal()
        rest = Signal(17)
        m.d.comb += [
            difference.eq(Cat(work, C(1, 1)) - root - borrow),
            enough.eq(difference[-1]),
            rest.eq(Mux(enough, difference[:17], work)),
        ]
        low = Mux(enough, Cat(~pair[0], ~(pair[0] ^ pair[1])), pair)  # pair - 1
        step = Signal(4)
        pending = Signal()
        m.d.comb += self.ratio_valid.eq(~pending)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        self.align.eq(VECTOR_BITS - 1),
                        self.reciprocal_valid.eq(0),
                        pending.eq(1),
                    ]
                    m.next = "NORMALISE"
            with m.State("NORMALISE"):
                # 127 << 24 in 31 bits; the quotient has 16, so the first 15 fit the divisor
                m.d.sync += [work.eq(CODE_MAX << 9), root.eq(largest[-16:]), step.eq(0)]
                with m.If(largest[-1]):
                    m.next = "RECIPROCAL"
                with m.Elif(self.align == 0):  # nothing came up: largest is 0
                    m.d.sync += [self.reciprocal.eq(0), self.reciprocal_valid.eq(1)]
                    m.next = "ZERO"
                with m.Else():
                    m.d.sync += self.align.eq(self.align - 1)
            with m.State("RECIPROCAL"):
                m.d.sync += [
                    work.eq(rest << 1),
                    self.reciprocal.eq(Cat(enough, self.reciprocal)),
                    half.eq((self.sum_bits - 32) // 2),
                    step.eq(step + 1),
                ]
                with m.If(step == 15):
                    m.d.sync += self.reciprocal_valid.eq(1)
                    m.next = "RADICAND"
            with m.State("RADICAND"):
                m.d.sync += [work.eq(0), root.eq(0)]
                with m.If(pair.any()):
                    m.d.sync += rooting.eq(1)
                    m.next = "ROOT"
                with m.Elif(half == -15):  # squares is 0
                    m.next = "ZERO"
                with m.Else():
                    m.d.sync += half.eq(half - 1)
            with m.State("ROOT"):
                m.d.sync += [
                    work.eq(Cat(low, rest)),
                    root.eq(Cat(enough, root)),
                    step.eq(step + 1),
                ]
                with m.If(step == 15):
                    m.d.sync += [rooting.eq(0), work.eq(largest[-16:])]
                    m.next = "RATIO"
            with m.State("RATIO"):
                m.d.sync += [
                    work.eq(rest << 1),
                    self.ratio.mantissa.eq(Cat(enough, self.ratio.mantissa)),
                    self.ratio.exponent.eq(self.align - half - 30),
                    step.eq(step + 1),
                ]
                with m.If(step == 15):
                    m.d.sync += pending.eq(0)
                    m.next = "IDLE"
            with m.State("ZERO"):
                m.d.sync += [self.ratio.eq(0), pending.eq(0)]
                m.next = "IDLE"

        # Both registers are loaded until their shifting begins: one table of four inputs per bit.
        normalising, radicand = fsm.ongoing("NORMALISE"), fsm.ongoing("RADICAND")
        with m.If(fsm.ongoing("IDLE") | normalising & ~largest[-1]):
            m.d.sync += largest.eq(Mux(normalising, largest << 1, self.largest))
        with m.If(~(radicand & pair.any())):
            m.d.sync += squares.eq(Mux(radicand | fsm.ongoing("ROOT"), squares << 2, self.squares))
        return m
