"""Whole tokens through AXI4 and AXI4-Lite against the integer model; errors on both sides."""

import random

import cocotb
import numpy as np
from cocotbext.axi import AxiResp

from ternforge.core.core import SITES
from ternforge.host.registers import IDENTITY, REGISTERS, VERSION, constants, register
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Program
from ternforge_model.toy import random_program

from .axi import Host, Refused, SlowMemory, pauses
from .bus import Unit, within

__all__ = ["aborted_steps_leave_nothing_behind", "bus_errors_end_the_step",
           "foreign_tokens_are_refused", "queues_hold_what_they_promise",
           "registers_are_as_defined", "tokens_equal_integer_model"]

BASE = 0x9_8765_F000
VOCABULARY = 24
PROMPT = (3, 15, 0, 7)
MORE = 3  #: tokens to generate
LIMIT = 60_000  #: cycles for anything


def toy() -> Program:
    """Three layers, whose image takes more than a page."""
    return random_program(3, d=16, layers=3, m=24, vocab=VOCABULARY)


def expected(program: Program, tokens, more: int = 0) -> list[int]:
    """What the integer model predicts after each token, and after each of its predictions."""
    model, state, found = IntegerModel(program), None, []
    for token in tokens:
        result = model.step(token, state)
        state = result.state
        found.append(int(result.tokens[-1]))
    for _ in range(more):
        result = model.step(found[-1], state)
        state = result.state
        found.append(int(result.tokens[-1]))
    return found


class Bench:
    """A system with a memory that holds an image, and a host."""

    def __init__(self, dut, name: str, *, latency: int = 5):
        self.dut, self.unit, self.rng = dut, Unit(dut, "axi", name), random.Random(name)
        self.program = toy()
        self.image: Image = lower(self.program, self.unit.component.config)
        raw = self.image.memory().tobytes()
        assert len(raw) > 4096
        self.memory = SlowMemory(dut, f"{name}_m_axi", {BASE: raw},
                                 lambda: self.rng.randint(1, latency))
        self.size = len(raw)
        self.host = Host(dut, f"{name}_s_axi")

    async def start(self) -> None:
        await self.unit.reset(self.dut)
        self.memory.watch()
        await self.host.write("BASE_LOW", page=BASE >> 12 & 0xFFFFF)
        await self.host.write("BASE_HIGH", value=BASE >> 32)

    async def run(self, tokens, more: int = 0) -> list[int]:
        """Feed ``tokens`` as a new sequence, then generate; all results."""
        for number, token in enumerate(tokens):
            await self.host.write("TOKEN", token=token, reset=number == 0)
        if more:
            await self.host.write("GENERATE", value=more)
        found = []
        for _ in range(len(tokens) + more):
            result = await self.host.result()
            assert not result["failed"]
            found.append(result["token"])
        return found

    async def check(self) -> None:
        """The system serves a sequence as if nothing had been before."""
        assert await within(LIMIT, self.run(PROMPT[:2])) == expected(self.program, PROMPT[:2])


async def refuses(task) -> bool:
    """Whether the core answers SLVERR."""
    try:
        await task
    except Refused:
        return True
    return False


@cocotb.test()
@cocotb.parametrize((("name", "latency", "stalls", "waits", "host"), [
    ("same", 1, 0, 0, 0), ("same", 60, 0.4, 0, 0), ("same", 10, 0, 0.8, 0.3),
    ("wide", 1, 0, 0, 0), ("wide", 100, 0.5, 0.5, 0), ("wide", 5, 0, 0, 0.6)]))
async def tokens_equal_integer_model(dut, name: str, latency: int, stalls: float, waits: float,
                                     host: float):
    """Predictions, counters, logits; memory slow to answer, in taking bursts; host slow."""
    bench = Bench(dut, name, latency=latency)
    bench.memory.r_channel.set_pause_generator(pauses(random.Random(1), stalls))
    bench.memory.ar_channel.set_pause_generator(pauses(random.Random(2), waits))
    bench.host.slow(random.Random(3), host)
    await bench.start()
    ask = bench.host
    await ask.write("INTERRUPT", done=1)
    for number, token in enumerate(PROMPT[:-1]):
        await ask.write("TOKEN", token=token, reset=number == 0, quiet=1)
    await ask.write("TOKEN", token=PROMPT[-1])
    await ask.write("GENERATE", value=MORE)
    wanted = expected(bench.program, PROMPT, MORE)
    found = [await within(LIMIT, ask.result()) for _ in range(MORE + 1)]
    assert [result["token"] for result in found] == wanted[-MORE - 1:]
    assert not any(result["failed"] for result in found)
    await ask.finish()
    await bench.unit.tick()
    assert bench.unit.get("irq") == 1
    await ask.write("EVENTS", done=1)
    await bench.unit.tick()
    assert bench.unit.get("irq") == 0
    assert await ask.read("EVENTS") == {"result": 0, "fault": 0, "bus_error": 0, "done": 0}

    model, state, clipped, result = IntegerModel(bench.program), None, dict.fromkeys(SITES, 0), None
    for token in [*PROMPT, *wanted[-MORE - 1:-1]]:
        result = model.step(token, state)
        state = result.state
        clipped = {site: result.saturations[site] + clipped[site] for site in SITES}
    assert result is not None
    assert {site: await ask.value(f"SATURATED_{site.upper()}") for site in SITES} == clipped
    assert await ask.read("RATIO") == {"mantissa": int(result.ratio_mantissa[-1]),
                                       "exponent": int(result.ratio_exponent[-1])}
    (logits,) = (vector["address"] for vector in bench.image.metadata["vectors"]
                 if vector["name"] == "logits")
    await ask.write("PEEK_ADDRESS", value=logits)
    peeked = [await ask.value("PEEK_DATA") for _ in result.acc[-1]]
    assert peeked == np.asarray(result.acc[-1]).tolist()
    assert await ask.value("CYCLES") > 100
    ends = [address + size for address, size in bench.memory.bursts]
    assert min(address for address, _ in bench.memory.bursts) == BASE
    assert max(ends) <= BASE + bench.size + bench.memory.byte_lanes
    assert 1 < bench.memory.most <= bench.unit.component.axi.outstanding


@cocotb.test()
async def registers_are_as_defined(dut):
    """Constants, bytes of the writable ones, and SLVERR for all that the map does not allow."""
    bench = Bench(dut, "same")
    ask, system = bench.host, bench.unit.component
    await bench.unit.reset(dut)
    fixed = constants(system.config, system.axi, system.control.queue)
    assert (fixed["ID"], fixed["VERSION"]) == (IDENTITY, VERSION)
    for name, value in fixed.items():
        assert await ask.word(register(name).offset) == value, name
    known = {entry.offset: entry for entry in REGISTERS}
    for offset in [*range(0, 0x108, 4), 0x400, 0xFFC]:
        entry = known.get(offset)
        if entry is None or entry.access == "wo":
            assert await refuses(ask.word(offset)), hex(offset)
        elif entry.name not in fixed and entry.name != "PEEK_DATA":
            assert await ask.word(offset) == (
                entry.pack(room=system.control.queue) if entry.name == "STATUS" else 0), entry.name
        if entry is None or entry.access == "ro":
            assert await refuses(ask.poke(offset, b"\xff\xff\xff\xff")), hex(offset)
    for name, mask in (("BASE_LOW", 0xFFFFF000), ("BASE_HIGH", 0xFFFFFFFF),
                       ("PEEK_ADDRESS", 0xFFFF), ("INTERRUPT", 0xF)):
        offset, value = register(name).offset, 0x8899AABB
        await ask.poke(offset, value.to_bytes(4, "little"))
        assert await ask.word(offset) == value & mask, name
        for byte in (2, 0, 3, 1):  # one at a time
            value = value & ~(0xFF << 8 * byte) | (byte * 0x11 + 0x14) << 8 * byte
            await ask.poke(offset + byte, bytes([byte * 0x11 + 0x14]))
            assert await ask.word(offset) == value & mask, (name, byte)
    assert await ask.value("GENERATE") == 0
    await ask.poke(register("GENERATE").offset + 1, b"\x02")  # the other byte counts as 0
    assert await ask.value("GENERATE") == 0x200  # there is no prediction yet
    assert not (await ask.read("STATUS"))["busy"]
    await ask.write("GENERATE", value=0)
    assert await ask.read("RESULT") == {"token": 0, "failed": 0, "valid": 0}


@cocotb.test()
async def queues_hold_what_they_promise(dut):
    """As many steps as STATUS says, SLVERR for one more; results wait, and the core with them."""
    bench = Bench(dut, "same")
    ask, queue = bench.host, bench.unit.component.control.queue
    await bench.start()
    steps = 2 * queue + 2
    wanted = expected(bench.program, [number % VOCABULARY for number in range(steps)])
    sent, full = 0, False
    while sent < steps:
        if (await ask.read("STATUS"))["room"]:
            await ask.write("TOKEN", token=sent % VOCABULARY, reset=sent == 0)
            sent += 1
        elif not full:
            full = await refuses(ask.write("TOKEN", token=1))
        if (await ask.read("STATUS"))["results"] == queue and full:
            break
    for name in ("BASE_LOW", "BASE_HIGH"):
        assert await refuses(ask.poke(register(name).offset, bytes(4)))
    assert await refuses(ask.value("PEEK_DATA"))
    for _ in range(3000):  # long enough for one more token, which has no room
        await bench.unit.tick()
    status = await ask.read("STATUS")
    assert (status["results"], status["busy"]) == (queue, 1)
    assert (await ask.read("EVENTS"))["result"] == 1
    found = []
    while len(found) < steps:
        found.append((await within(LIMIT, ask.result()))["token"])
        if sent < steps and (await ask.read("STATUS"))["room"]:
            await ask.write("TOKEN", token=sent % VOCABULARY, reset=0)
            sent += 1
    assert full
    assert found == wanted
    await ask.finish()
    assert (await ask.read("EVENTS"))["result"] == 0
    assert await ask.value("BASE_HIGH") == BASE >> 32


@cocotb.test()
@cocotb.parametrize((("name", "response"), [("same", AxiResp.SLVERR), ("wide", AxiResp.DECERR)]))
async def bus_errors_end_the_step(dut, name: str, response: AxiResp):
    """In directory, row, program: one failed result, no hang, and a right answer afterwards."""
    bench = Bench(dut, name, latency=30)
    ask, lanes = bench.host, bench.memory.byte_lanes
    bench.memory.r_channel.set_pause_generator(pauses(random.Random(1), 0.2))
    await bench.start()
    await ask.write("INTERRUPT", bus_error=1)
    row = bench.size - 1  # in the last word of the image
    for offset in (0, row, 640, bench.size // 2):
        address = (BASE + offset) // lanes * lanes
        bench.memory.responses = {address: response}
        token = VOCABULARY - 1 if offset == row else 5
        await ask.write("TOKEN", token=token, reset=1)
        await ask.write("TOKEN", token=1)
        await ask.write("GENERATE", value=5)
        result = await within(LIMIT, ask.result())
        assert result == {"token": 0, "failed": 1, "valid": 1}, hex(offset)
        assert await refuses(ask.write("TOKEN", token=1))
        assert await refuses(ask.write("GENERATE", value=1))
        await within(LIMIT, ask.finish())
        status = await ask.read("STATUS")
        assert (status["bus_error"], status["response"], status["fault"]) == (1, int(response), 0)
        assert status["results"] == 0
        assert await ask.value("GENERATE") == 0
        await bench.unit.tick()
        assert bench.unit.get("irq") == 1
        bench.memory.responses = {}
        await ask.write("EVENTS", bus_error=1)
        assert (await ask.read("STATUS"))["bus_error"] == 0
        # Whatever the step says: the sequence was lost.
        await ask.write("TOKEN", token=PROMPT[0])
        assert (await within(LIMIT, ask.result()))["token"] == expected(bench.program,
                                                                        PROMPT[:1])[0]
        await bench.check()
    assert bench.memory.refused >= 4


@cocotb.test()
@cocotb.parametrize(name=["same", "wide"])
async def aborted_steps_leave_nothing_behind(dut, name: str):
    """An abort at any cycle: steps and bursts under way are dropped."""
    bench = Bench(dut, name, latency=50)
    ask, dropped = bench.host, 0
    await bench.start()
    for _ in range(5):
        await ask.write("TOKEN", token=bench.rng.randrange(VOCABULARY), reset=1)
        await ask.write("TOKEN", token=1)
        for _ in range(bench.rng.randrange(900)):
            await bench.unit.tick()
        await ask.write("CONTROL", abort=1)
        await within(LIMIT, ask.finish())
        assert await ask.read("EVENTS") | {"result": 0} == {
            "result": 0, "fault": 0, "bus_error": 0, "done": 1}
        while (result := await ask.read("RESULT"))["valid"]:
            dropped += result["failed"]
        await bench.check()
    assert dropped > 1
    await ask.write("CONTROL", abort=1)  # nothing is under way
    await within(LIMIT, ask.finish())
    await bench.check()


@cocotb.test()
async def foreign_tokens_are_refused(dut):
    """No image at the address, and a token outside of the vocabulary; what waits is dropped."""
    bench = Bench(dut, "same")
    ask = bench.host
    await bench.start()
    for base, token in ((0x7000, 1), (BASE, VOCABULARY)):
        await ask.write("BASE_LOW", page=base >> 12 & 0xFFFFF)
        await ask.write("BASE_HIGH", value=base >> 32)
        await ask.write("TOKEN", token=token, reset=1)
        await ask.write("TOKEN", token=1)
        assert (await within(LIMIT, ask.result())) == {"token": 0, "failed": 1, "valid": 1}
        await within(LIMIT, ask.finish())
        status = await ask.read("STATUS")
        assert (status["fault"], status["bus_error"], status["results"]) == (1, 0, 0)
        assert status["room"] == bench.unit.component.control.queue
        assert await refuses(ask.write("TOKEN", token=1))
        await ask.write("EVENTS", fault=1)
        assert not (await ask.read("STATUS"))["fault"]
    await bench.check()
    # A refused token is not part of the sequence.
    await bench.run(PROMPT[:2])
    await ask.write("TOKEN", token=VOCABULARY)
    assert (await within(LIMIT, ask.result()))["failed"]
    await ask.write("EVENTS", fault=1)
    await ask.write("TOKEN", token=PROMPT[2])
    wanted = expected(bench.program, PROMPT[:3])
    assert (await within(LIMIT, ask.result()))["token"] == wanted[-1]
    # CONTROL.reset begins a sequence as the bit of the step does, with the next step that is fed.
    await ask.write("CONTROL", reset=1)
    await ask.write("TOKEN", token=VOCABULARY)
    assert (await within(LIMIT, ask.result()))["failed"]
    await ask.write("EVENTS", fault=1)
    await ask.write("TOKEN", token=PROMPT[0])
    assert (await within(LIMIT, ask.result()))["token"] == wanted[0]
