import random
from dataclasses import replace

import pytest

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.lanes import KINDS, dot_product, resolve_lane
from ternforge.trits import encode_trits
from ternforge_sim.bench import get, put, simulate

from .latency import check_latency

SMALL = [CoreConfig(lanes=2, tree_levels=1), CoreConfig(lanes=2, tree_levels=9),
         CoreConfig(lanes=6, tree_levels=3), CoreConfig(lanes=8)]
LARGE = CoreConfig(lanes=40)
ALL = [replace(config, lane=name) for name, kind in KINDS.items() if not kind.holds_tiles
       for config in (*SMALL, LARGE)]


def pack(trits):
    return sum(encode_trits(trits[k:k + 5]) << (k // 5 * 8) for k in range(0, len(trits), 5))


def pairs(trits):
    """The code of lanes without decoders: bits (zero, sign); the sign of a zero does not matter."""
    return sum(((t == 0) | (t < 0) << 1 | (t == 0 and k % 3 == 0) << 1) << 2 * k
               for k, t in enumerate(trits))


def name_of(config):
    return f"{config.lane}-{config.lanes}-{config.tree_levels}"


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


def check_sums(config, pause, *, packed):
    rng, dut, sums = random.Random(1), dot_product(config, packed=packed), []
    cases = list(vectors(config, rng))
    tags = [{name: rng.randrange(2) for name in ("first", "last", "end")} for _ in cases]

    async def producer(ctx):
        for (codes, trits), tag in zip(cases, tags, strict=True):
            ctx.set(dut.codes, codes)
            await put(ctx, dut.i, [{"data": pack(trits) if packed else pairs(trits), **tag}])
            for _ in range(rng.randint(0, pause)):
                ctx.set(dut.codes, [rng.randint(-127, 127) for _ in codes])
                await ctx.tick()

    async def consumer(ctx):
        sums.extend(await get(ctx, dut.o, len(cases)))

    simulate(dut, producer, consumer)
    assert [p.sum for p in sums] == [
        sum(c * t for c, t in zip(codes, trits, strict=True)) for codes, trits in cases]
    assert [{"first": p.first, "last": p.last, "end": p.end} for p in sums] == tags


@pytest.mark.parametrize(("config", "pause"), [
    (config, pause) for config in ALL for pause in ((1,) if config.lanes > 8 else (0, 2))
], ids=lambda p: str(p) if isinstance(p, int) else name_of(p))
def test_sums_equal_integer_sums(config, pause):
    check_sums(config, pause, packed=True)


@pytest.mark.parametrize("config", [c for c in ALL if c.lanes == 6], ids=name_of)
def test_lanes_without_decoders(config):
    check_sums(config, 1, packed=False)


@pytest.mark.parametrize("config", [c for c in ALL if c.lanes <= 8], ids=name_of)
def test_sum_follows_its_beat_after_latency(config):
    check_latency(dot_product(config), {"data": 0, "first": 0, "last": 0, "end": 0})


def test_kind_is_the_best_for_the_family():
    auto = CoreConfig(lane="auto")
    assert {family: resolve_lane(auto, family).lane for family in ("ecp5", "ice40", "gowin")} == {
        "ecp5": "ecp5", "ice40": "portable", "gowin": "portable"}
    assert resolve_lane(CoreConfig(lane="portable"), "ecp5").lane == "portable"
    assert type(dot_product(auto)) is type(dot_product(CoreConfig(lane="portable")))


def test_kind_must_be_known():
    with pytest.raises(ValueError, match=r"^CoreConfig.lane must be a kind of lanes, not 'ecp': "
                                         r"did you mean 'ecp5'\?$"):
        CoreConfig(lane="ecp")


def test_config_must_be_a_core_config():
    with pytest.raises(TypeError, match=r"^DotProduct config must be a CoreConfig, not 8$"):
        DotProduct(8)  # type: ignore[reportArgumentType]
