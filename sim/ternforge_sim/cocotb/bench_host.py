"""Host port with a played core, and the serial line: bytes and bits slow on either side."""

import random
from collections.abc import Callable

import cocotb

from ternforge.core.core import SITES
from ternforge.host.protocol import (
    COUNTERS,
    INFO,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    SYNC,
    TOKENS_PER_FRAME,
    Command,
    Frame,
    Reason,
    capacity,
    info_values,
    pack,
    step_tokens,
)

from .bus import Unit, within

__all__ = ["bits_come_as_sent", "bytes_survive_the_line", "damaged_frames_do_nothing",
           "every_command_is_answered"]

COUNTS = {"cycles": 0x89ABCDEF, "product": 1, "square": 2, "rescale": 0x300, "gate": 4,
          "residual": 0xFFFF, "mantissa": 0xABCD, "exponent": -9, "fault": 0}
FOREIGN = 0xFF00  #: the played core refuses tokens from here on


def request(command: Command, sequence: int, payload: bytes = b"") -> bytes:
    """Frame of a request."""
    return Frame(command.value, sequence, payload).to_bytes()


def reply(command: Command, sequence: int, payload: bytes = b"") -> bytes:
    """Frame of the answer that grants it."""
    return Frame(REPLY | command.value, sequence, payload).to_bytes()


def refusal(reason: Reason, sequence: int) -> bytes:
    """Frame of the answer that refuses it."""
    return Frame(REPLY | REFUSED | reason.value, sequence).to_bytes()


def words(*values: int) -> bytes:
    """Tokens or an address, as they stand in a payload."""
    return b"".join(value.to_bytes(2, "little") for value in values)


def predict(state: int, token: int, reset: int) -> int:
    """The played core: state after a token; its lower 12 bits are the prediction."""
    return ((0 if reset else state) * 5 + token + 1) & 0xFFFF


def element(address: int) -> int:
    """The played vector RAM."""
    value = (address * 74_565 + 0x700000) & 0xFFFFFF
    return value - ((value & 0x800000) << 1)


class Core:
    """Plays the core behind a host port; notes steps and writes."""

    def __init__(self, unit: Unit, delay: Callable[[], int]):
        self.unit, self.delay = unit, delay
        self.steps: list[tuple[int, int]] = []
        self.writes: dict[int, int] = {}

    async def run(self) -> None:
        """For ever; a step takes ``delay()`` cycles."""
        unit, state, wait, result, fault = self.unit, 0, 0, None, 0
        unit.set(status_cycles=COUNTS["cycles"],
                 status_saturations=[COUNTS[site] for site in SITES],
                 status_ratio={name: COUNTS[name] for name in ("mantissa", "exponent")})
        address = 0
        while True:
            busy = wait > 0 or result is not None
            unit.set(tokens_ready=not busy, status_busy=busy, status_fault=fault,
                     result_valid=wait == 0 and result is not None, result_payload=result or 0,
                     peek_data=element(address))
            valid, step, ready, address, write = await unit.tick(
                "tokens_valid", "tokens_payload", "result_ready", "peek_address", "write")
            if write.enable:
                assert not busy
                self.writes[write.address] = write.data
            if busy and wait == 0 and ready:
                result = None
            wait -= wait > 0
            if valid and not busy:
                self.steps.append((step.token, step.reset))
                fault, wait = int(step.token >= FOREIGN), 1 + self.delay()
                if not fault:
                    state = predict(state, step.token, step.reset)
                    result = state & 0xFFF


def conversation(lanes: int, rng: random.Random, info: bytes) -> list[tuple[bytes, bytes]]:
    """Every command and every refusal, each with its answer."""
    prompt = [rng.randrange(FOREIGN) for _ in range(step_tokens(lanes))]
    state = 0
    for k, token in enumerate(prompt):
        state = predict(state, token, k == 0)
    after, generated = state, []
    for _ in range(2 * TOKENS_PER_FRAME + 3):
        after = predict(after, after & 0xFFF, 0)
        generated.append(after & 0xFFF)
    stretches = [generated[k:k + TOKENS_PER_FRAME]
                 for k in range(0, len(generated), TOKENS_PER_FRAME)]
    beats = [(address, rng.randbytes(lanes)) for address in (0, 0x123456, 0xFFFFFF)]
    bad = request(Command.STOP, 6)
    return [
        (request(Command.INFO, 1), reply(Command.INFO, 1, info)),
        *((request(Command.WRITE, n, address.to_bytes(3, "little") + beat),
           reply(Command.WRITE, n)) for n, (address, beat) in enumerate(beats)),
        (request(Command.STEP, 255, words(*prompt)),
         reply(Command.STEP, 255, words(state & 0xFFF))),
        (request(Command.GENERATE, 9, words(len(generated))),
         b"".join(reply(Command.GENERATE, 9, words(*stretch)) for stretch in stretches)),
        (request(Command.COUNTERS, 7), reply(Command.COUNTERS, 7, pack(COUNTERS, COUNTS))),
        (request(Command.PEEK, 0, words(2 * PEEK_BLOCK + 5)),
         reply(Command.PEEK, 0, b"".join(
             element(2 * PEEK_BLOCK + k).to_bytes(4, "little", signed=True)
             for k in range(PEEK_BLOCK)))),
        (request(Command.STOP, 2), reply(Command.STOP, 2)),
        (request(Command.RESET, 3), reply(Command.RESET, 3)),
        (request(Command.STEP, 4, words(77)), reply(Command.STEP, 4, words(78))),
        (bad[:-1] + bytes([bad[-1] ^ 1]), refusal(Reason.CRC, 6)),
        (request(Command.STEP, 6, bytes(3)), refusal(Reason.LENGTH, 6)),
        (request(Command.INFO, 6, bytes(1)), refusal(Reason.LENGTH, 6)),
        (Frame(8, 6).to_bytes(), refusal(Reason.COMMAND, 6)),
        (request(Command.STEP, 6, words(FOREIGN)), refusal(Reason.FAULT, 6)),
        (request(Command.STOP, 2), reply(Command.STOP, 2)),
    ]


@cocotb.test()
@cocotb.parametrize(idle=[0, 9], stall=[0, 30], delay=[0, 60])
async def every_command_is_answered(dut, idle: int, stall: int, delay: int):
    """Bytes of each answer, steps and writes of the core."""
    unit, rng = Unit(dut, "host", "port"), random.Random(idle + stall + delay)
    lanes = unit.component.config.lanes
    await unit.reset(dut)
    core = Core(unit, lambda: rng.randint(0, delay))
    play = cocotb.start_soon(core.run())
    talk = conversation(lanes, rng, pack(INFO, info_values(unit.component.config)))
    for asked, answer in talk:
        listen = cocotb.start_soon(unit.take("o", len(answer), lambda: rng.randint(0, stall)))
        await within(20_000, unit.put("i", asked, lambda: rng.randint(0, idle)))
        assert bytes(await within(40_000, listen)).hex() == answer.hex(), asked.hex()
    unit.set(o_ready=1)
    for _ in range(50):  # nothing more comes
        assert not await unit.tick("o_valid")
    play.cancel()
    payloads = {code: [asked[4:-2] for asked, _ in talk if asked[3] == code.value]
                for code in Command}
    assert core.writes == {int.from_bytes(payload[:3], "little"):
                           int.from_bytes(payload[3:], "little")
                           for payload in payloads[Command.WRITE]}
    prompt = payloads[Command.STEP][0]
    assert core.steps[:len(prompt) // 2] == [
        (int.from_bytes(prompt[k:k + 2], "little"), int(k == 0))
        for k in range(0, len(prompt), 2)]
    assert core.steps[-2:] == [(77, 1), (FOREIGN, 0)]


@cocotb.test()
async def damaged_frames_do_nothing(dut):
    """Each byte of a WRITE spoilt, each part of it lost: no write, and the next one is heard."""
    unit, rng = Unit(dut, "host", "port"), random.Random(2)
    await unit.reset(dut)
    core = Core(unit, lambda: 0)
    play = cocotb.start_soon(core.run())
    lanes, timeout = unit.component.config.lanes, unit.component.timeout
    good = request(Command.WRITE, 5, bytes(range(0x10, 0x13 + lanes)))
    assert len(good) == capacity(lanes) + 6
    spoilt = [good[:n] for n in range(1, len(good))]
    for n in range(len(good)):
        spoilt.append(good[:n] + bytes([good[n] ^ 1 << rng.randrange(8)]) + good[n + 1:])
    unit.set(o_ready=1)
    answer = reply(Command.STOP, 9)
    for frame in spoilt:
        heard = bytearray()

        async def listen(heard=heard):
            while True:
                heard.extend(await unit.take("o", 1))

        ear = cocotb.start_soon(listen())
        await within(2000, unit.put("i", frame))
        for _ in range(2 * timeout + 10):  # longer than half a frame lives
            await unit.tick()
        await within(2000, unit.put("i", request(Command.STOP, 9)))
        for _ in range(80):
            await unit.tick()
        ear.cancel()
        assert core.writes == {}, frame.hex()
        assert heard.endswith(answer), (frame.hex(), heard.hex())
        # Before it, a refusal or nothing.
        refused = bytes(heard[:-len(answer)])
        assert refused == b"" or (refused[0], refused[1], refused[3] & ~7) == (
            SYNC, 0, REPLY | REFUSED), (frame.hex(), refused.hex())
    play.cancel()


BITS = 4  #: clock cycles of a bit, the fewest there may be


@cocotb.test()
@cocotb.parametrize(idle=[0, 23], drift=[0, 1])
async def bits_come_as_sent(dut, idle: int, drift: int):
    """Received bytes, from a line with pauses and with a clock that drifts by a cycle a byte."""
    unit, rng = Unit(dut, "host", "uart"), random.Random(idle)
    await unit.reset(dut)
    unit.set(rx=1)
    for _ in range(4):
        await unit.tick()
    sent = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *rng.randbytes(40)]
    listen = cocotb.start_soon(unit.take("o", len(sent)))

    async def line(level: int, cycles: int):
        unit.set(rx=level)
        for _ in range(cycles):
            await unit.tick()

    await line(0, 1)  # shorter than half a bit: no start
    await line(1, 3 * BITS)
    for byte in sent:
        for bit in (0, *(byte >> k & 1 for k in range(8))):
            await line(bit, BITS)
        await line(1, BITS + drift + rng.randint(0, idle))
    assert await within(100, listen) == sent


@cocotb.test()
@cocotb.parametrize(idle=[0, 60])
async def bytes_survive_the_line(dut, idle: int):
    """Sent bytes: start bit, eight data bits, stop bit, each as long as it should be."""
    unit, rng = Unit(dut, "host", "uart"), random.Random(idle)
    await unit.reset(dut)
    sent = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *rng.randbytes(40)]
    feed = cocotb.start_soon(unit.put("i", sent, lambda: rng.randint(0, idle)))
    for byte in sent:
        for _ in range(200):
            if not await unit.tick("tx"):
                break
        levels = [0]
        for _ in range(10 * BITS - 1):
            levels.append(await unit.tick("tx"))
        bits = [0, *(byte >> k & 1 for k in range(8)), 1]
        assert levels == [bit for bit in bits for _ in range(BITS)], hex(byte)
    await within(100, feed)
