"""Sums of an image memory off the chip, beside a core that uses the same port."""

import random
from zlib import crc32

import pytest

from ternforge.config import CoreConfig
from ternforge.mem.check import MemoryCheck
from ternforge_sim.bench import get, put, simulate

from .beat_memory import BeatMemory

CONFIGS = {lanes: CoreConfig(lanes=lanes, memory_beats=64, bank_beats=0) for lanes in (4, 8, 40)}
BEATS = 64
#: Most cycles before a request is taken and its first beat comes, and before each beat.
PAUSES = {"full-rate": (0, 0), "latency": (40, 0), "slow": (3, 90), "both": (9, 9)}


def contents(config: CoreConfig) -> list[bytes]:
    return [random.Random(k).randbytes(config.lanes) for k in range(BEATS)]


def reads(dut: MemoryCheck, beats: list[bytes], pauses=(0, 0), **options) -> BeatMemory:
    rng = random.Random(3)
    return BeatMemory(dut.memory, [int.from_bytes(beat, "little") for beat in beats],
                      latency=lambda: rng.randint(1, 1 + pauses[0]),
                      waits=lambda: rng.randint(0, pauses[0]),
                      pause=lambda: rng.randint(0, pauses[1]), **options)


async def ask(ctx, dut: MemoryCheck, address: int, beats: int, *, wait: int = 0) -> int:
    ctx.set(dut.i.payload, {"address": address, "beats": beats})
    ctx.set(dut.i.valid, 1)
    await ctx.tick().until(dut.o.valid)
    await ctx.tick().repeat(wait + 1)
    total = ctx.get(dut.o.payload)
    assert not ctx.get(dut.i.ready)
    ctx.set(dut.o.ready, 1)
    assert ctx.get(dut.i.ready)
    await ctx.tick()
    ctx.set(dut.o.ready, 0)
    ctx.set(dut.i.valid, 0)
    return total


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("lanes", CONFIGS)
def test_sums_are_those_of_zlib(lanes, pauses):
    dut, beats, sums = MemoryCheck(CONFIGS[lanes]), contents(CONFIGS[lanes]), []
    ranges = [(0, 1), (0, BEATS), (63, 1), (5, 0), (7, 2), (7, 2)]

    async def host(ctx):
        for number, (address, count) in enumerate(ranges):
            sums.append(await ask(ctx, dut, address, count, wait=number % 3))

    simulate(dut, host, processes=[reads(dut, beats, pauses).process])
    assert sums == [crc32(b"".join(beats[at:at + count])) for at, count in ranges]


@pytest.mark.parametrize("lanes", CONFIGS)
def test_one_byte_per_cycle(lanes):
    dut, beats, cycles = MemoryCheck(CONFIGS[lanes]), contents(CONFIGS[lanes]), []

    async def host(ctx):
        ctx.set(dut.i.payload, {"address": 0, "beats": BEATS})
        ctx.set(dut.i.valid, 1)
        count = 0
        async for _, _, done in ctx.tick().sample(dut.o.valid):
            if done:
                break
            count += 1
        cycles.append(count)

    simulate(dut, host, processes=[reads(dut, beats).process])
    assert BEATS * lanes <= cycles[0] <= BEATS * lanes + 8


@pytest.mark.parametrize("lanes", CONFIGS)
def test_the_core_has_the_port_for_itself_while_a_token_is_under_way(lanes):
    config = CONFIGS[lanes]
    dut, beats = MemoryCheck(config), contents(config)
    memory, seen, sums = reads(dut, beats, (5, 2)), [], []

    async def core(ctx):
        for start in (0, 20):
            ctx.set(dut.busy, 1)
            await ctx.tick().repeat(12)  # the memory rests, but the port is the core's
            await put(ctx, dut.core.request, [{"address": start, "beats": 20}])
            seen.extend(await get(ctx, dut.core.data, 20, lambda: 1))
            ctx.set(dut.core.stop, 1)
            ctx.set(dut.busy, 0)
            await ctx.tick().repeat(3)
            ctx.set(dut.core.stop, 0)
            await ctx.tick().until(dut.i.ready)
            await ctx.tick().repeat(3)

    async def host(ctx):
        for _ in range(2):
            await ctx.tick().repeat(4)
            sums.append(await ask(ctx, dut, 3, 30))

    simulate(dut, core, host, processes=[memory.process])
    assert seen == [int.from_bytes(beat, "little") for beat in beats[:40]]
    assert sums == [crc32(b"".join(beats[3:33]))] * 2
    assert memory.requests == [(0, 20), (3, 30), (20, 20), (3, 30)]


@pytest.mark.parametrize("abandons", [True, False], ids=["abandons", "finishes"])
@pytest.mark.parametrize("lanes", CONFIGS)
def test_a_sum_that_is_not_wanted_leaves_nothing_behind(lanes, abandons):
    config = CONFIGS[lanes]
    dut, beats, sums = MemoryCheck(config), contents(config), []

    async def host(ctx):
        for wait in range(1, 90, 4):
            ctx.set(dut.i.payload, {"address": 0, "beats": BEATS})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().repeat(wait)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(1 + wait % 3)
            sums.append(await ask(ctx, dut, 10, 3))

    simulate(dut, host, processes=[reads(dut, beats, (0, 6), abandons=abandons).process])
    assert set(sums) == {crc32(b"".join(beats[10:13]))}
    assert len(sums) == 23
