"""The largest of a sequence, several values at a time: the first of equals, and nothing before."""

import random

import pytest

from ternforge.core.argmax import Argmax
from ternforge_sim.bench import simulate

BITS = 6


def sequences(rng: random.Random, count: int):
    """Groups of values: random ones, equal ones, extremes, falling and rising."""
    low, high = -(1 << BITS - 1), (1 << BITS - 1) - 1
    lengths = [count * rng.randint(1, 12) for _ in range(30)]
    yield from ([rng.randint(low, high) for _ in range(n)] for n in lengths)
    yield from ([rng.choice((low, high)) for _ in range(n)] for n in lengths)
    yield from ([low] * n for n in lengths[:3])
    yield sorted(rng.randint(low, high) for _ in range(8 * count))
    yield sorted((rng.randint(low, high) for _ in range(8 * count)), reverse=True)


@pytest.mark.parametrize("most_pause", [0, 3])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_first_of_the_largest(count, most_pause):
    rng, dut, found, wanted = random.Random(count), Argmax(BITS, count), [], []

    async def bench(ctx):
        for values in sequences(rng, count):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for start in range(0, len(values), count):
                group = values[start:start + count]
                ctx.set(dut.value, group if count > 1 else group[0])
                ctx.set(dut.valid, 1)
                await ctx.tick()
                ctx.set(dut.valid, 0)
                if most_pause:
                    await ctx.tick().repeat(rng.randint(1, most_pause))
            if dut.latency:
                await ctx.tick().repeat(dut.latency)
            found.append(ctx.get(dut.token))
            wanted.append(values.index(max(values)))

    simulate(dut, bench)
    assert found == wanted
    assert dut.latency == count.bit_length() - 1
