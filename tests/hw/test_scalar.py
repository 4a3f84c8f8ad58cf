import random
import re

import pytest

from ternforge.core.scalar import ScalarUnit
from ternforge.numerics import normalise, ratio, reciprocal
from ternforge_sim.bench import simulate

EDGES = [(0, 0), (0, 5), (1, 0), (1, 1), (2, 1), (1, (1 << 42) - 1), (1 << 23, 0), (1 << 23, 1),
         (1 << 23, (1 << 42) - 1), ((1 << 23) - 1, 1 << 30), (0x7FFF80, (1 << 30) - 1),
         (0x8000, 1 << 31), (0xFFFF, (1 << 32) - 1), (0x10000, 1 << 32), (0xFFFE, 0x40000000),
         (1 << 23, 3), (3, 1 << 41), (127, 127 * 127)]


@pytest.mark.parametrize("sum_bits", [42, 46])
def test_scalar_unit_equals_contract(sum_bits):
    rng = random.Random(1)
    cases = EDGES + [(rng.randrange(1 << 23) >> rng.randrange(23),
                      rng.randrange(1 << sum_bits) >> rng.randrange(sum_bits)) for _ in range(60)]
    dut, results, waits = ScalarUnit(sum_bits), [], []

    async def bench(ctx):
        assert ctx.get(dut.ratio_valid)
        for largest, squares in cases:
            ctx.set(dut.largest, largest)
            ctx.set(dut.squares, squares)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.largest, rng.randrange(1 << 24))
            cycles = 1
            while not ctx.get(dut.reciprocal_valid):
                await ctx.tick()
                cycles += 1
            waits.append(cycles)
            ctx.set(dut.squares, rng.randrange(1 << sum_bits))
            results.append([ctx.get(dut.align), ctx.get(dut.reciprocal)])
            while not ctx.get(dut.ratio_valid):
                await ctx.tick()
            row = ctx.get(dut.ratio)
            results[-1] += [row.mantissa, row.exponent]

    simulate(dut, bench)
    expected = []
    for largest, squares in cases:
        top, row = normalise(largest), ratio(normalise(largest), squares)
        expected.append([top.exponent + 15, reciprocal(top), row.mantissa, row.exponent])
        if largest == 0:
            expected[-1][0] = results[len(expected) - 1][0]  # any will do
    assert results == expected
    assert all(wait <= 19 + 24 - largest.bit_length()
               for wait, (largest, _) in zip(waits, cases, strict=True))


def test_scalar_unit_rejects_odd_width():
    message = "ScalarUnit sum_bits must be an even integer of at least 32, not 41"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ScalarUnit(41)
