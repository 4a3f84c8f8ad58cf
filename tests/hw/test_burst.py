"""Fetch of a memory of any latency: a token's beats in order, whatever memory and core do."""

import random
from dataclasses import replace

import pytest

from ternforge.config import CoreConfig
from ternforge.isa import DIRECTORY, MAGIC
from ternforge.mem.burst import BurstFetch
from ternforge_sim.bench import get, simulate

from .beat_memory import BeatMemory

#: Beats shorter than a header, as long, and with a register behind the queue.
CONFIGS = {lanes: CoreConfig(lanes=lanes, memory_beats=256, bank_beats=0) for lanes in (8, 16, 40)}
ROWS, STRIDE, PROGRAM = 5, 6, 90
DEPTH = 16


def image(config: CoreConfig, magic: int = MAGIC) -> list[int]:
    """Directory, then beats that tell their address."""
    head, bits = config.header_beats, config.beat_bits
    word = DIRECTORY.const({"magic": magic, "vocab_size": ROWS, "embedding": 2 * head + PROGRAM,
                            "stride": STRIDE, "reserved": 0}).as_value().value
    beats = [word >> (bits * k) & ((1 << bits) - 1) for k in range(head)]
    return [*beats, *(k << (bits - 8) | k for k in range(head, 256))]


def expected(config: CoreConfig, beats: list[int], token: int) -> list[int]:
    head = config.header_beats
    row = 2 * head + PROGRAM + STRIDE * token
    return [*beats[head:2 * head], *beats[row:row + STRIDE], *beats[2 * head:2 * head + PROGRAM]]


async def begin(ctx, dut, token: int | list[int]):
    await ctx.tick().until(dut.idle)
    ctx.set(dut.token, token)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


async def end(ctx, dut):
    ctx.set(dut.stop, 1)
    await ctx.tick()
    ctx.set(dut.stop, 0)


#: Most pause of the memory before a beat, of its answer to a request, and of the core.
PAUSES = {"full-rate": (0, 0, 0), "slow-memory": (5, 0, 0), "slow-requests": (0, 9, 0),
          "backpressure": (0, 0, 6), "all": (3, 3, 3)}


@pytest.mark.parametrize("latency", [1, 7, 60])
@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("lanes", CONFIGS)
def test_tokens_stream_in_order(lanes, pauses, latency):
    rng, config, received = random.Random(latency), CONFIGS[lanes], []
    dut, beats = BurstFetch(config, DEPTH), image(config)
    memory = BeatMemory(dut.memory, beats, latency=lambda: rng.randint(1, latency),
                    pause=lambda: rng.randint(0, pauses[0]),
                    waits=lambda: rng.randint(0, pauses[1]))

    async def bench(ctx):
        for token in (2, 0, 4):
            await begin(ctx, dut, token)
            wanted = expected(config, beats, token)
            received.append((await get(ctx, dut.o, len(wanted), lambda: rng.randint(0, pauses[2])),
                             wanted))
            await end(ctx, dut)

    simulate(dut, bench, processes=[memory.process])
    assert [taken for taken, _ in received] == [wanted for _, wanted in received]
    assert len(received) == 3
    assert memory.dropped == 0
    head = config.header_beats
    row = 2 * head + PROGRAM
    assert memory.requests == [
        request for token in (2, 0, 4) for request in
        ((0, 2 * head), (row + token * STRIDE, STRIDE), (2 * head, PROGRAM))]


@pytest.mark.parametrize("latency", [1, 60])
@pytest.mark.parametrize("lanes", CONFIGS)
def test_each_stream_has_its_row(lanes, latency):
    rng, config, received = random.Random(latency), replace(CONFIGS[lanes], streams=3), []
    dut, beats = BurstFetch(config, DEPTH), image(config)
    memory = BeatMemory(dut.memory, beats, latency=lambda: rng.randint(1, latency))
    steps = [[2, 0, 4], [1, 1, 3]]

    async def bench(ctx):
        for tokens in steps:
            await begin(ctx, dut, tokens)
            wanted = [expected(config, beats, token) for token in tokens]
            wanted = [beat for one in wanted for beat in one[:-PROGRAM]] + wanted[0][-PROGRAM:]
            received.append((await get(ctx, dut.o, len(wanted), lambda: rng.randint(0, 2)), wanted))
            await end(ctx, dut)
        for stream in range(3):
            await begin(ctx, dut, [ROWS if k == stream else 0 for k in range(3)])
            await ctx.tick().until(dut.fault)
            assert not ctx.get(dut.o.valid)
            await end(ctx, dut)

    simulate(dut, bench, processes=[memory.process])
    assert [taken for taken, _ in received] == [wanted for _, wanted in received]
    assert len(received) == 2


@pytest.mark.parametrize("abandons", [True, False], ids=["abandons", "finishes"])
@pytest.mark.parametrize("slow", [0, 4], ids=["fast-core", "slow-core"])
@pytest.mark.parametrize("lanes", CONFIGS)
def test_stop_anywhere_and_start_again(lanes, slow, abandons):
    rng, config = random.Random(lanes), CONFIGS[lanes]
    dut, beats, received = BurstFetch(config, DEPTH), image(config), []
    memory = BeatMemory(dut.memory, beats, latency=lambda: rng.randint(1, 20),
                    pause=lambda: rng.choice((0, 0, 2)), waits=lambda: rng.choice((0, 0, 30)),
                    abandons=abandons)

    async def bench(ctx):
        for number in range(30):
            token = rng.randrange(ROWS)
            await begin(ctx, dut, token)
            if number % 3 == 0:  # before, between and after the requests
                await ctx.tick().repeat(rng.randint(1, 80))
                wanted = []
            else:
                wanted = expected(config, beats, token)[:rng.randrange(1, 60)]
                taken = await get(ctx, dut.o, len(wanted), lambda: rng.randint(0, slow))
                received.append((taken, wanted))
            await end(ctx, dut)

    simulate(dut, bench, processes=[memory.process])
    assert [taken for taken, _ in received] == [wanted for _, wanted in received]
    assert len(received) == 20
    assert (memory.dropped > 0) == abandons


@pytest.mark.parametrize("lanes", CONFIGS)
def test_full_rate_has_no_bubbles(lanes):
    """A memory that pauses less often than the queue is deep costs nothing behind a slow core."""
    config, gaps = CONFIGS[lanes], []
    dut, beats = BurstFetch(config, DEPTH), image(config)
    memory = BeatMemory(dut.memory, beats, latency=lambda: 12)

    async def bench(ctx):
        await begin(ctx, dut, 1)
        ctx.set(dut.o.ready, 1)
        for _ in range(config.header_beats + STRIDE):
            await ctx.tick().until(dut.o.valid)
        await ctx.tick().until(dut.o.valid)
        for _ in range(PROGRAM - 1):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            gaps.append(not valid)

    simulate(dut, bench, processes=[memory.process])
    assert sum(gaps) == 0


def test_the_queue_fills_while_the_core_waits():
    config, rest = CONFIGS[16], []
    dut, beats = BurstFetch(config, DEPTH), image(config)
    memory = BeatMemory(dut.memory, beats, pause=lambda: 3)  # a beat in four cycles

    async def bench(ctx):
        await begin(ctx, dut, 1)
        await ctx.tick().repeat(200)
        ctx.set(dut.o.ready, 1)
        for _ in range(DEPTH):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            rest.append(valid)

    simulate(dut, bench, processes=[memory.process])
    assert all(rest)


@pytest.mark.parametrize(("magic", "token"), [(MAGIC ^ 1, 0), (MAGIC, ROWS)],
                         ids=["no image", "foreign token"])
def test_fault_and_recovery(magic, token):
    config, faults, taken = CONFIGS[16], [], []
    beats = image(config, magic)
    dut = BurstFetch(config, DEPTH)
    memory = BeatMemory(dut.memory, beats)

    async def bench(ctx):
        await begin(ctx, dut, token)
        await ctx.tick().until(dut.fault)
        faults.append(ctx.get(dut.o.valid))
        await end(ctx, dut)
        await ctx.tick().until(dut.idle)
        faults.append(ctx.get(dut.fault))
        beats[0] = image(config)[0]
        await begin(ctx, dut, 3)
        taken.extend(await get(ctx, dut.o, len(expected(config, beats, 3))))

    simulate(dut, bench, processes=[memory.process])
    assert faults == [0, 0]
    assert taken == expected(config, beats, 3)
