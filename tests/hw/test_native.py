"""The adapter of LiteDRAM's native ports: beats in order, whatever the controller does."""

import random

import pytest

from ternforge.config import CoreConfig
from ternforge.mem.native import NativeAdapter
from ternforge_sim.bench import get, put, simulate

from .native_memory import NativeMemory

SEGMENT, ADDRESS_BITS = 8, 7
#: Bytes of a beat and bits of a word: equal, half, a quarter, twice and four times as wide.
WIDTHS = {"equal": (4, 32), "half": (4, 64), "quarter": (4, 128), "twice": (8, 32),
          "four": (16, 32)}
#: Most cycles that the controller refuses a command, pauses between words, and the core waits.
PAUSES = {"full-rate": (0, 0, 0), "refusals": (5, 0, 0), "slow-words": (0, 5, 0),
          "backpressure": (0, 0, 5), "all": (3, 3, 3)}


def adapter(name: str, depth: int = 32, segment: int = SEGMENT):
    """The adapter, and how many beats fill its memory."""
    lanes, word = WIDTHS[name]
    beats = (word << ADDRESS_BITS) // (8 * lanes)
    config = CoreConfig(lanes=lanes, memory_beats=beats, bank_beats=0)
    return NativeAdapter(config, address_bits=ADDRESS_BITS, word_bits=word, segment_words=segment,
                         depth=depth), beats


def beats_of(words: list[int], dut: NativeAdapter) -> list[int]:
    bits = dut.config.beat_bits
    whole = sum(word << dut.word_bits * k for k, word in enumerate(words))
    return [whole >> bits * k & (1 << bits) - 1 for k in range(len(words) * dut.word_bits // bits)]


def filled(dut: NativeAdapter, rng) -> list[int]:
    return [rng.getrandbits(dut.word_bits) for _ in range(1 << ADDRESS_BITS)]


@pytest.mark.parametrize("latency", [1, 30])
@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("name", WIDTHS)
def test_reads_of_any_length_come_in_order(name, pauses, latency):
    rng = random.Random(latency)
    dut, size = adapter(name)
    words = filled(dut, rng)
    memory = NativeMemory(dut, words, latency=lambda: rng.randint(1, latency),
                          refuses=lambda: rng.randint(0, pauses[0]),
                          pause=lambda: rng.randint(0, pauses[1]))
    beats, requests, received = beats_of(words, dut), [(0, size)], []
    for _ in range(8):
        start = rng.randrange(size)
        requests.append((start, rng.randint(1, min(40, size - start))))
    requests += [(size - 1, 1), (0, 1)]

    async def ask(ctx):
        await put(ctx, dut.memory.request, [{"address": a, "beats": n} for a, n in requests],
                  lambda: rng.choice((0, 0, 40)))

    async def take(ctx):
        for _, count in requests:
            received.append(await get(ctx, dut.memory.data, count,
                                      lambda: rng.randint(0, pauses[2])))
        await ctx.tick().repeat(2)
        received.append(ctx.get(dut.memory.idle))

    simulate(dut, ask, take, processes=[memory.port0, memory.port1])
    assert received == [*(beats[a:a + n] for a, n in requests), 1]
    asked = sorted(memory.reads[0] + memory.reads[1])
    ratio = dut.word_bits / dut.config.beat_bits
    assert asked == sorted(word for a, n in requests
                           for word in range(int(a / ratio), -int(-(a + n) // ratio)))
    assert all(word // SEGMENT % 2 == k for k in range(2) for word in memory.reads[k])


@pytest.mark.parametrize("name", ["equal", "half", "twice"])
def test_one_word_per_cycle(name):
    """Ports that answer after 20 cycles, one word per cycle both together, cost no bubble."""
    rng = random.Random(3)
    dut, size = adapter(name, depth=64)
    words, gaps = filled(dut, rng), []
    memory = NativeMemory(dut, words, latency=lambda: 20)
    count = size - 16

    async def bench(ctx):
        await put(ctx, dut.memory.request, [{"address": 3, "beats": count}])
        ctx.set(dut.memory.data.ready, 1)
        await ctx.tick().until(dut.memory.data.valid)
        for _ in range(count - 1):
            waited = 0
            while True:
                _, _, valid = await ctx.tick().sample(dut.memory.data.valid)
                if valid:
                    break
                waited += 1
            gaps.append(waited)

    simulate(dut, bench, processes=[memory.port0, memory.port1])
    assert sum(gaps) == (count - 1 if name == "twice" else 0)


def test_the_port_that_runs_ahead_keeps_half_of_its_places():
    """They are for the time in which the last words of the other one's segment are on their way."""
    dut, size = adapter("equal", segment=32)
    memory, asked = NativeMemory(dut, [0] * size, latency=lambda: 400), []

    async def bench(ctx):
        await put(ctx, dut.memory.request, [{"address": 0, "beats": size}])
        await ctx.tick().repeat(300)
        asked.append([len(reads) for reads in memory.reads])
        ctx.set(dut.memory.data.ready, 1)  # the other one has a word more to ask for
        await ctx.tick().until(dut.memory.data.valid)
        await ctx.tick().repeat(60)
        asked.append([len(reads) for reads in memory.reads])

    simulate(dut, bench, processes=[memory.port0, memory.port1])
    assert asked[0] == [31, 15]
    assert asked[1][1] == 31


@pytest.mark.parametrize("slow", [0, 4])
@pytest.mark.parametrize("name", WIDTHS)
def test_stop_anywhere_and_read_again(name, slow):
    rng = random.Random(slow)
    dut, size = adapter(name)
    words = filled(dut, rng)
    memory = NativeMemory(dut, words, latency=lambda: rng.randint(1, 20),
                          refuses=lambda: rng.choice((0, 0, 3)),
                          pause=lambda: rng.randint(0, slow))
    beats, received, idle_for, late = beats_of(words, dut), [], [], []

    async def bench(ctx):
        for number in range(24):
            start = rng.randrange(size - 1)
            count = rng.randint(1, size - start)
            await put(ctx, dut.memory.request, [{"address": start, "beats": count}])
            some = rng.randint(0, min(count, 30))
            received.append((await get(ctx, dut.memory.data, some), beats[start:start + some]))
            if number % 3 == 0:  # a request that waits while it stops is taken
                ctx.set(dut.memory.request.valid, 1)
            await ctx.tick().repeat(rng.choice((1, 1, 2, 5, 60)))
            ctx.set(dut.memory.stop, 1)
            ctx.set(dut.memory.data.ready, rng.randint(0, 1))
            asked = len(memory.reads[0] + memory.reads[1])
            while True:
                _, _, idle, asks, taken = await ctx.tick().sample(
                    dut.memory.idle, dut.memory.request.valid, dut.memory.request.ready)
                if asks and taken:
                    ctx.set(dut.memory.request.valid, 0)
                if idle and not asks:
                    break
            ctx.set(dut.memory.stop, 0)
            ctx.set(dut.memory.data.ready, 0)
            idle_for.append(ctx.get(dut.memory.data.valid))
            late.append(len(memory.reads[0] + memory.reads[1]) - asked)

    simulate(dut, bench, processes=[memory.port0, memory.port1])
    assert [taken for taken, _ in received] == [wanted for _, wanted in received]
    assert max(late) <= 4  # what stood already, at both ports
    assert idle_for == [0] * 24


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("name", WIDTHS)
def test_writes_are_seen_by_reads_that_follow(name, pauses):
    rng = random.Random(5)
    dut, size = adapter(name)
    words = filled(dut, rng)
    memory = NativeMemory(dut, words, latency=lambda: rng.randint(1, 12),
                          refuses=lambda: rng.randint(0, pauses[0]),
                          pause=lambda: rng.randint(0, pauses[1]))
    beats, received = beats_of(words, dut), []
    mask = (1 << dut.config.beat_bits) - 1

    async def bench(ctx):
        for _ in range(10):
            where = [rng.randrange(size) for _ in range(rng.randint(1, 4))]
            for address in where:
                beats[address] = rng.getrandbits(dut.config.beat_bits) & mask
                await put(ctx, dut.write, [{"address": address, "data": beats[address]}],
                          lambda: rng.randint(0, pauses[2]))
            for address in where:
                await put(ctx, dut.memory.request, [{"address": address, "beats": 1}])
                received.append((await get(ctx, dut.memory.data, 1), [beats[address]]))

    simulate(dut, bench, processes=[memory.port0, memory.port1])
    assert [taken for taken, _ in received] == [wanted for _, wanted in received]
    assert beats_of(words, dut) == beats


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"^NativeAdapter beats of 48 bits must be 1, 2, 4 .. "
                                         r"times as wide or narrow as the controller's words of "
                                         r"32$"):
        NativeAdapter(CoreConfig(lanes=6, bank_beats=0), address_bits=20, word_bits=32,
                      segment_words=8)
    with pytest.raises(ValueError, match=r"^NativeAdapter memory_beats=16384 of 64 bits must be at "
                                         r"most the memory's 65536 bytes$"):
        NativeAdapter(CoreConfig(lanes=8, bank_beats=0), address_bits=14, word_bits=32,
                      segment_words=8)
    with pytest.raises(ValueError, match=r"^NativeAdapter segment_words must be a power of two, "
                                         r"not 40$"):
        NativeAdapter(CoreConfig(lanes=8, bank_beats=0), address_bits=20, word_bits=32,
                      segment_words=40)
