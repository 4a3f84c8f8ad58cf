"""Turns exact accumulators into activations: times a scale, rounded, clipped."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.numerics import ACTIVATION_BITS, VECTOR_BITS

from .multiply import RoundShift
from .scale import SCALE

__all__ = ["Rescale"]


class Rescale(wiring.Component):
    """``saturate(rnd(acc * mantissa, shift), 24)``, or ``acc``.

    One row per cycle, :attr:`latency` cycles after ``acc``; never stalls and carries no ``valid``.
    One unsigned multiplier for magnitude times mantissa: one block as long as the magnitude has no
    more bits than the block. Exact for every accumulator, scale and shift.

    A negative product ``-p`` is taken as the complement of ``p - 1``, so that the sum behind the
    multiplier has no carry of its own and fits into the multiplier block.

    =====  ==========================
    cycle  what its registers take
    =====  ==========================
    0      magnitude, mantissa, sign
    1      product
    2      less one if negative
    3..5   :class:`RoundShift`
    =====  ==========================

    Parameters
    ----------
    config : :class:`CoreConfig`
        Accumulator width, at most 24 bits.

    Attributes
    ----------
    latency : int
        Cycles from ``acc`` to the result: 6.

    Members
    -------
    acc : :py:`In(signed(config.acc_bits))`
        Accumulator; not the most negative number of its width, which no row can reach.
    scaled : :py:`In(1)`
        Multiply; held while rows are under way, as is ``scale``.
    scale : :py:`In(SCALE)`
        Mantissa, in [2**15, 2**16) or 0, and shift.
    wide : :py:`Out(signed(24))`
        Result of 24 bits.
    wide_saturated : :py:`Out(1)`
        ``wide`` was clipped.
    narrow_saturated : :py:`Out(1)`
        ``wide`` exceeds 16 bits, also if it was clipped itself.
    """

    latency = 6

    acc: Signal
    scaled: Signal
    scale: data.View
    wide: Signal
    wide_saturated: Signal
    narrow_saturated: Signal

    def __init__(self, config: CoreConfig):
        if config.acc_bits > VECTOR_BITS:
            raise ValueError(f"Rescale config.acc_bits must be at most {VECTOR_BITS}, "
                             f"not {config.acc_bits}")
        self.config = config
        super().__init__({
            "acc": In(signed(config.acc_bits)), "scaled": In(1), "scale": In(SCALE),
            "wide": Out(signed(VECTOR_BITS)), "wide_saturated": Out(1),
            "narrow_saturated": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        mantissa = Signal(16)
        m.d.comb += mantissa.eq(Mux(self.scaled, self.scale.mantissa, 1))

        # Cycle 0. With a mantissa of 0 the sign is dropped, or -0 would become -1.
        magnitude = Signal(self.config.acc_bits - 1, reset_less=True)
        factor = Signal(16, reset_less=True)
        negative = Signal(3, reset_less=True)
        below = self.acc[-1]
        m.d.sync += [
            magnitude.eq(Mux(below, ~(self.acc - 1), self.acc)),
            factor.eq(mantissa),
            negative.eq(Cat(below & (~self.scaled | self.scale.mantissa[-1]), negative)),
        ]

        # Cycle 1 and 2.
        product = Signal(len(magnitude) + len(factor), reset_less=True)
        corrected = Signal.like(product)
        m.d.sync += [product.eq(magnitude * factor),
                     corrected.eq(product + negative[1].replicate(len(product)))]

        shift = Signal(6)
        m.d.sync += shift.eq(Mux(self.scaled, self.scale.shift, 0))
        m.submodules.round = round_ = RoundShift(len(product) + 1, VECTOR_BITS)
        sign = negative[2]
        m.d.comb += [
            round_.value.eq(Cat(corrected ^ sign.replicate(len(corrected)), sign).as_signed()),
            round_.shift.eq(shift),
            self.wide.eq(round_.result), self.wide_saturated.eq(round_.saturated),
        ]
        above = self.wide[ACTIVATION_BITS - 1:]
        m.d.comb += self.narrow_saturated.eq(above.any() & ~above.all())
        return m
