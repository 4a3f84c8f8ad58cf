"""The delay line: what goes in comes out, so many cycles later."""

import random

import pytest

from ternforge.core.delay import DelayLine
from ternforge_sim.bench import simulate


@pytest.mark.parametrize("cycles", [3, 7, 8, 49])
def test_words_come_later(cycles):
    rng, dut, seen = random.Random(cycles), DelayLine(20, cycles), []
    words = [rng.getrandbits(20) for _ in range(200)]

    async def bench(ctx):
        for word in words:
            ctx.set(dut.i, word)
            seen.append(ctx.get(dut.o))
            await ctx.tick()

    simulate(dut, bench)
    assert seen[cycles:] == words[:-cycles]


def test_too_short():
    with pytest.raises(ValueError, match=r"^DelayLine cycles must be at least 3, not 2$"):
        DelayLine(8, 2)
