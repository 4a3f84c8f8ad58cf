"""A plain array of int8 multiply-accumulators: int8 weights, int8 activations, an adder tree."""

from amaranth import C, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Int8Array"]


class Int8Array(wiring.Component):
    """Sum of ``macs`` products of an int8 weight and an int8 code, added up row by row.

    One beat per cycle; never stalls. A register follows the products and each level of the tree, as
    in :class:`~ternforge.core.lanes.DotProduct` of the same speed.

    Parameters
    ----------
    macs : int
        Products per cycle; a power of two.
    dsp : bool
        Write products as ``*``, which synthesis gives to multiplier blocks; otherwise as the sum of
        the code's multiples by the bits of the weight, which it cannot.

    Attributes
    ----------
    latency : int
        Cycles from a beat on ``i`` to its sum on ``o``.

    Members
    -------
    i : :py:`In(stream.Signature(data.ArrayLayout(signed(8), macs), always_ready=True))`
        A beat of weights.
    codes : :py:`In(data.ArrayLayout(signed(8), macs))`
        The stationary codes; used in the cycle in which a beat is valid on ``i``.
    o : :py:`Out(stream.Signature(signed(...), always_ready=True))`
        The exact sum of the beat.
    """

    i: stream.Interface
    codes: data.View
    o: stream.Interface

    def __init__(self, macs: int, *, dsp: bool):
        if macs < 2 or macs & (macs - 1):
            raise ValueError(f"Int8Array macs must be a power of two, at least 2, not {macs}")
        self.macs, self.dsp = macs, dsp
        self.latency = macs.bit_length()
        vector = data.ArrayLayout(signed(8), macs)
        super().__init__({
            "i": In(stream.Signature(vector, always_ready=True)), "codes": In(vector),
            "o": Out(stream.Signature(signed(16 + self.latency - 1), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        nodes: list[Value] = []
        for index in range(self.macs):
            weight, code = self.i.p[index], self.codes[index]
            product = Signal(signed(16), name=f"product_{index}", reset_less=True)
            m.d.sync += product.eq(weight * code if self.dsp else _shifted_sum(weight, code))
            nodes.append(product)
        while len(nodes) > 1:
            sums = []
            for left, right in zip(nodes[0::2], nodes[1::2], strict=True):
                total = Signal(signed(len(left) + 1), reset_less=True)
                m.d.sync += total.eq(left + right)
                sums.append(total)
            nodes = sums
        valid = self.i.valid
        for stage in range(self.latency):
            following = Signal(name=f"valid_{stage}")
            m.d.sync += following.eq(valid)
            valid = following
        m.d.comb += [self.o.payload.eq(nodes[0]), self.o.valid.eq(valid)]
        return m


def _shifted_sum(weight: Value, code: Value) -> Value:
    """The product: the multiples of ``code`` by the bits of ``weight``, in a tree of adders."""
    terms = [Mux(weight[bit], code, C(0, signed(8))) << bit for bit in range(7)]
    terms.append(Mux(weight[7], -code, C(0, signed(8))) << 7)
    while len(terms) > 1:
        terms = [left + right for left, right in zip(terms[0::2], terms[1::2], strict=True)]
    return terms[0]
