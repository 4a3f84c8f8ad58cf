"""Sigmoid and SiLU of one value."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ternforge.core.sigmoid import Sigmoid
from ternforge.numerics import ACTIVATION_BITS, SIGMOID_FRACTION, SIGMOID_ONE

__all__ = ["Activation"]


class Activation(wiring.Component):
    """``numerics.sigmoid`` of an aligned argument, then ``numerics.silu``.

    One value per cycle, :attr:`sigmoid_latency` and :attr:`silu_latency` cycles after ``t``; never
    stalls and carries no ``valid``. One signed multiplier of 16 bits, whose sum rounds.

    Attributes
    ----------
    sigmoid_latency, silu_latency : int
        Cycles from ``t`` to ``sigmoid`` (3) and ``silu`` (6).

    Members
    -------
    t : :py:`In(signed(16))`
        Argument with ``11 - shift`` fraction bits.
    shift : :py:`In(3)`
        Left shift of the sigmoid's argument, saturating; held while values are under way.
    sigmoid_only : :py:`In(1)`
        ``silu`` is not wanted and is undefined; held like ``shift``.
    sigmoid : :py:`Out(15)`
        Q0.15; two adders stand between the last register and here.
    silu : :py:`Out(signed(16))`
        ``rnd(t * sigmoid, 15)``; cannot overflow.
    """

    sigmoid_latency = Sigmoid.latency
    silu_latency = Sigmoid.latency + 3

    t: Signal
    shift: Signal
    sigmoid_only: Signal
    sigmoid: Signal
    silu: Signal

    def __init__(self):
        super().__init__({"t": In(signed(ACTIVATION_BITS)), "shift": In(3), "sigmoid_only": In(1),
                          "sigmoid": Out(SIGMOID_FRACTION), "silu": Out(signed(ACTIVATION_BITS))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sigmoid = sigmoid = Sigmoid()
        m.d.comb += [sigmoid.t.eq(self.t), sigmoid.shift.eq(self.shift),
                     self.sigmoid.eq(sigmoid.s)]
        t = self.t
        for cycle in range(Sigmoid.latency + 1):
            later = Signal(signed(ACTIVATION_BITS), name=f"t_{cycle}", reset_less=True)
            m.d.sync += later.eq(t)
            t = later

        # Yosys moves registers and sum into a multiplier block only if no bit of them is constant
        # or idle: so the sign of s and the last bit of the rounding constant are set where nobody
        # looks, and silu ends with the top bit, which equals the one below.
        s = Signal(signed(ACTIVATION_BITS), reset_less=True)
        product = Signal(signed(2 * ACTIVATION_BITS), reset_less=True)
        rounded = Signal.like(product)
        half = Cat(self.sigmoid_only, C(0, SIGMOID_FRACTION - 2), ~self.sigmoid_only)
        assert len(half) == (SIGMOID_ONE // 2).bit_length()
        m.d.sync += [s.eq(Cat(sigmoid.s, self.sigmoid_only)), product.eq(t * s),
                     rounded.eq(product + half)]
        m.d.comb += self.silu.eq(Cat(rounded[SIGMOID_FRACTION:-2], rounded[-1]))
        return m
