import random
from itertools import pairwise

import pytest

from ternforge.config import CoreConfig
from ternforge.host.port import HostPort
from ternforge.host.protocol import (
    COUNTERS,
    INFO,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    SYNC,
    Command,
    Deframer,
    Frame,
    Reason,
    capacity,
    info_values,
    pack,
    step_tokens,
)
from ternforge_firmware.host import Board
from ternforge_firmware.transport import HostError

from .fake_core import STATUS, Bench, peeked, predict, run_bytes, run_driver

CONFIGS = [CoreConfig(lanes=2, elements=1), CoreConfig(lanes=8), CoreConfig(lanes=40, elements=4)]
PAUSES = {"full-rate": (0, 0), "slow-input": (30, 0), "backpressure": (0, 30), "both": (9, 9)}
LANES8 = CoreConfig(lanes=8)


def request(command: Command, sequence: int, payload: bytes = b"") -> bytes:
    return Frame(command.value, sequence, payload).to_bytes()


def reply(command: Command, sequence: int, payload: bytes = b"") -> bytes:
    return Frame(REPLY | command.value, sequence, payload).to_bytes()


def refusal(reason: Reason, sequence: int) -> bytes:
    return Frame(REPLY | REFUSED | reason.value, sequence).to_bytes()


def tokens(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def generated(state: int, count: int) -> list[int]:
    """What the fake core predicts when it is fed its own predictions."""
    values = []
    for _ in range(count):
        state = predict([state & 0xFFF], state)
        values.append(state & 0xFFF)
    return values


def conversation(config: CoreConfig) -> list[tuple[bytes, bytes]]:
    """Every command with its answer."""
    rng = random.Random(4)
    prompt = [rng.randrange(0xFF00) for _ in range(step_tokens(config.lanes))]
    state = predict(prompt)
    beats = {address: rng.randbytes(config.lanes) for address in (0, 0x123456, 0xFFFFFF)}
    counters = {"cycles": 20, **dict(zip(list(COUNTERS)[1:6], STATUS["saturations"], strict=True)),
                "mantissa": STATUS["mantissa"], "exponent": STATUS["exponent"], "fault": 0}
    again = generated(state, 20)
    return [
        (request(Command.INFO, 1), reply(Command.INFO, 1, pack(INFO, info_values(config)))),
        *((request(Command.WRITE, n, address.to_bytes(3, "little") + beat),
           reply(Command.WRITE, n)) for n, (address, beat) in enumerate(beats.items())),
        (request(Command.RESET, 3), reply(Command.RESET, 3)),
        (request(Command.STEP, 255, tokens(*prompt)),
         reply(Command.STEP, 255, tokens(state & 0xFFF))),
        (request(Command.COUNTERS, 7), reply(Command.COUNTERS, 7, pack(COUNTERS, counters))),
        (request(Command.GENERATE, 9, tokens(20)),
         reply(Command.GENERATE, 9, tokens(*again[:8])) +
         reply(Command.GENERATE, 9, tokens(*again[8:16])) +
         reply(Command.GENERATE, 9, tokens(*again[16:]))),
        (request(Command.PEEK, 0, tokens(64 + 5)),
         reply(Command.PEEK, 0, b"".join(peeked(64 + k).to_bytes(4, "little", signed=True)
                                         for k in range(PEEK_BLOCK)))),
        (request(Command.STOP, 2), reply(Command.STOP, 2)),
        (request(Command.RESET, 3), reply(Command.RESET, 3)),
        (request(Command.STEP, 4, tokens(77)), reply(Command.STEP, 4, tokens(predict([77])))),
    ]


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"lanes={config.lanes}")
def test_every_command_is_answered(config, pauses):
    rng, expected = random.Random(1), conversation(config)
    answers = b"".join(answer for _, answer in expected)
    # Requests follow one another so closely that GENERATE would end early: wait for its answer.
    split = next(n for n, (frame, _) in enumerate(expected) if frame[3] == Command.GENERATE.value)
    first = b"".join(frame for frame, _ in expected[:split + 1])
    second = b"".join(frame for frame, _ in expected[split + 1:])
    bench = Bench(config)
    received, memory = run_bytes(bench, [first, second], len(answers),
                                 (lambda: rng.randint(0, pauses[0]),
                                  lambda: rng.randint(0, pauses[1])), gap=2_500)
    assert received.hex() == answers.hex()
    writes = {int.from_bytes(frame[4:7], "little"): int.from_bytes(frame[7:-2], "little")
              for frame, _ in expected if frame[3] == Command.WRITE.value}
    assert memory == writes


def test_damaged_frames_do_nothing_and_the_next_one_is_heard():
    beat, rng = bytes(range(0x90, 0x98)), random.Random(2)
    good = request(Command.WRITE, 5, (3).to_bytes(3, "little") + beat)
    damaged = []
    for index in range(len(good)):
        spoilt = bytearray(good)
        spoilt[index] ^= 1 << rng.randrange(8)
        damaged.append(bytes(spoilt))
    damaged += [good[:n] for n in range(1, len(good))]
    damaged += [rng.randbytes(40).replace(bytes([SYNC]), b"") for _ in range(4)]
    info = reply(Command.INFO, 9, pack(INFO, info_values(LANES8)))
    heard: list[list[Frame]] = []

    def listen(transport):
        deframer = Deframer()
        for spoilt in damaged:
            transport.write(spoilt)
            seen = list(deframer.feed(transport.read(0.2)))  # longer than the timeout
            transport.write(request(Command.INFO, 9))
            while content := transport.read(0.1):
                seen += deframer.feed(content)
            heard.append(seen)

    assert run_driver(Bench(LANES8, timeout=256), listen) == {}
    for spoilt, seen in zip(damaged, heard, strict=True):
        assert seen[-1].to_bytes() == info, spoilt.hex()
        assert all(frame.code >= REPLY | REFUSED for frame in seen[:-1]), spoilt.hex()


def test_good_frame_right_behind_noise():
    info = reply(Command.INFO, 9, pack(INFO, info_values(LANES8)))
    noise = bytes([0, 1, 0x5A, 0xFF, SYNC ^ 1])
    assert run_bytes(Bench(LANES8), [noise + request(Command.INFO, 9)], len(info))[0] == info


REFUSALS = {
    "check sum": (request(Command.STOP, 6)[:-1] + b"\0", Reason.CRC, 6),
    "longest length plus one": (bytes([SYNC, capacity(8) + 1]), Reason.LENGTH, 0),
    "write too short": (request(Command.WRITE, 6, bytes(10)), Reason.LENGTH, 6),
    "odd step": (request(Command.STEP, 6, bytes(3)), Reason.LENGTH, 6),
    "empty step": (request(Command.STEP, 6), Reason.LENGTH, 6),
    "long generate": (request(Command.GENERATE, 6, bytes(3)), Reason.LENGTH, 6),
    "short peek": (request(Command.PEEK, 6, bytes(1)), Reason.LENGTH, 6),
    "info with payload": (request(Command.INFO, 6, bytes(1)), Reason.LENGTH, 6),
    "unknown command": (Frame(8, 6).to_bytes(), Reason.COMMAND, 6),
    "reply as command": (Frame(REPLY, 6).to_bytes(), Reason.COMMAND, 6),
    "token outside of the vocabulary": (request(Command.STEP, 6, tokens(1, 0xFF00, 2)),
                                        Reason.FAULT, 6),
}


@pytest.mark.parametrize(("frame", "reason", "sequence"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(frame, reason, sequence):
    expected = refusal(reason, sequence) + reply(Command.STOP, 1)
    received, memory = run_bytes(Bench(LANES8), [frame + request(Command.STOP, 1)], len(expected))
    assert received == expected
    assert memory == {}


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 33])
def test_generate_any_number(count):
    state = predict([3])
    values = generated(state, count)
    expected = reply(Command.STEP, 0, tokens(state))
    for start in range(0, count, 8):
        expected += reply(Command.GENERATE, 1, tokens(*values[start:start + 8]))
    received, _ = run_bytes(Bench(LANES8), [request(Command.STEP, 0, tokens(3)) +
                                            request(Command.GENERATE, 1, tokens(count))],
                            len(expected))
    assert received == expected


@pytest.mark.parametrize("latency", [1, 100])
@pytest.mark.parametrize("delay", [*range(0, 60, 7), *range(60, 1500, 131)])
def test_a_request_ends_generation_without_losing_tokens(delay, latency):
    state = predict([3])
    seen: list[Frame] = []

    def driver(transport):
        deframer = Deframer()
        transport.write(request(Command.STEP, 0, tokens(3)))
        while not seen:
            seen.extend(deframer.feed(transport.read(0.1)))
        transport.write(request(Command.GENERATE, 1, tokens(200)))
        for _ in range(delay):
            seen.extend(deframer.feed(transport.read(1 / 8000)))
        transport.write(request(Command.STOP, 2) + request(Command.GENERATE, 3, tokens(3)))
        while content := transport.read(0.1):
            seen.extend(deframer.feed(content))

    run_driver(Bench(LANES8, latency=latency), driver)
    frames = [(frame.sequence, frame.code - REPLY) for frame in seen]
    stop = frames.index((2, Command.STOP.value))
    assert frames[:stop] == [(0, Command.STEP.value)] + [(1, Command.GENERATE.value)] * (stop - 1)
    assert frames[stop + 1:] == [(3, Command.GENERATE.value)]
    payload = b"".join(frame.payload for frame in seen[1:])
    count = len(payload) // 2
    assert payload == tokens(*generated(state, count))
    assert count < 200


@pytest.mark.parametrize("fault_from", [3, 6, 9, 10])
def test_generate_reports_a_fault(fault_from):
    # Step 1 is the prompt; steps from `fault_from` + 1 on fail.
    values = generated(predict([3]), fault_from - 1)
    full, rest = divmod(len(values), 8)
    expected = reply(Command.STEP, 0, tokens(predict([3])))
    for start in range(0, 8 * full, 8):
        expected += reply(Command.GENERATE, 1, tokens(*values[start:start + 8]))
    if rest:
        expected += reply(Command.GENERATE, 1,
                          tokens(*values[8 * full:], *[0xFFFF] * (8 - rest)))
    expected += refusal(Reason.FAULT, 1) + reply(Command.STOP, 2)
    received, _ = run_bytes(Bench(LANES8, fault_from=fault_from),
                            [request(Command.STEP, 0, tokens(3)) +
                             request(Command.GENERATE, 1, tokens(40)), request(Command.STOP, 2)],
                            len(expected), gap=3000)
    assert received == expected


def test_generation_keeps_the_core_busy():
    latency, count, starts = 150, 40, []
    bench = Bench(LANES8, latency=latency)

    async def watch(ctx):
        cycle = 0
        async for _, _, transfer in ctx.tick().sample(
                bench.port.tokens.valid & bench.port.tokens.ready):
            cycle += 1
            if transfer:
                starts.append(cycle)

    bench.recorder = lambda memory: watch
    run_bytes(bench, [request(Command.STEP, 0, tokens(3)) +
                      request(Command.GENERATE, 1, tokens(count))], 8 + count // 8 * 22)
    assert len(starts) == 1 + count
    assert max(b - a for a, b in pairwise(starts[1:])) <= latency + 3


def test_driver_works_the_port():
    memory, seen, rng = [], {}, random.Random(5)
    memory = [rng.randbytes(8) for _ in range(40)]
    prompt = [rng.randrange(256) for _ in range(13)]

    def driver(transport):
        board = Board(transport)
        board.load(memory, lambda done, total: seen.update(progress=(done, total)))
        board.step([9])
        board.reset()
        seen["core"] = board.core
        seen["step"] = board.step(prompt)
        seen["tokens"] = list(board.generate(11))
        seen["peek"] = board.peek(60, 70)
        seen["counters"] = board.counters()
        with pytest.raises(HostError) as error:
            board.step([0xFF01])
        seen["error"] = str(error.value)

    written = run_driver(Bench(LANES8), driver)
    state = predict(prompt)
    assert written == {n: int.from_bytes(beat, "little") for n, beat in enumerate(memory)}
    assert seen["progress"] == (40, 40)
    assert seen["core"] == LANES8
    assert (seen["step"], seen["tokens"]) == (state & 0xFFF, generated(state, 11))
    assert seen["peek"] == [peeked(address) for address in range(60, 130)]
    assert list(seen["counters"].saturations.values()) == STATUS["saturations"]
    assert (seen["counters"].mantissa, seen["counters"].exponent) == (0xABCD, -9)
    assert (seen["counters"].cycles, seen["counters"].fault) == (20, False)
    assert seen["error"] == ("the bench refused a step: it has no image, or a token is outside of "
                             "the image's vocabulary")


def test_driver_over_noisy_lines():
    rng = random.Random(6)
    memory, seen = [rng.randbytes(8) for _ in range(60)], {}

    def driver(transport):
        board = Board(transport, timeout=0.3, retries=8)
        send = transport.write

        def noisy(content):
            content = bytearray(content)
            if rng.random() < 0.5:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            send(bytes(content))

        transport.write = noisy
        board.load(memory)
        transport.write = send
        seen["step"] = board.step([1, 2, 3])

    written = run_driver(Bench(LANES8, timeout=512), driver)
    assert written == {n: int.from_bytes(beat, "little") for n, beat in enumerate(memory)}
    assert seen["step"] == predict([1, 2, 3])


def test_driver_through_serial_lines():
    seen = {}

    def driver(transport):
        board = Board(transport)
        board.load([bytes(range(n, n + 8)) for n in range(9)])
        seen["step"] = board.step([5, 6])
        seen["tokens"] = list(board.generate(9))

    written = run_driver(Bench(LANES8, divisor=4, timeout=1 << 12), driver)
    state = predict([5, 6])
    assert (seen["step"], seen["tokens"]) == (state, generated(state, 9))
    assert sorted(written) == list(range(9))


@pytest.mark.parametrize(("arguments", "kind", "message"), [
    ((7,), TypeError, "HostPort config must be a CoreConfig, not 7"),
    ((LANES8, "x"), TypeError, "HostPort timeout must be an integer, not 'x'"),
    ((LANES8, 0), ValueError, "HostPort timeout must be positive, not 0"),
    ((CoreConfig(vector_depth=65536),), ValueError,
     "CoreConfig.vector_depth must fit in 2 bytes for a host port, not 65536"),
])
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind, match=f"^{message}$"):
        HostPort(*arguments)
