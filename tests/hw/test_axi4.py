"""AXI4 read master: requests of the core become bursts, whatever memory and core do."""

import random

import pytest

from ternforge.config import CoreConfig
from ternforge.mem.axi4 import PAGE, Axi4Config, Axi4Read
from ternforge_sim.axi import OKAY, Axi4Memory
from ternforge_sim.bench import get, put, simulate

SLVERR, DECERR = 2, 3
BASE = 0x12_3456_7000
#: Bits of a word and bytes of a beat: as wide, several beats to a word, several words to a beat.
WIDTHS = {f"{word}-bit words, {8 * lanes}-bit beats": (word, lanes) for word, lanes in (
    (64, 8), (512, 64), (128, 8), (512, 8), (64, 32), (512, 256))}
widths = pytest.mark.parametrize(("word", "lanes"), WIDTHS.values(), ids=WIDTHS)


def beat(address: int, lanes: int) -> int:
    """What stands at a beat address; each byte tells it."""
    return int.from_bytes(bytes((address * 37 + (address >> 8) * 11 + k * 101) & 0xFF
                                for k in range(lanes)), "little")


class Bench:
    """An adapter before a memory that is full of :func:`beat`."""

    def __init__(self, word: int, lanes: int, *, burst: int = 8, outstanding: int = 4,
                 depth: int = 64, base: int = BASE, **memory):
        self.lanes, self.base = lanes, base
        self.config = Axi4Config(data_bits=word, burst_words=burst, outstanding=outstanding,
                                 depth=depth)
        self.dut = Axi4Read(CoreConfig(lanes=lanes, bank_beats=0), self.config)
        self.errors: dict[int, int] = {}  # of a word's address: RRESP
        self.memory = Axi4Memory(self.dut.axi, self.config, self.read, **memory)

    def read(self, address: int) -> tuple[int, int]:
        offset, size = address - self.base, self.config.word_bytes
        assert offset >= 0
        beats = b"".join(beat(k, self.lanes).to_bytes(self.lanes, "little")
                         for k in range(offset // self.lanes, -(-(offset + size) // self.lanes)))
        start = offset % self.lanes
        return (int.from_bytes(beats[start:start + size], "little"),
                self.errors.get(address, OKAY))

    def expected(self, requests: list[tuple[int, int]]) -> list[int]:
        return [beat(address + k, self.lanes) for address, beats in requests for k in range(beats)]

    def run(self, *testbenches, **options):
        async def begin(ctx):
            ctx.set(self.dut.base, self.base)
        simulate(self.dut, begin, *testbenches, processes=[self.memory.process], **options)


def as_payloads(requests):
    return [{"address": address, "beats": beats} for address, beats in requests]


#: Chance of the memory to stall, most cycles in which it takes no burst, most pause of the core
#: before a request and before a beat.
PAUSES = {"full-rate": (0, 0, 0, 0), "slow-words": (0.4, 0, 0, 0), "slow-bursts": (0, 30, 0, 0),
          "slow-requests": (0, 0, 60, 0), "backpressure": (0, 0, 0, 5), "all": (0.2, 5, 9, 3)}
REQUESTS = [(0, 2), (1, 1), (7, 30), (500, 41), (3, 3), (64, 24), (0, 50)]


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@widths
def test_requests_are_served_in_order(word, lanes, pauses):
    rng, taken = random.Random(word + lanes), []
    bench = Bench(word, lanes, latency=lambda: rng.choice((1, 2, 40)),
                  stalled=lambda: rng.random() < pauses[0], waits=lambda: rng.randint(0, pauses[1]))
    wanted = bench.expected(REQUESTS)

    async def ask(ctx):
        await put(ctx, bench.dut.memory.request, as_payloads(REQUESTS),
                  lambda: rng.randint(0, pauses[2]))

    async def listen(ctx):
        taken.extend(await get(ctx, bench.dut.memory.data, len(wanted),
                               lambda: rng.randint(0, pauses[3])))
        idle = [ctx.get(bench.dut.memory.idle)]
        for _ in range(60):
            _, _, valid, failed = await ctx.tick().sample(bench.dut.memory.data.valid,
                                                          bench.dut.failed)
            idle.append(not valid and not failed)
        assert all(idle)

    bench.run(ask, listen)
    assert taken == wanted
    size = bench.config.word_bytes
    touched = sum((BASE + lanes * (a + n) + size - 1) // size - (BASE + lanes * a) // size
                  for a, n in REQUESTS)
    assert sum(words for _, words in bench.memory.bursts) == touched == bench.memory.words
    assert bench.memory.most <= bench.config.outstanding


def test_bursts_end_where_their_blocks_do_and_never_cross_a_page():
    """Random requests around page boundaries, with the longest bursts that there are."""
    rng, taken = random.Random(5), []
    bench = Bench(512, 64, burst=PAGE // 64, depth=256, latency=lambda: 2)
    requests = [(max(0, rng.randrange(1, 40) * 64 - rng.randrange(9)), rng.randint(1, 140))
                for _ in range(40)]
    wanted = bench.expected(requests)

    async def ask(ctx):
        await put(ctx, bench.dut.memory.request, as_payloads(requests))

    async def listen(ctx):
        taken.extend(await get(ctx, bench.dut.memory.data, len(wanted)))

    bench.run(ask, listen)
    assert taken == wanted
    at = iter(bench.memory.bursts)
    for first, beats in requests:
        address, end = BASE + 64 * first, BASE + 64 * (first + beats)
        while address < end:
            stop = min(end, (address // PAGE + 1) * PAGE)
            assert next(at) == (address, (stop - address) // 64)
            address = stop


def test_bursts_wait_for_room_and_for_their_number():
    """Nothing is asked for that the queue has no room for; the rest comes when the core takes."""
    bench = Bench(512, 64, burst=8, outstanding=3, depth=64, latency=lambda: 30)
    taken, asked = [], []

    async def talk(ctx):
        await put(ctx, bench.dut.memory.request, as_payloads([(0, 200)]))
        await ctx.tick().repeat(400)
        asked.append(sum(words for _, words in bench.memory.bursts))
        taken.extend(await get(ctx, bench.dut.memory.data, 200))

    bench.run(talk)
    assert asked == [56]  # seven bursts; an eighth would need the place that stays free
    assert bench.memory.most == 3
    assert taken == bench.expected([(0, 200)])


@pytest.mark.parametrize("slow", [0, 4], ids=["fast-core", "slow-core"])
@widths
def test_stop_anywhere_and_start_again(word, lanes, slow):
    rng, received = random.Random(lanes + word), []
    # Bursts of less than a beat: what is dropped may end within one.
    burst = 2 if 8 * lanes > word else 8
    bench = Bench(word, lanes, burst=burst, latency=lambda: rng.randint(1, 30),
                  stalled=lambda: rng.random() < 0.2, waits=lambda: rng.choice((0, 0, 20)))
    port, asked = bench.dut.memory, 0

    async def talk(ctx):
        nonlocal asked
        for _ in range(10):
            requests = [(rng.randrange(300), rng.randint(1, 90)) for _ in range(3)]
            count = rng.randint(0, 60)
            wanted = bench.expected(requests)[:count]
            sent, got, pause = 0, [], 0
            ctx.set(port.stop, 0)
            while len(got) < len(wanted):
                if sent < 3:
                    ctx.set(port.request.payload, as_payloads(requests)[sent])
                ctx.set(port.request.valid, sent < 3)
                ctx.set(port.data.ready, not pause)
                _, _, accepted, valid, payload = await ctx.tick().sample(
                    port.request.valid & port.request.ready, port.data.valid & port.data.ready,
                    port.data.payload)
                sent += accepted
                pause = rng.randint(0, slow) if valid else max(0, pause - 1)
                got += [payload] if valid else []
            received.append((got, wanted))
            asked += sent
            # A request may still wait when it stops, and goes away.
            ctx.set(port.data.ready, rng.random() < 0.5)
            ctx.set(port.stop, 1)
            waiting = sent < 3 and count
            ctx.set(port.request.valid, waiting)
            done = False
            while not done:
                _, _, idle, ready, valid = await ctx.tick().sample(
                    port.idle, port.request.ready, port.data.valid)
                assert not valid
                done = idle and not waiting
                if ready:
                    waiting = False
                    ctx.set(port.request.valid, 0)
            assert not bench.memory.words - sum(words for _, words in bench.memory.bursts)

    bench.run(talk)
    assert [got for got, _ in received] == [wanted for _, wanted in received]
    assert len(received) == 10
    assert asked > 10
    assert sum(words for _, words in bench.memory.bursts) < 10 * 3 * 91 * max(1, 8 * lanes // word)


@pytest.mark.parametrize("response", [SLVERR, DECERR])
@widths
def test_an_error_drains_and_the_next_request_is_served(word, lanes, response):
    """First, middle and last word of a burst, of the request, with more requests behind it."""
    rng, size = random.Random(word), word // 8
    bench = Bench(word, lanes, latency=lambda: 12, stalled=lambda: rng.random() < 0.3)
    port, seen = bench.dut.memory, []
    request = (5, 70)
    first, last = (BASE + lanes * at for at in (request[0], sum(request) - 1))
    places = [first // size, (first + last) // 2 // size, first // size + 7, last // size]

    async def talk(ctx):
        ctx.set(port.data.ready, 1)
        for place in places:
            bench.errors = {place * size: response}
            await put(ctx, port.request, as_payloads([request]))
            ctx.set(port.request.payload, {"address": 0, "beats": 200})
            ctx.set(port.request.valid, 1)  # dropped, or never taken
            got, failed, given, taken = [], False, None, False
            while not failed:
                _, _, failed, valid, payload, taken = await ctx.tick().sample(
                    bench.dut.failed, port.data.valid, port.data.payload, port.request.ready)
                got += [payload] if valid else []
                if taken:
                    ctx.set(port.request.valid, 0)
            ctx.set(port.request.valid, 0)
            given = ctx.get(bench.dut.response)
            await ctx.tick().until(~bench.dut.failed)
            wanted = bench.expected([request])
            seen.append((given, got == wanted[:len(got)], ctx.get(port.idle)))
            before = (place * size - BASE) // lanes - request[0]
            assert len(got) <= max(0, before)
            assert sum(words for _, words in bench.memory.bursts) == bench.memory.words
            bench.errors = {}
            await put(ctx, port.request, as_payloads([request]))
            assert await get(ctx, port.data, request[1]) == wanted
            ctx.set(port.data.ready, 1)

    bench.run(talk)
    assert seen == [(response, True, 1)] * len(places)


def test_an_error_of_a_dropped_word_is_none():
    bench, failed = Bench(512, 64, latency=lambda: 20), []
    bench.errors = {BASE + 64 * k: SLVERR for k in range(40)}
    port = bench.dut.memory

    async def talk(ctx):
        await put(ctx, port.request, as_payloads([(0, 40)]))
        await ctx.tick().repeat(10)
        ctx.set(port.stop, 1)
        idle = False
        while not idle:
            _, _, idle, raised = await ctx.tick().sample(port.idle, bench.dut.failed)
            failed.append(raised)
        ctx.set(port.stop, 0)
        for _ in range(40):
            _, _, raised = await ctx.tick().sample(bench.dut.failed)
            failed.append(raised)

    bench.run(talk)
    assert bench.memory.words > 0
    assert not any(failed)


@pytest.mark.parametrize("latency", [4, 100])
@pytest.mark.parametrize(("word", "lanes"), [(512, 64), (128, 16), (64, 8)])
def test_one_word_per_cycle_behind_any_latency(word, lanes, latency):
    bench = Bench(word, lanes, burst=16, outstanding=16, depth=256, latency=lambda: latency)
    gaps = []

    async def talk(ctx):
        await put(ctx, bench.dut.memory.request, as_payloads([(3, 1000)]))
        ctx.set(bench.dut.memory.data.ready, 1)
        await ctx.tick().until(bench.dut.memory.data.valid)
        for _ in range(999):
            _, _, valid = await ctx.tick().sample(bench.dut.memory.data.valid)
            gaps.append(not valid)

    bench.run(talk)
    assert sum(gaps) == 0


@pytest.mark.parametrize(("field", "value", "message"), [
    ("data_bits", 96, "must be 64, 128, 256, 512 or 1024, not 96"),
    ("address_bits", 24, "must be 32 to 64, not 24"),
    ("burst_words", 128, "must be at most 64 with data_bits=512, not 128"),
    ("burst_words", 12, "must be a power of two, not 12"),
    ("depth", 16, "must be more than burst_words=16, not 16"),
    ("outstanding", 0, "must be positive, not 0")])
def test_sizes_are_checked(field, value, message):
    with pytest.raises(ValueError, match=f"^Axi4Config.{field} {message}$"):
        Axi4Config(**{field: value})
    with pytest.raises(TypeError, match=rf"^Axi4Config.{field} must be an integer, not True$"):
        Axi4Config(**{field: True})


def test_beats_that_do_not_divide_words_are_refused():
    with pytest.raises(ValueError, match=r"^CoreConfig.lanes must be a power of two for an AXI4 "
                                         r"port, not 40$"):
        Axi4Read(CoreConfig(lanes=40, bank_beats=0), Axi4Config())
