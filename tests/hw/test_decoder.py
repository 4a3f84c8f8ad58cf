import pytest
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

    def __init__(self, masked):
        self.masked = masked
        super().__init__({"byte": In(8), "nonzero": Out(5), "sign": Out(5)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = TritDecoder(masked=self.masked)
        m.d.comb += decoder.byte.eq(self.byte)
        m.d.sync += [self.nonzero.eq(decoder.nonzero), self.sign.eq(decoder.sign)]
        return m


@pytest.mark.parametrize("masked", [True, False])
def test_decoder_equals_table(masked):
    dut, decoded = Clocked(masked), {}

    async def bench(ctx):
        for byte, trits in enumerate(DECODE):
            if trits is not None:
                ctx.set(dut.byte, byte)
                await ctx.tick()
                nonzero = ctx.get(dut.nonzero)
                decoded[byte] = nonzero, ctx.get(dut.sign) & (-1 if masked else nonzero)

    simulate(dut, bench)
    assert decoded == {
        byte: (sum((trit != 0) << k for k, trit in enumerate(trits)),
               sum((trit < 0) << k for k, trit in enumerate(trits)))
        for byte, trits in enumerate(DECODE) if trits is not None}
