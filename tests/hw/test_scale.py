import random

from ternforge.core.scale import ScaleUnit
from ternforge.numerics import Ratio, scale
from ternforge_sim.bench import simulate


def test_scale_unit_equals_contract():
    rng = random.Random(1)
    tops = [1 << 15, (1 << 15) + 1, (1 << 16) - 1, 0xB504, 0xB505]
    cases = [(a, -30, b, -4) for a in tops for b in [*tops, 0, 1 << 14, (1 << 14) + 1]]
    cases += [(1 << 15, e, 1 << 15, f) for e in (-128, -62, -61, -15, -14, -8, 0, 127)
              for f in (-128, -8, -7, -1, 0, 127)]
    cases += [(rng.randrange(1 << 15, 1 << 16), rng.randrange(-64, 16),
               rng.randrange(1 << 14, 1 << 16), rng.randrange(-40, 9)) for _ in range(300)]
    dut, results, waits = ScaleUnit(), [], []

    async def bench(ctx):
        assert not ctx.get(dut.valid)
        for mantissa, exponent, row_mantissa, row_exponent in cases:
            ctx.set(dut.mantissa, mantissa)
            ctx.set(dut.exponent, exponent)
            ctx.set(dut.ratio, {"mantissa": row_mantissa, "exponent": row_exponent})
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            cycles = 1
            while not ctx.get(dut.valid):
                await ctx.tick()
                cycles += 1
            waits.append(cycles)
            result = ctx.get(dut.scale)
            results.append((result.mantissa, result.shift))
            await ctx.tick().repeat(rng.randint(1, 3))

    simulate(dut, bench)
    expected = [scale(a, e, Ratio(b, f)) for a, e, b, f in cases]
    assert results == [(s.mantissa, s.shift) for s in expected]
    assert max(waits) <= 6
