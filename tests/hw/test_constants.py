"""Constants of a packet: every width, count and pause gives the numbers that were packed."""

import random

import pytest

from ternforge.config import CoreConfig
from ternforge.core.constants import ConstantFeed
from ternforge_sim.bench import get, put, simulate

CONFIGS = [CoreConfig(lanes=2, elements=1), CoreConfig(lanes=8, elements=1),
           CoreConfig(lanes=8, elements=4), CoreConfig(lanes=40, elements=4)]
PAUSES = {"full-rate": (0, 0), "slow-input": (5, 0), "backpressure": (0, 5), "both": (4, 4)}


def pack(values: list[int], bits: int, lanes: int) -> list[int]:
    """Beats of little-endian two's-complement numbers; the last beat is filled with ones."""
    per_beat = 8 * lanes // bits
    beats = []
    for k in range(0, len(values), per_beat):
        part = [*values[k:k + per_beat], *[-1] * per_beat][:per_beat]
        beats.append(sum((v & ((1 << bits) - 1)) << bits * j for j, v in enumerate(part)))
    return beats


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"lanes{c.lanes}-elements{c.elements}")
def test_words_equal_packed_constants(config, pauses):
    rng = random.Random(3)
    dut = ConstantFeed(config)
    packets = []
    for words in (1, 7, 20, 1):
        bits = rng.choice((8, 16))
        top = 1 << (bits - 1)
        edge = [-top, top - 1]
        packets.append((bits, [rng.choice([*edge, rng.randrange(-top, top)])
                               for _ in range(words * config.elements)]))
    received = []

    async def bench(ctx):
        for bits, values in packets:
            ctx.set(dut.wide, bits == 16)
            ctx.set(dut.count, len(values))
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.wide, rng.randrange(2))  # both were taken
            ctx.set(dut.count, rng.randrange(1 << 16))
            words = await get(ctx, dut.o, len(values) // config.elements,
                              lambda: rng.randint(0, pauses[1]))
            received.append([int(word[k]) for word in words for k in range(config.elements)])
            ctx.set(dut.o.ready, 1)
            for _ in range(7):  # the next packet's beats wait for its start
                _, _, valid, taken = await ctx.tick().sample(dut.o.valid, dut.i.ready)
                assert (valid, taken) == (0, 0)
            ctx.set(dut.o.ready, 0)

    async def producer(ctx):
        beats = [b for bits, values in packets for b in pack(values, bits, config.lanes)]
        await put(ctx, dut.i, beats, lambda: rng.randint(0, pauses[0]))

    simulate(dut, bench, producer)
    assert received == [values for _, values in packets]


def test_one_word_per_cycle_across_beats():
    config = CoreConfig(lanes=8, elements=1)
    dut, cycles = ConstantFeed(config), []

    async def bench(ctx):
        ctx.set(dut.wide, 1)
        ctx.set(dut.count, 40)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        taken = 0
        while taken < 40:
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            taken += valid
            cycles.append(valid)

    simulate(dut, bench)
    assert len(cycles) == 40
