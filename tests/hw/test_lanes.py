import random

import pytest

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.trits import encode_trits
from ternforge_sim.bench import get, put, simulate

SMALL = [CoreConfig(lanes=2, tree_levels=1), CoreConfig(lanes=2, tree_levels=9),
         CoreConfig(lanes=6, tree_levels=3), CoreConfig(lanes=8)]
LARGE = CoreConfig(lanes=40)


def pack(trits):
    return sum(encode_trits(trits[k:k + 5]) << (k // 5 * 8) for k in range(0, len(trits), 5))


def vectors(config, rng):
    """Codes and weights of each beat: the extremes first."""
    n = config.tile
    for code in (127, -127):
        for trit in (-1, 1, 0):
            yield [code] * n, [trit] * n
    signs = [rng.choice((-1, 1)) for _ in range(n)]
    for sign in (1, -1):
        yield [127 * s for s in signs], [sign * s for s in signs]
    yield [0] * n, [-1] * n
    for k in range(0, n, -(-n // 40)):  # one weight at a time
        yield [127 if j == k else -127 for j in range(n)], [-(j == k) for j in range(n)]
    for _ in range(400 // config.lanes):
        yield ([rng.randint(-127, 127) for _ in range(n)],
               [rng.choice((-1, 0, 1)) for _ in range(n)])


@pytest.mark.parametrize(("config", "pause"), [
    *((config, pause) for config in SMALL for pause in (0, 2)), (LARGE, 1),
], ids=lambda p: str(p) if isinstance(p, int) else f"{p.lanes}-{p.tree_levels}")
def test_sums_equal_integer_sums(config, pause):
    rng, dut, sums = random.Random(1), DotProduct(config), []
    cases = list(vectors(config, rng))
    tags = [{name: rng.randrange(2) for name in ("first", "last", "end")} for _ in cases]

    async def producer(ctx):
        for (codes, trits), tag in zip(cases, tags, strict=True):
            ctx.set(dut.codes, codes)
            await put(ctx, dut.i, [{"data": pack(trits), **tag}])
            for _ in range(rng.randint(0, pause)):
                ctx.set(dut.codes, [rng.randint(-127, 127) for _ in codes])
                await ctx.tick()

    async def consumer(ctx):
        sums.extend(await get(ctx, dut.o, len(cases)))

    simulate(dut, producer, consumer)
    assert [p.sum for p in sums] == [
        sum(c * t for c, t in zip(codes, trits, strict=True)) for codes, trits in cases]
    assert [{"first": p.first, "last": p.last, "end": p.end} for p in sums] == tags


@pytest.mark.parametrize("config", SMALL, ids=lambda c: f"{c.lanes}-{c.tree_levels}")
def test_sum_follows_its_beat_after_latency(config):
    dut, seen = DotProduct(config), []

    async def producer(ctx):
        await put(ctx, dut.i, [{"data": 0, "first": 0, "last": 0, "end": 0}])

    async def monitor(ctx):
        for _ in range(dut.latency + 3):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            seen.append(valid)

    simulate(dut, producer, monitor)
    assert seen == [0] * dut.latency + [1, 0, 0]


def test_config_must_be_a_core_config():
    with pytest.raises(TypeError, match=r"^DotProduct config must be a CoreConfig, not 8$"):
        DotProduct(8)  # type: ignore[reportArgumentType]
