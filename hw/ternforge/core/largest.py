"""The largest magnitude of a vector, several elements at a time."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.numerics import VECTOR_BITS

__all__ = ["Largest"]


class Largest(wiring.Component):
    """Running ``max|v|``, kept as ones' complement and sign: ``|v| == magnitude + negative``.

    The magnitudes, then every level of comparisons and the maximum so far are registered: ``i``
    counts in ``largest`` after :attr:`latency` cycles. ``update`` goes with the last of these.
    """

    i: data.View
    clear: Signal
    update: Signal
    largest: Signal

    def __init__(self, elements: int):
        self.elements = elements
        self.latency = elements.bit_length() + 1
        super().__init__({"i": In(data.ArrayLayout(signed(VECTOR_BITS), elements)), "clear": In(1),
                          "update": In(1), "largest": Out(VECTOR_BITS)})

    def elaborate(self, platform):
        m = Module()
        pair = data.StructLayout({"negative": 1, "magnitude": VECTOR_BITS - 1})

        def exceeds(a, b):
            """``|a| > |b|``, or as large; in that case either will do."""
            return (a.magnitude + ~b.magnitude + a.negative)[VECTOR_BITS - 1]

        level = []
        for index in range(self.elements):
            view = Signal(pair, name=f"element_{index}", reset_less=True)
            negative = self.i[index][-1]
            m.d.sync += [
                view.negative.eq(negative),
                view.magnitude.eq(self.i[index][:-1] ^ negative.replicate(VECTOR_BITS - 1)),
            ]
            level.append(view)
        while len(level) > 1:
            winners = []
            for a, b in zip(level[::2], level[1::2], strict=True):
                winner = Signal(pair, name=f"winner_{len(level)}_{len(winners)}",
                                reset_less=True)
                m.d.sync += winner.eq(Mux(exceeds(a, b), a.as_value(), b.as_value()))
                winners.append(winner)
            level = winners

        best = Signal(pair)
        with m.If(self.clear):
            m.d.sync += best.eq(0)
        with m.Elif(self.update & exceeds(level[0], best)):
            m.d.sync += best.eq(level[0])
        m.d.comb += self.largest.eq(best.magnitude + best.negative)
        return m
