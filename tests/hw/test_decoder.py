from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ternforge.core.decoder import TritDecoder
from ternforge.trits import DECODE
from ternforge_sim.bench import simulate


class Clocked(wiring.Component):
    """A decoder with registered outputs: the bench wants a clock."""

    byte: Signal
    nonzero: Signal
    sign: Signal

    def __init__(self):
        super().__init__({"byte": In(8), "nonzero": Out(5), "sign": Out(5)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = TritDecoder()
        m.d.comb += decoder.byte.eq(self.byte)
        m.d.sync += [self.nonzero.eq(decoder.nonzero), self.sign.eq(decoder.sign)]
        return m


def test_decoder_equals_table():
    dut, decoded = Clocked(), {}

    async def bench(ctx):
        for byte, trits in enumerate(DECODE):
            if trits is not None:
                ctx.set(dut.byte, byte)
                await ctx.tick()
                decoded[byte] = ctx.get(dut.nonzero), ctx.get(dut.sign)

    simulate(dut, bench)
    assert decoded == {
        byte: (sum((trit != 0) << k for k, trit in enumerate(trits)),
               sum((trit < 0) << k for k, trit in enumerate(trits)))
        for byte, trits in enumerate(DECODE) if trits is not None}
