"""The host port of a core whose image memory is off the chip: version 3 of the protocol."""

import random
from zlib import crc32

import pytest

from ternforge.config import CoreConfig
from ternforge.host.port import HostPort
from ternforge.host.protocol import (
    COUNTERS,
    EXTERNAL_COUNTERS,
    INFO,
    REFUSED,
    REPLY,
    SYNC,
    Command,
    Deframer,
    ExternalCommand,
    Frame,
    MemoryState,
    Reason,
    info_values,
    pack,
    unpack,
    write_beats,
)

from .fake_core import STATUS, Bench, predict, run_bytes, run_driver

CONFIGS = [CoreConfig(lanes=lanes, memory_beats=1000, bank_beats=0) for lanes in (4, 8, 40)]
LANES8 = CONFIGS[1]
MOST = write_beats(8, external=True)
NOT_READY = [state.value for state in MemoryState if state is not MemoryState.READY]


def frame(command: Command | ExternalCommand, payload: bytes = b"", sequence: int = 6) -> bytes:
    return Frame(command.value, sequence, payload).to_bytes()


def number(value: int, size: int = 3) -> bytes:
    return value.to_bytes(size, "little")


def check(address: int, beats: int) -> bytes:
    return frame(ExternalCommand.CHECK, number(address) + number(beats))


def write(address: int, content: bytes, sequence: int = 6) -> bytes:
    return frame(Command.WRITE, number(address) + content, sequence)


def refusal(reason: Reason, sequence: int = 6) -> bytes:
    return Frame(REPLY | REFUSED | reason.value, sequence).to_bytes()


def answer(command: Command | ExternalCommand, payload: bytes = b"") -> bytes:
    return Frame(REPLY | command.value, 6, payload).to_bytes()


@pytest.mark.parametrize("pause", [(0, 0), (70, 0), (0, 30), (70, 30)],
                         ids=["full-rate", "slow-memory", "backpressure", "both"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"lanes={config.lanes}")
def test_commands_are_answered(config, pause):
    rng, bench = random.Random(5), Bench(config)
    bench.pause = lambda: rng.randint(0, pause[0])
    beats = {address: rng.randbytes(config.lanes) for address in (0, 1, 2, 999)}
    state = predict([3, 4])
    counters = {"cycles": 20, **dict(zip(list(COUNTERS)[1:6], STATUS["saturations"], strict=True)),
                "mantissa": STATUS["mantissa"], "exponent": STATUS["exponent"], "fault": 0,
                "memory": 0}
    talk = [
        (frame(Command.INFO), answer(Command.INFO, pack(INFO, info_values(config)))),
        *((frame(Command.WRITE, number(address) + beat), answer(Command.WRITE))
          for address, beat in list(beats.items())[2:]),
        (frame(Command.WRITE, number(0) + beats[0] + beats[1]), answer(Command.WRITE)),
        (check(0, 3), answer(ExternalCommand.CHECK,
                             number(crc32(beats[0] + beats[1] + beats[2]), 4))),
        (check(999, 1), answer(ExternalCommand.CHECK, number(crc32(beats[999]), 4))),
        (check(1000, 0), answer(ExternalCommand.CHECK, number(0, 4))),
        (frame(Command.STEP, number(3, 2) + number(4, 2)),
         answer(Command.STEP, number(state & 0xFFF, 2))),
        (frame(Command.COUNTERS), answer(Command.COUNTERS, pack(EXTERNAL_COUNTERS, counters))),
        (frame(Command.STOP), answer(Command.STOP)),
    ]
    expected = b"".join(reply for _, reply in talk)
    received, memory = run_bytes(
        bench, [b"".join(request for request, _ in talk)], len(expected),
        (lambda: 0, lambda: rng.randint(0, pause[1])))
    assert received.hex() == expected.hex()
    assert memory == {address: int.from_bytes(beat, "little") for address, beat in beats.items()}
    assert info_values(config)["version"] == 3


@pytest.mark.parametrize("pause", [0, 25], ids=["quick-memory", "slow-memory"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"lanes={config.lanes}")
def test_several_beats_are_written_while_the_next_come(config, pause):
    """As many as go into a frame, and every smaller number; two frames follow one another."""
    rng, bench = random.Random(3), Bench(config)
    bench.pause = lambda: rng.randint(0, pause)
    most, address, requests, beats = write_beats(config.lanes, external=True), 0, [], {}
    assert most == 252 // config.lanes
    for count in (most, 1, most - 1, 2, most):
        content = [rng.randbytes(config.lanes) for _ in range(count)]
        beats |= {address + n: beat for n, beat in enumerate(content)}
        requests.append(write(address, b"".join(content), len(requests)))
        address += count
    expected = b"".join(Frame(REPLY | Command.WRITE.value, n).to_bytes()
                        for n in range(len(requests)))
    received, memory = run_bytes(bench, [b"".join(requests)], len(expected))
    assert received.hex() == expected.hex()
    assert memory == {n: int.from_bytes(beat, "little") for n, beat in beats.items()}


def test_no_beat_of_a_damaged_write_is_written():
    """A bit of each byte of a frame, and each byte left out: refused, or dropped after a pause."""
    good, rng = write(3, bytes(range(16)), 5), random.Random(4)
    spoilt = [good[:n] + bytes([good[n] ^ 1 << rng.randrange(8)]) + good[n + 1:]
              for n in range(2, len(good))]
    spoilt += [good[:n] + good[n + 1:] for n in range(2, len(good))]
    bench, heard = Bench(LANES8, timeout=64), []

    def driver(transport):
        for request in spoilt:
            transport.write(request)
            refused = b"".join(iter(lambda: transport.read(200 / 8000), b""))
            transport.write(frame(Command.STOP, sequence=9))
            heard.append((refused, b"".join(iter(lambda: transport.read(200 / 8000), b""))))

    assert run_driver(bench, driver) == {}
    stop = Frame(REPLY | Command.STOP.value, 9).to_bytes()
    assert [answer for _, answer in heard] == [stop] * len(spoilt)
    assert {refused[3:4] for refused, _ in heard} == {
        b"", bytes([REPLY | REFUSED | Reason.CRC.value])}


def test_a_write_is_answered_once_the_memory_took_it():
    bench, heard = Bench(LANES8), []
    bench.pause = lambda: 4000

    def driver(transport):
        transport.write(frame(Command.WRITE, number(7) + bytes(8)))
        heard.append(transport.read(3900 / 8000))
        heard.append(transport.read(1000 / 8000))

    assert run_driver(bench, driver) == {7: 0}
    assert heard[0] == b""
    assert answer(Command.WRITE).startswith(heard[1])
    assert heard[1]


@pytest.mark.parametrize(("request_", "reason"), [
    (frame(Command.WRITE, number(1000) + bytes(8)), Reason.RANGE),
    (frame(Command.WRITE, number(0xFFFFFF) + bytes(8)), Reason.RANGE),
    (check(1000, 1), Reason.RANGE), (check(0, 1001), Reason.RANGE),
    (check(0xFFFFFF, 0xFFFFFF), Reason.RANGE),
    (frame(ExternalCommand.CHECK, bytes(5)), Reason.LENGTH),
    (frame(ExternalCommand.CHECK, bytes(7)), Reason.LENGTH),
    (Frame(9, 6).to_bytes(), Reason.COMMAND), (Frame(15, 6).to_bytes(), Reason.COMMAND),
    (Frame(16, 6).to_bytes(), Reason.COMMAND),
    (Frame(0x88, 6, bytes(6)).to_bytes(), Reason.COMMAND),
    (write(999, bytes(16)), Reason.RANGE), (write(1000 - MOST + 1, bytes(8 * MOST)), Reason.RANGE),
    *((write(0, bytes(length)), Reason.LENGTH) for length in (0, 1, 7, 9, 15, 8 * MOST - 1)),
    (frame(Command.WRITE, bytes(2)), Reason.LENGTH),
    (frame(Command.STEP, bytes(12)), Reason.LENGTH),
    (frame(Command.STEP, bytes(250)), Reason.LENGTH),
    (frame(Command.INFO, bytes(248)), Reason.LENGTH),
    (bytes([SYNC, 8 * MOST + 4]), Reason.LENGTH),
])
def test_refusals(request_, reason):
    # Without its sequence number, that of the frame before, of which there is none.
    expected = refusal(reason, 6 if len(request_) > 2 else 0) + answer(Command.STOP)
    received, memory = run_bytes(Bench(LANES8), [request_ + frame(Command.STOP)], len(expected))
    assert received.hex() == expected.hex()
    assert memory == {}


@pytest.mark.parametrize("state", NOT_READY)
def test_what_needs_the_memory_is_refused_until_it_is_ready(state):
    bench, heard = Bench(LANES8), []
    bench.memory_state = state
    needing = [frame(Command.STEP, number(1, 2)), frame(Command.GENERATE, number(3, 2)),
               frame(Command.WRITE, number(3) + bytes(8)), check(0, 3)]
    others = [frame(command, payload) for command, payload in
              ((Command.INFO, b""), (Command.RESET, b""), (Command.PEEK, bytes(2)),
               (Command.STOP, b""), (Command.COUNTERS, b""))]

    def ask(transport, request) -> Frame:
        deframer = Deframer()
        transport.write(request)
        while content := transport.read(0.05):
            for reply in deframer.feed(content):
                return reply
        raise AssertionError("no answer")

    def driver(transport):
        for request in needing + others:
            heard.append(ask(transport, request))
        bench.memory_state = MemoryState.READY.value
        heard.append(ask(transport, needing[0]))

    assert run_driver(bench, driver) == {}
    assert [reply.to_bytes() for reply in heard[:4]] == [refusal(Reason.FAULT)] * 4
    assert [reply.code & REFUSED for reply in heard[4:]] == [0] * 6
    assert unpack(EXTERNAL_COUNTERS, heard[8].payload)["memory"] == state
    assert int.from_bytes(heard[9].payload, "little") == predict([1])


#: What waits for a memory that gives up, and the cycles until then; a token takes 1500.
WAITING = {"write": (frame(Command.WRITE, number(3) + bytes(8)), 500),
           "check": (check(0, 3), 500),
           "step": (frame(Command.STEP, number(1, 2)), 700),
           "second token": (frame(Command.STEP, number(1, 2) * 3), 2200),
           "generate": (frame(Command.GENERATE, number(12, 2)), 2200)}


@pytest.mark.parametrize("state", NOT_READY)
@pytest.mark.parametrize(("request_", "cycles"), WAITING.values(), ids=WAITING)
def test_what_waits_for_a_memory_that_fails_ends(request_, cycles, state):
    bench, frames = Bench(LANES8, latency=1500), []
    bench.pause = lambda: 1 << 30

    def driver(transport):
        deframer = Deframer()

        def listen(second: float):
            while content := transport.read(second):
                frames.extend(deframer.feed(content))

        transport.write(request_)
        for _ in range(cycles // 100):
            frames.extend(deframer.feed(transport.read(100 / 8000)))
        bench.memory_state = state
        listen(0.03)
        transport.write(frame(Command.STOP, sequence=9))
        listen(0.03)

    assert run_driver(bench, driver) == {}
    assert [(reply.code, reply.sequence) for reply in frames[-2:]] == [
        (REPLY | REFUSED | Reason.FAULT.value, 6), (REPLY | Command.STOP.value, 9)]
    tokens = b"".join(reply.payload for reply in frames[:-2])
    values = [int.from_bytes(tokens[n:n + 2], "little") for n in range(0, len(tokens), 2)]
    generates = request_ == WAITING["generate"][0]
    assert values == ([predict([0]), *[0xFFFF] * 7] if generates else [])


def test_a_memory_that_fails_among_several_beats():
    """Some are written; the frame behind is answered, and its beats are none of the first's."""
    bench, frames, rng = Bench(LANES8), [], random.Random(6)
    first, second = rng.randbytes(8 * MOST), rng.randbytes(16)
    bench.pause = lambda: 20

    def driver(transport):
        deframer = Deframer()
        transport.write(write(0, first))
        for state in (0, MemoryState.BUS_ERROR.value, 0):
            bench.memory_state = state
            frames.extend(deframer.feed(transport.read(300 / 8000)))
        while content := transport.read(0.03):
            frames.extend(deframer.feed(content))
        transport.write(write(100, second, 7))
        while content := transport.read(0.03):
            frames.extend(deframer.feed(content))

    memory = run_driver(bench, driver)
    assert [(reply.code, reply.sequence) for reply in frames] == [
        (REPLY | REFUSED | Reason.FAULT.value, 6), (REPLY | Command.WRITE.value, 7)]
    written = len(memory) - 2
    assert 0 < written < MOST
    assert memory == {**{n: int.from_bytes(first[8 * n:8 * n + 8], "little")
                         for n in range(written)},
                      100: int.from_bytes(second[:8], "little"),
                      101: int.from_bytes(second[8:], "little")}


def test_narrow_beats_are_refused():
    with pytest.raises(ValueError, match=r"^HostPort config must have at least 4 lanes with an "
                                         r"image memory off the chip, not 2$"):
        HostPort(CoreConfig(lanes=2, bank_beats=0))
