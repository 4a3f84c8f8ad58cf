"""Fetch and image memory: a token's beats come in order, whatever the stream's consumer does."""

import random

import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.config import CoreConfig
from ternforge.core.several import several
from ternforge.isa import DIRECTORY, MAGIC
from ternforge.mem.fetch import Fetch
from ternforge.mem.onchip import OnChipMemory
from ternforge_sim.bench import get, simulate

CONFIGS = {
    "one bank": CoreConfig(lanes=8, memory_beats=128, bank_beats=128),
    "three banks": CoreConfig(lanes=8, memory_beats=128, bank_beats=48),
    "narrow beat": CoreConfig(lanes=2, memory_beats=128, bank_beats=40),
    "wide beat": CoreConfig(lanes=40, memory_beats=128, bank_beats=40),
    "single port": CoreConfig(lanes=8, memory_beats=128, single_port_beats=64, bank_beats=64),
}
ROWS, STRIDE, EMBEDDING = 5, 6, 60


class Memory(wiring.Component):
    """Fetch on an on-chip memory."""

    def __init__(self, config: CoreConfig, init=()):
        self.memory = OnChipMemory(config, init)
        self.fetch = Fetch(config, self.memory.latency)
        super().__init__({
            "start": In(1), "token": In(several(16, config.streams)), "stop": In(1),
            "idle": Out(1), "fault": Out(1),
            "o": Out(stream.Signature(config.beat_bits)),
            "write": In(self.memory.write.shape()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = self.memory
        m.submodules.fetch = fetch = self.fetch
        m.d.comb += [
            self.memory.read_address.eq(fetch.read_address),
            fetch.read_data.eq(self.memory.read_data), self.memory.write.eq(self.write),
            fetch.start.eq(self.start), fetch.token.eq(self.token), fetch.stop.eq(self.stop),
            self.idle.eq(fetch.idle), self.fault.eq(fetch.fault),
        ]
        connect(m, fetch.o, flipped(self.o))
        return m


def image(config: CoreConfig, magic: int = MAGIC) -> list[int]:
    """Directory, then beats that tell their address."""
    directory = DIRECTORY.const({"magic": magic, "vocab_size": ROWS, "embedding": EMBEDDING,
                                 "stride": STRIDE, "reserved": 0}).as_value()
    word = directory.value
    beats = [word >> (config.beat_bits * k) & ((1 << config.beat_bits) - 1)
             for k in range(config.header_beats)]
    return [*beats, *[k << (config.beat_bits - 8) | k for k in range(len(beats), 128)]]


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


async def load(ctx, dut, beats):
    for address, beat in enumerate(beats):
        ctx.set(dut.write, {"enable": 1, "address": address, "data": beat})
        await ctx.tick()
    ctx.set(dut.write, {"enable": 0, "address": 0, "data": 0})
    await ctx.tick().repeat(4)


@pytest.mark.parametrize("most_pause", [0, 4], ids=["full-rate", "backpressure"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_tokens_stream_in_order(config, most_pause):
    rng = random.Random(5)
    dut, beats, received = Memory(config), image(config), []

    async def bench(ctx):
        await load(ctx, dut, beats)
        for token in (2, 0, 4):
            await ctx.tick().until(dut.idle)
            ctx.set(dut.token, token)
            await pulse(ctx, dut.start)
            received.append((token, await get(ctx, dut.o, config.header_beats + STRIDE + 30,
                                              lambda: rng.randint(0, most_pause))))
            await ctx.tick().repeat(rng.randint(0, 9) + 1)
            await pulse(ctx, dut.stop)

    simulate(dut, bench)
    for token, taken in received:
        row, head = EMBEDDING + STRIDE * token, config.header_beats
        assert taken == [*beats[head:2 * head], *beats[row:row + STRIDE],
                         *beats[2 * head:2 * head + 30]]
    assert len(received) == 3


@pytest.mark.parametrize("lanes", [8, 40])
def test_each_stream_has_its_row(lanes):
    config = CoreConfig(lanes=lanes, streams=3, memory_beats=128, bank_beats=128)
    dut, beats, received, faults = Memory(config), image(config), [], []
    head = config.header_beats
    steps = [[2, 0, 4], [1, 1, 3], [4, 2, 2]]

    async def bench(ctx):
        await load(ctx, dut, beats)
        for number, tokens in enumerate(steps):
            foreign = list(tokens)  # refused before anything of the step has come
            foreign[number] = ROWS
            for step, fails in ((foreign, True), (tokens, False)):
                await ctx.tick().until(dut.idle)
                ctx.set(dut.token, step)
                await pulse(ctx, dut.start)
                if fails:
                    await ctx.tick().until(dut.fault)
                    faults.append(ctx.get(dut.o.valid))
                else:
                    received.append(await get(ctx, dut.o, 3 * (head + STRIDE) + 20))
                await pulse(ctx, dut.stop)

    simulate(dut, bench)
    assert faults == [0, 0, 0]
    for tokens, taken in zip(steps, received, strict=True):
        rows = [EMBEDDING + STRIDE * token for token in tokens]
        assert taken == [beat for row in rows
                         for beat in (*beats[head:2 * head], *beats[row:row + STRIDE])] + beats[
                             2 * head:2 * head + 20]


def test_full_rate_has_no_bubbles():
    config = CONFIGS["three banks"]
    dut, stalls = Memory(config, image(config)), []

    async def bench(ctx):
        await pulse(ctx, dut.start)
        ctx.set(dut.o.ready, 1)
        for _ in range(config.header_beats + 1):  # the header, then the first beat of the row
            await ctx.tick().until(dut.o.valid)
        for _ in range(50):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            stalls.append(not valid)

    simulate(dut, bench)
    assert sum(stalls) == 0


@pytest.mark.parametrize(("magic", "token"), [(MAGIC ^ 1, 0), (MAGIC, ROWS)],
                         ids=["no image", "foreign token"])
def test_fault_and_recovery(magic, token):
    config, faults = CONFIGS["one bank"], []
    dut = Memory(config, image(config, magic))

    async def bench(ctx):
        ctx.set(dut.token, token)
        await pulse(ctx, dut.start)
        await ctx.tick().until(dut.fault)
        faults.append(ctx.get(dut.o.valid))
        await pulse(ctx, dut.stop)
        await ctx.tick().until(dut.idle)
        faults.append(ctx.get(dut.fault))

    simulate(dut, bench)
    assert faults == [0, 0]


def test_initial_contents_of_single_port_memory_are_refused():
    with pytest.raises(ValueError, match=r"^OnChipMemory init must be zero in single-port RAM, "
                                         r"which only the host port can write$"):
        OnChipMemory(CONFIGS["single port"], [1])


def test_a_memory_off_the_chip_has_no_banks():
    with pytest.raises(ValueError, match=r"^OnChipMemory needs a core with bank_beats, but this "
                                         r"has its image memory of 256 beats off the chip$"):
        OnChipMemory(CoreConfig(memory_beats=256, bank_beats=0))
    with pytest.raises(ValueError, match=r"^CoreConfig\.single_port_beats must be 0 with an image "
                                         r"memory off the chip \(bank_beats=0\), not 4$"):
        CoreConfig(memory_beats=256, bank_beats=0, single_port_beats=4)
