import random
from dataclasses import replace

import pytest

from ternforge.config import CoreConfig
from ternforge.core.tile import TileBuffer
from ternforge_sim.bench import put, simulate

from .vector_side import restart, tiles_of, write

CONFIGS = [CoreConfig(lanes=2, elements=1, max_fan_in=30),
           CoreConfig(lanes=2, elements=1, max_fan_in=7),
           CoreConfig(lanes=8, elements=2, max_fan_in=200),
           CoreConfig(lanes=40, elements=4, max_fan_in=400)]
#: With a register for the next tile.
CONFIGS += [replace(config, tile_registers=2) for config in CONFIGS]


def same(codes, tile):
    return all(want is None or code == want for code, want in zip(codes, tile, strict=True))


async def wait(ctx, dut):
    """Wait until a tile is ready and return it."""
    while not ctx.get(dut.ready):
        await ctx.tick()
    return list(ctx.get(dut.codes))


async def release(ctx, dut):
    ctx.set(dut.release, 1)
    follows = ctx.get(dut.following) if dut.config.tile_registers > 1 else 0
    await ctx.tick()
    ctx.set(dut.release, 0)
    assert ctx.get(dut.ready) == follows


async def take(ctx, dut):
    """Wait until a tile is ready, release it and return it."""
    codes = await wait(ctx, dut)
    await release(ctx, dut)
    return codes


@pytest.mark.parametrize("pause", [0, 5])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: (
    f"{c.lanes}-{c.elements}-{c.max_fan_in}-{c.tile_registers}"))
def test_tiles_come_round_robin(config, pause):
    rng, dut = random.Random(1), TileBuffer(config)
    e = config.elements
    lengths = {config.max_fan_in, config.tile // e * e, config.max_fan_in - e, e,
               rng.randrange(e, config.max_fan_in, e)}
    vectors = [[rng.randint(-127, 127) for _ in range(length)]
               for length in sorted(lengths) if 0 < length <= config.max_fan_in]
    gate = {"taken": 0, "written": 0}  # vectors finished by each side
    wrong = []

    async def writer(ctx):
        for k, vector in enumerate(vectors):
            while gate["taken"] < k:
                await ctx.tick()
            await restart(ctx, dut, len(tiles_of(config, vector)))
            gate["written"] = k + 1
            await write(ctx, dut, vector, rng.randrange(4), lambda: rng.randint(0, pause))

    async def taker(ctx):
        for k, vector in enumerate(vectors):
            while gate["written"] <= k:
                await ctx.tick()
            expected = tiles_of(config, vector)
            for n in range(2 * len(expected) + 1):
                codes = await wait(ctx, dut)
                if not same(codes, expected[n % len(expected)]):
                    wrong.append((k, n))
                for _ in range(rng.randint(0, 3 * pause)):
                    await ctx.tick()
                    assert list(ctx.get(dut.codes)) == codes
                await release(ctx, dut)
            gate["taken"] = k + 1

    simulate(dut, writer, taker)
    assert not wrong


@pytest.mark.parametrize("registers", [1, 2])
@pytest.mark.parametrize("after", range(16))
def test_restart_leaves_nothing_behind(after, registers):
    config = CoreConfig(lanes=2, max_fan_in=20, tile_registers=registers)
    dut = TileBuffer(config)
    seen = []

    async def bench(ctx):
        await restart(ctx, dut, 2)
        await write(ctx, dut, [99] * 20, 0, lambda: 0)
        await take(ctx, dut)
        if after:
            await ctx.tick().repeat(after)
        await restart(ctx, dut, 1)
        for _ in range(20):
            assert not ctx.get(dut.ready)
            await ctx.tick()
        await write(ctx, dut, list(range(1, 11)), 3, lambda: 0)
        for _ in range(3):
            seen.append(await take(ctx, dut))

    simulate(dut, bench)
    assert seen == [list(range(1, 11))] * 3


@pytest.mark.parametrize("config", CONFIGS[2:4], ids=lambda c: str(c.lanes))
def test_a_tile_is_ready_cycles_after_release(config):
    dut, counts = TileBuffer(config), []

    async def bench(ctx):
        await restart(ctx, dut, 2)
        await write(ctx, dut, [1] * (2 * config.tile), 0, lambda: 0)
        await take(ctx, dut)
        for _ in range(5):
            count = 1
            while not ctx.get(dut.ready):
                await ctx.tick()
                count += 1
            counts.append(count)
            await take(ctx, dut)

    simulate(dut, bench)
    assert counts == [5 + config.registers_beats] * 5


@pytest.mark.parametrize("config", CONFIGS[6:], ids=lambda c: str(c.lanes))
def test_with_two_registers_a_tile_follows_at_once(config):
    """If it has been in use for as long as the next one takes to load."""
    dut, tiles, waits = TileBuffer(config), [], []

    async def bench(ctx):
        await restart(ctx, dut, 2)
        await write(ctx, dut, [1] * config.tile + [2] * config.tile, 0, lambda: 0)
        tiles.append(set(await wait(ctx, dut)))
        for _ in range(5):
            await ctx.tick().repeat(5 + config.registers_beats)
            await release(ctx, dut)
            assert ctx.get(dut.ready)
            tiles.append(set(ctx.get(dut.codes)))
        await release(ctx, dut)  # earlier than that
        waits.append(1)
        while not ctx.get(dut.ready):
            await ctx.tick()
            waits.append(1)

    simulate(dut, bench)
    assert tiles == [{1}, {2}] * 3
    assert len(waits) == 5 + config.registers_beats


def test_loader_chases_the_writer():
    config = CoreConfig(lanes=2, max_fan_in=20)
    dut, waited = TileBuffer(config), []

    async def bench(ctx):
        await restart(ctx, dut, 2)
        await put(ctx, dut.codes_i, [[k] for k in range(10)], lambda: 3)
        while not ctx.get(dut.ready):  # the second tile was not even begun
            waited.append(1)
            await ctx.tick()
        assert await take(ctx, dut) == list(range(10))

    simulate(dut, bench)
    assert len(waited) == 2


def test_config_must_be_a_core_config():
    with pytest.raises(TypeError, match=r"^TileBuffer config must be a CoreConfig, not 8$"):
        TileBuffer(8)  # type: ignore[reportArgumentType]
