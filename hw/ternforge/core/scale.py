"""Scale of a matrix's rows: its constant factor times the ratio of the activations."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.core.scalar import RATIO
from ternforge.numerics import SCALE_BITS, SCALE_SHIFT_MAX

__all__ = ["SCALE", "ScaleUnit"]

#: Multiplier of the rescale stage: :class:`ternforge.numerics.Scale`
SCALE = data.StructLayout({"mantissa": SCALE_BITS, "shift": 6})

_DIGIT = 4  # bits of the ratio's mantissa per cycle


class ScaleUnit(wiring.Component):
    """Rescale multiplier of one MATVEC packet: ``ternforge.numerics.scale``.

    ``valid`` rises 6 cycles after ``start`` and stays until the next ``start``. Four digits of four
    bits are multiplied in four cycles, in one multiplier block where parts have them; then the
    product is normalised and the shift clipped.

    Members
    -------
    start : :py:`In(1)`
        The ratio and the header stand from here until ``valid``.
    mantissa : :py:`In(16)`
        Of the MATVEC header, in [2**15, 2**16).
    exponent : :py:`In(signed(8))`
        Of the MATVEC header.
    ratio : :py:`In(RATIO)`
        Mantissa 0, or in [2**14, 2**16). 0 gives scale (0, 0).
    scale : :py:`Out(SCALE)`
    valid : :py:`Out(1)`
    """

    start: Signal
    mantissa: Signal
    exponent: Signal
    ratio: data.View
    scale: data.View
    valid: Signal

    def __init__(self):
        super().__init__({
            "start": In(1),
            "mantissa": In(16),
            "exponent": In(signed(8)),
            "ratio": In(RATIO),
            "scale": Out(SCALE),
            "valid": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        steps = 16 // _DIGIT
        digits = Signal(16)
        product = Signal(16 + _DIGIT)  # without the digits below the last one
        count = Signal(range(steps + 1), init=steps)
        busy = Signal()

        # The product has 30 to 32 bits; of these, `product` holds all but the lowest 12.
        ahead = product[-1]
        behind = product[-2]
        total = Signal(signed(9))
        shift = Signal(signed(11))
        m.d.comb += [
            total.eq(self.exponent + self.ratio.exponent),
            shift.eq(-15 - Mux(ahead, 2, Mux(behind, 1, 0)) - total),
        ]

        with m.If(self.start):
            m.d.sync += [digits.eq(self.ratio.mantissa), product.eq(0), count.eq(0), busy.eq(1),
                         self.valid.eq(0)]
        with m.Elif(busy & (count != steps)):
            m.d.sync += [
                product.eq((product >> _DIGIT) + digits[:_DIGIT] * self.mantissa),
                digits.eq(digits >> _DIGIT),
                count.eq(count + 1),
            ]
        with m.Elif(busy):
            m.d.sync += [
                busy.eq(0),
                self.valid.eq(1),
                self.scale.mantissa.eq(Mux(ahead, product[5:20],
                                           Mux(behind, product[4:19], product[3:18]))),
                self.scale.shift.eq(Mux(
                    (shift < 0) | ~product.any(), 0,
                    Mux(shift > SCALE_SHIFT_MAX, SCALE_SHIFT_MAX, shift[:6]))),
            ]
        return m
