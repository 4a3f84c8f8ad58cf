import random
from itertools import pairwise

import pytest

from ternforge.config import CoreConfig
from ternforge.lanes.fill import WALK, TableFill
from ternforge.lanes.table import Lanes
from ternforge.trits import DECODE, encode_trits
from ternforge_sim.bench import get, put, simulate

from .latency import check_latency
from .vector_side import restart, tiles_of, write

#: Lanes that share an adder: one, all, and as many as leave one adder with fewer.
CASES = [(CoreConfig(lanes=2, max_fan_in=30, tree_levels=1, tile_registers=2), 1),
         (CoreConfig(lanes=2, max_fan_in=27, tree_levels=9), 4),
         (CoreConfig(lanes=8, elements=2, max_fan_in=120, tile_registers=2), 3),
         (CoreConfig(lanes=16, elements=8, max_fan_in=240, tree_levels=1, tile_registers=2), 4)]
BYTES = [byte for byte, trits in enumerate(DECODE) if trits is not None]


def name_of(value):
    return str(value) if isinstance(value, int) else f"{value.lanes}-{value.elements}"


def pack(trits):
    return sum(encode_trits(trits[k:k + 5]) << (k // 5 * 8) for k in range(0, len(trits), 5))


def product(codes, trits):
    return sum(c * t for c, t in zip(codes, trits, strict=True) if t)


def rows_of(tile, rng, count):
    """Trits of some rows: the largest sums, every byte in every lane, others. 0 beyond the end."""
    n = len(tile)
    known = [code is not None for code in tile]
    extremes = [[sign * (1 if (code or 0) > 0 else -1) for code in tile] for sign in (1, -1)]
    every = [[trit for lane in range(n // 5)
              for trit in DECODE[BYTES[(k + 7 * lane) % len(BYTES)]] or ()]
             for k in range(len(BYTES))]
    others = [[rng.choice((-1, 0, 1)) for _ in tile] for _ in range(count)]
    return [[t * k for t, k in zip(trits, known, strict=True)]
            for trits in (*extremes, *every, *others)]


async def wait(ctx, dut):
    while not ctx.get(dut.ready):
        await ctx.tick()


async def use(ctx, dut, rows, tags, pause):
    """Send the rows of a tile; with the last one, release it."""
    for k, (trits, tag) in enumerate(zip(rows, tags, strict=True)):
        for _ in range(pause()):
            await ctx.tick()
        assert ctx.get(dut.ready)
        ctx.set(dut.release, k == len(rows) - 1)
        await put(ctx, dut.i, [{"data": pack(trits), **tag}])
        ctx.set(dut.release, 0)


@pytest.mark.parametrize("pause", [0, 3])
@pytest.mark.parametrize(("config", "shared"), CASES, ids=name_of)
def test_sums_equal_integer_sums(config, shared, pause):
    rng, dut = random.Random(1), Lanes(config, shared=shared)
    full = config.max_fan_in
    vectors = [[127] * full, [-127] * full, [rng.choice((-127, 127)) for _ in range(full)],
               *([rng.randint(-127, 127) for _ in range(length)]
                 for length in (config.elements, config.tile, config.tile + config.elements,
                                full - config.elements))]
    plan = [(vector, [rows_of(tile, rng, 20 * pause) for tile in
                      (2 * tiles_of(config, vector) + tiles_of(config, vector))[:5]])
            for vector in vectors]
    tags = [{name: rng.randrange(2) for name in ("first", "last", "end")}
            for _, uses in plan for rows in uses for _ in rows]
    expected = [product([c or 0 for c in tiles_of(config, vector)[
        k % len(tiles_of(config, vector))]], trits)
        for vector, uses in plan for k, rows in enumerate(uses) for trits in rows]
    gate, sums = {"used": 0, "begun": 0}, []

    async def writer(ctx):
        for k, (vector, _) in enumerate(plan):
            while gate["used"] < k:
                await ctx.tick()
            await restart(ctx, dut, len(tiles_of(config, vector)))
            gate["begun"] = k + 1
            await write(ctx, dut, vector, rng.randrange(4), lambda: rng.randint(0, pause))

    async def user(ctx):
        rest = iter(tags)
        for k, (_, uses) in enumerate(plan):
            while gate["begun"] <= k:
                await ctx.tick()
            for rows in uses:
                await wait(ctx, dut)
                await use(ctx, dut, rows, [next(rest) for _ in rows],
                          lambda: rng.randint(0, pause))
            gate["used"] = k + 1

    async def consumer(ctx):
        sums.extend(await get(ctx, dut.o, len(expected)))

    simulate(dut, writer, user, consumer)
    assert [p.sum for p in sums] == expected
    assert [{"first": p.first, "last": p.last, "end": p.end} for p in sums] == tags


async def rows_sums(ctx, dut, rows):
    """Sums of some rows of the tile that stands, which is released with the last one."""
    tag, found = {"first": 0, "last": 0, "end": 0}, []
    for k in range(len(rows) + dut.latency):
        if k < len(rows):
            ctx.set(dut.i.payload, {"data": pack(rows[k]), **tag})
        ctx.set(dut.i.valid, k < len(rows))
        ctx.set(dut.release, k == len(rows) - 1)
        _, _, payload, valid = await ctx.tick().sample(dut.o.payload, dut.o.valid)
        if valid:
            found.append(payload.sum)
    payload, valid = ctx.get(dut.o.payload), ctx.get(dut.o.valid)
    return [*found, payload.sum] if valid else found


def test_restart_leaves_nothing_behind():
    """At any time after the first tile, while others are loaded and filled."""
    config = CoreConfig(lanes=2, max_fan_in=30, tile_registers=2)
    rng, dut = random.Random(1), Lanes(config, shared=1)
    found, expected = [], []

    async def bench(ctx):
        for after in (*range(12), *range(12, 560, 11)):
            await restart(ctx, dut, 3)
            await write(ctx, dut, [99] * 30, 0, lambda: 0)
            await wait(ctx, dut)
            ctx.set(dut.release, after % 2)
            await ctx.tick()
            ctx.set(dut.release, 0)
            if after:
                await ctx.tick().repeat(after)
            await restart(ctx, dut, 1)
            for _ in range(20):
                assert not ctx.get(dut.ready)
                await ctx.tick()
            codes = [rng.randint(-127, 127) for _ in range(10)]
            await write(ctx, dut, codes, 3, lambda: 0)
            for _ in range(2):
                await wait(ctx, dut)
                rows = rows_of(codes, rng, 0)[::10]
                found.append(await rows_sums(ctx, dut, rows))
                expected.append([product(codes, trits) for trits in rows])

    simulate(dut, bench)
    assert found == expected


@pytest.mark.parametrize(("lanes", "shared"), [(2, 1), (6, 4), (10, 4)])
def test_a_tile_follows_cycles_after_release(lanes, shared):
    """At once if the one before was in use for that long; vectors of two tiles are filled once."""
    config = CoreConfig(lanes=lanes, max_fan_in=15 * lanes, tile_registers=2)
    dut, waits = Lanes(config, shared=shared), []

    async def use_for(ctx, cycles):
        await wait(ctx, dut)
        if cycles:
            await ctx.tick().repeat(cycles)
        follows = ctx.get(dut.following)
        ctx.set(dut.release, 1)
        await ctx.tick()
        ctx.set(dut.release, 0)
        assert ctx.get(dut.ready) or not follows
        count = 1
        while not ctx.get(dut.ready):
            await ctx.tick()
            count += 1
        waits.append(count)

    async def bench(ctx):
        for tiles in (3, 2, 1):
            await restart(ctx, dut, tiles)
            await write(ctx, dut, [1] * (tiles * config.tile), 0, lambda: 0)
            await wait(ctx, dut)
            await ctx.tick().repeat(dut.fill.cycles + config.tile)
            # The second one stands; the third is begun with the first release.
            for cycles in (0, 0, 0, dut.fill.cycles, dut.fill.cycles - 2, dut.fill.cycles - 3):
                await use_for(ctx, cycles)

    simulate(dut, bench)
    steps = len(WALK) * dut.fill.shared
    assert waits == [1, dut.fill.cycles - 1, steps + 1, 1, 1, 2] + [1] * 12


def test_sum_follows_its_beat_after_latency():
    check_latency(Lanes(CoreConfig(lanes=10)), {"data": 0, "first": 0, "last": 0, "end": 0})


def test_walk_comes_by_every_byte():
    assert {encode_trits(trits) for trits in WALK} == set(BYTES)
    assert len(WALK) == len(BYTES) + 5
    assert not any(WALK[0])
    assert all(sum(a != b for a, b in zip(before, after, strict=True)) == 1
               for before, after in pairwise(WALK))


def test_weights_must_be_packed():
    with pytest.raises(ValueError, match=r"^tables must have packed weights, not pairs of bits$"):
        Lanes(CoreConfig(), packed=False)


@pytest.mark.parametrize("shared", [0, 1.5])
def test_an_adder_must_fill_some_lanes(shared):
    with pytest.raises(ValueError, match=rf"^TableFill shared must be a positive integer, not "
                                         rf"{shared}$"):
        TableFill(CoreConfig(), shared=shared)
