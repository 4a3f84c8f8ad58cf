"""The register slice: payloads in order, whatever either side does; nothing is left after clear."""

import random

import pytest

from ternforge.mem.slice import RegisterSlice
from ternforge_sim.bench import get, put, simulate

PAUSES = {"full rate": (0, 0), "slow input": (3, 0), "back-pressure": (0, 3), "both": (2, 2)}


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
def test_payloads_come_in_order(pauses):
    rng, dut = random.Random(1), RegisterSlice(8)
    sent, received = [rng.randrange(256) for _ in range(200)], []

    async def producer(ctx):
        await put(ctx, dut.i, sent, lambda: rng.randint(0, pauses[0]))

    async def consumer(ctx):
        received.extend(await get(ctx, dut.o, len(sent), lambda: rng.randint(0, pauses[1])))

    simulate(dut, producer, consumer)
    assert received == sent


def test_one_payload_per_cycle_one_cycle_late():
    dut, seen = RegisterSlice(8), []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        for cycle in range(10):
            ctx.set(dut.i.payload, cycle)
            seen.append((ctx.get(dut.i.ready), ctx.get(dut.o.valid), ctx.get(dut.o.payload)))
            await ctx.tick()

    simulate(dut, bench)
    assert [(ready, valid) for ready, valid, _ in seen] == [(1, cycle > 0) for cycle in range(10)]
    assert [payload for _, valid, payload in seen if valid] == list(range(9))


@pytest.mark.parametrize("held", [0, 1, 2])
def test_clear_drops_what_is_held_and_what_comes(held):
    dut, seen = RegisterSlice(8), []

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for payload in range(held):
            ctx.set(dut.i.payload, payload)
            await ctx.tick()
        ctx.set(dut.i.payload, 99)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        seen.append(ctx.get(dut.o.valid))
        ctx.set(dut.i.payload, 7)
        await ctx.tick()
        seen.append((ctx.get(dut.o.valid), ctx.get(dut.o.payload)))

    simulate(dut, bench)
    assert seen == [0, (1, 7)]
