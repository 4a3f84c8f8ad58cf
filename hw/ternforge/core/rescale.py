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
    """``saturate(rnd(acc * mantissa, shift))``, or ``saturate(acc)``, to 24 and to 16 bits.

    One row per cycle, :attr:`latency` cycles after ``acc``; never stalls and carries no ``valid``.
    One unsigned multiplier for magnitude times mantissa: one block as long as the magnitude has no
    more bits than the block. Exact for every accumulator, scale and shift.

    A negative product is ``~(n * m + m - 1)`` with ``n = ~acc``, so that no carry chain stands
    before the multiplier and the one behind it can be the block's own.

    =====  ==========================================
    cycle  what its registers take
    =====  ==========================================
    0      one's complement magnitude, mantissa, sign
    1      product
    2      plus ``m - 1`` if negative
    3..5   :class:`RoundShift`
    =====  ==========================================

    Parameters
    ----------
    config : :class:`CoreConfig`
        Accumulator width, at most 24 bits.

    Attributes
    ----------
    latency : int
        Cycles from ``acc`` to the results: 6. The clip to 16 bits is combinational behind the last
        register.

    Members
    -------
    acc : :py:`In(signed(config.acc_bits))`
    scaled : :py:`In(1)`
        Multiply; held while rows are under way, as is ``scale``.
    scale : :py:`In(SCALE)`
        Mantissa, in [2**15, 2**16) or 0, and shift.
    wide : :py:`Out(signed(24))`
        Result of 24 bits.
    wide_saturated : :py:`Out(1)`
        ``wide`` was clipped.
    narrow : :py:`Out(signed(16))`
        Result of 16 bits.
    narrow_saturated : :py:`Out(1)`
        ``narrow`` was clipped.
    """

    latency = 6

    acc: Signal
    scaled: Signal
    scale: data.View
    wide: Signal
    wide_saturated: Signal
    narrow: Signal
    narrow_saturated: Signal

    def __init__(self, config: CoreConfig):
        if config.acc_bits > VECTOR_BITS:
            raise ValueError(f"Rescale config.acc_bits must be at most {VECTOR_BITS}, "
                             f"not {config.acc_bits}")
        self.config = config
        super().__init__({
            "acc": In(signed(config.acc_bits)), "scaled": In(1), "scale": In(SCALE),
            "wide": Out(signed(VECTOR_BITS)), "wide_saturated": Out(1),
            "narrow": Out(signed(ACTIVATION_BITS)), "narrow_saturated": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        mantissa = Signal(16)
        m.d.comb += mantissa.eq(Mux(self.scaled, self.scale.mantissa, 1))

        # Cycle 0. With a mantissa of 0 the sign is dropped, or -0 would become -1.
        magnitude = Signal(self.config.acc_bits - 1, reset_less=True)
        factor = Signal(16, reset_less=True)
        negative = Signal(3, reset_less=True)
        m.d.sync += [
            magnitude.eq(self.acc ^ self.acc[-1].replicate(len(self.acc))),
            factor.eq(mantissa),
            negative.eq(Cat(self.acc[-1] & (~self.scaled | self.scale.mantissa[-1]), negative)),
        ]

        # Cycle 1 and 2.
        product = Signal(len(magnitude) + len(factor), reset_less=True)
        correction = Signal(len(factor), reset_less=True)
        corrected = Signal.like(product)
        m.d.sync += [product.eq(magnitude * factor),
                     correction.eq(Mux(negative[0], mantissa - 1, 0)),
                     corrected.eq(product + correction)]

        m.submodules.round = round_ = RoundShift(len(product) + 1, VECTOR_BITS)
        sign = negative[2]
        m.d.comb += [
            round_.value.eq(Cat(corrected ^ sign.replicate(len(corrected)), sign).as_signed()),
            round_.shift.eq(Mux(self.scaled, self.scale.shift, 0)),
            self.wide.eq(round_.result), self.wide_saturated.eq(round_.saturated),
        ]
        above = self.wide[ACTIVATION_BITS - 1:]
        clip = Signal()
        top = (1 << (ACTIVATION_BITS - 1)) - 1
        m.d.comb += [
            clip.eq(above.any() & ~above.all()), self.narrow_saturated.eq(clip),
            self.narrow.eq(Mux(clip, Mux(self.wide[-1], ~top, top), self.wide[:ACTIVATION_BITS])),
        ]
        return m
