"""A plain array of int8 multiply-accumulators: int8 weights, int8 activations, an adder tree."""

from collections.abc import Sequence

from amaranth import Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Int8Array"]


class Int8Array(wiring.Component):
    """Sum of ``macs`` products of an int8 weight and an int8 code, added up row by row.

    One beat per cycle; never stalls. A register follows each product and each level of adders.

    Parameters
    ----------
    macs : int
        Products per cycle; a power of two.
    dsp : bool
        Write products as ``*``, which synthesis gives to multiplier blocks; otherwise as a tree of
        adders for the code's multiples by the bits of the weight, which takes half of the tables
        that Yosys 0.70 makes of ``*`` without multiplier blocks.
    keep : bool
        Keep the registers of products out of the multiplier blocks: where two are added,
        ``ice40_dsp`` of Yosys 0.70 otherwise loses an addend.

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

    def __init__(self, macs: int, *, dsp: bool, keep: bool = False):
        if macs < 2 or macs & (macs - 1):
            raise ValueError(f"Int8Array macs must be a power of two, at least 2, not {macs}")
        self.macs, self.dsp, self.keep = macs, dsp, keep
        self.latency = macs.bit_length() + (0 if dsp else 2)
        vector = data.ArrayLayout(signed(8), macs)
        super().__init__({
            "i": In(stream.Signature(vector, always_ready=True)), "codes": In(vector),
            "o": Out(stream.Signature(signed(15 + macs.bit_length()), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()

        def register(value: Value, name: str = "s") -> Signal:
            s = Signal(value.shape(), reset_less=True, name=name)
            m.d.sync += s.eq(value)
            return s

        def total(nodes: Sequence[Value]) -> Value:
            while len(nodes) > 1:
                nodes = [register(left + right)
                         for left, right in zip(nodes[0::2], nodes[1::2], strict=True)]
            return nodes[0]

        def product(weight: Value, code: Value) -> Value:
            if self.dsp:
                return register(weight * code, "kept_product" if self.keep else "s")
            parts = [(code.as_unsigned() & weight[bit].replicate(8)).as_signed()
                     for bit in range(8)]
            return total([register((even + (odd << 1)) << bit)
                          for bit, even, odd in zip((0, 2, 4), parts[0::2], parts[1::2],
                                                    strict=False)]
                         + [register((parts[6] - (parts[7] << 1)) << 6)])

        products = [product(self.i.p[index], self.codes[index]) for index in range(self.macs)]
        m.d.comb += self.o.payload.eq(total(products))
        valid = self.i.valid
        for stage in range(self.latency):
            following = Signal(name=f"valid_{stage}")
            m.d.sync += following.eq(valid)
            valid = following
        m.d.comb += self.o.valid.eq(valid)
        return m
