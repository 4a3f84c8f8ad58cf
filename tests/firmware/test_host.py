"""The host driver on the generated Verilog of the whole system, through its serial pins."""

import os
import random
import select
import threading
from collections.abc import Iterable

import pytest

from ternforge.config import CoreConfig
from ternforge.host.protocol import (
    EXTERNAL_VERSION,
    INFO,
    REPLY,
    VERSION,
    Command,
    Frame,
    info_values,
    pack,
)
from ternforge_firmware.host import Board
from ternforge_firmware.image import Image, ImageError
from ternforge_firmware.lower import lower
from ternforge_firmware.transport import HostError, SerialTransport, Transport
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Program
from ternforge_model.toy import random_program
from ternforge_sim.system import SimulatedBoard, build_system

CORE = CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                  max_fan_in=64, memory_beats=1536)
#: Seconds of the simulated clock, a little more than after which the port drops half a frame.
PATIENCE = 0.3
PROMPT = [3, 17, 0, 31, 8, 8, 25]


@pytest.fixture(scope="module")
def program() -> Program:
    return random_program(5, d=16, layers=2, m=32, vocab=32)


@pytest.fixture(scope="module")
def image(program) -> Image:
    return lower(program, CORE)


@pytest.fixture(scope="module")
def library():
    return build_system(CORE)


@pytest.fixture
def line(library):
    transport = SimulatedBoard(library)
    yield transport
    transport.close()


def greedy(program: Program, prompt: list[int], count: int):
    """Result of the integer model after the prompt, and what it says when it goes on alone."""
    model = IntegerModel(program)
    result = model.forward(prompt)
    tokens, last = [], result
    for _ in range(count):
        last = model.step(int(last.tokens[-1]), last.state)
        tokens.append(int(last.tokens[-1]))
    return result, tokens, last


def test_upload_prompt_generate_and_look(line, program, image):
    after_prompt, expected, last = greedy(program, PROMPT, 21)
    board, progress = Board(line), []
    assert {name: getattr(board.core, name) for name in list(INFO)[1:]} == {
        name: getattr(CORE, name) for name in list(INFO)[1:]}
    board.load(image, lambda done, total: progress.append((done, total)))
    beats = len(image.memory())
    assert progress == [(n, beats) for n in range(1, beats + 1)]
    board.reset()
    assert board.step(PROMPT) == after_prompt.tokens[-1]
    assert list(board.generate(21)) == expected
    # Vector RAM, counters and ratio are those of the last token, fed as the last of a sequence.
    logits = next(entry for entry in image.metadata["vectors"] if entry["name"] == "logits")
    assert board.peek(logits["address"], logits["length"]) == last.acc[-1].tolist()
    counters = board.counters()
    ratio = last.ratio()
    assert (counters.mantissa, counters.exponent) == (ratio.mantissa, ratio.exponent)
    assert counters.saturations == after_prompt.saturations
    weights = program.ternary_weights / CORE.tile
    assert weights < counters.cycles < 20 * weights
    assert (counters.fault, line.busy, line.fault, line.broken) == (False, False, False, 0)


def test_sequences_start_anew(line, program, image):
    board = Board(line)
    board.load(image)
    first, expected, _ = greedy(program, PROMPT, 9)
    for _ in range(2):
        board.reset()
        assert board.step(PROMPT) == first.tokens[-1]
        tokens = board.generate(500)
        assert [next(tokens) for _ in range(9)] == expected
        tokens.close()  # ends the generation on the board
    # Without a reset the sequence goes on.
    model, after = IntegerModel(program), [2]
    board.reset()
    assert board.step(after) == model.step(2).tokens[-1]
    whole = model.forward(PROMPT + after)
    assert whole.tokens[-1] != model.step(2).tokens[-1]
    board.reset()
    board.step(PROMPT)
    assert board.step(after) == whole.tokens[-1]


def test_step_without_image_is_refused(line, image):
    board = Board(line)
    refused = ("the simulated board refused a step: it has no image, or a token is outside of the "
               "image's vocabulary")
    with pytest.raises(HostError, match=f"^{refused}$"):
        board.step([0])
    assert line.fault
    assert board.counters().fault
    board.load(image)
    with pytest.raises(HostError, match=f"^{refused}$"):
        board.step([1, 32])
    board.reset()
    board.step([1, 31])
    assert not line.fault


class Damage(Transport):
    """A line on which chosen bytes lose a bit."""

    name = "the noisy board"

    def __init__(self, inner: Transport, *, up: Iterable[int] = (), down: Iterable[int] = ()):
        self.inner, self.up, self.down = inner, set(up), set(down)
        self.sent = self.seen = 0
        self.hit: list[str] = []

    def _spoil(self, content: bytes, start: int, places: set[int], way: str) -> bytes:
        spoilt = bytearray(content)
        for k in range(len(spoilt)):
            if start + k in places:
                spoilt[k] ^= 1 << (start + k) % 8
                self.hit.append(way)
        return bytes(spoilt)

    def write(self, content: bytes) -> None:
        self.inner.write(self._spoil(content, self.sent, self.up, "up"))
        self.sent += len(content)

    def read(self, timeout: float) -> bytes:
        content = self.inner.read(timeout)
        spoilt = self._spoil(content, self.seen, self.down, "down")
        self.seen += len(content)
        return spoilt

    def close(self) -> None:
        self.inner.close()


def test_damage_in_an_upload_is_repaired(line, program, image):
    first, expected, _ = greedy(program, PROMPT, 3)
    rng = random.Random(8)
    noisy = Damage(line, up=rng.sample(range(30, 13 * len(image.memory())), 8),
                   down=rng.sample(range(30, 6 * len(image.memory())), 8))
    board = Board(noisy, timeout=PATIENCE)
    board.load(image)
    assert noisy.hit.count("up") == noisy.hit.count("down") == 8
    board.reset()
    assert board.step(PROMPT) == first.tokens[-1]
    assert list(board.generate(3)) == expected


@pytest.mark.parametrize("byte", range(len(Frame(Command.STEP.value, 0, bytes(6)).to_bytes())))
def test_damaged_request_is_repeated(line, program, image, byte):
    board = Board(line, timeout=PATIENCE)
    board.load(image)
    board.reset()
    board.transport = Damage(line, up={byte})
    want = IntegerModel(program).forward(PROMPT[:3])
    if byte == 0:  # without its first byte no frame is seen, so that nothing answers
        with pytest.raises(HostError, match="was lost, so that the state of the sequence is un"):
            board.step(PROMPT[:3])
        board.reset()
    assert board.step(PROMPT[:3]) == want.tokens[-1]
    assert board.transport.hit == ["up"]


def test_lost_answers(line, program, image):
    first, expected, _ = greedy(program, PROMPT, 12)
    board = Board(line, timeout=PATIENCE)
    board.load(image)
    board.reset()
    board.step(PROMPT)
    counters = board.counters()
    board.transport = Damage(line, down={5})
    assert board.counters() == counters  # asked again
    lost = ("an answer of the noisy board was lost, so that the state of the sequence is unknown: "
            "reset and start again")
    board.reset()
    board.transport = Damage(line, down={5})
    with pytest.raises(HostError, match=f"^{lost}$"):
        board.step(PROMPT)
    board.reset()
    assert board.step(PROMPT) == first.tokens[-1]
    board.transport = Damage(line, down={25})  # in the second answer
    tokens = board.generate(30)
    assert [next(tokens) for _ in range(8)] == expected[:8]
    with pytest.raises(HostError, match=f"^{lost}$"):
        next(tokens)
    board.reset()
    assert board.step(PROMPT) == first.tokens[-1]


def test_through_a_serial_port(line, program, image):
    """The operating system's serial port, here a pseudo-terminal, in between."""
    pytest.importorskip("serial")
    first, expected, _ = greedy(program, PROMPT, 10)
    ours, theirs = os.openpty()
    done = threading.Event()

    def play():
        while not done.is_set():
            if select.select([ours], [], [], 0.002)[0]:
                line.write(os.read(ours, 4096))
            while content := line.read(0.0005):
                os.write(ours, content)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        with Board(SerialTransport(os.ttyname(theirs), 1_000_000), timeout=10) as board:
            board.load(image)
            board.reset()
            assert board.step(PROMPT) == first.tokens[-1]
            assert list(board.generate(10)) == expected
    finally:
        done.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def test_missing_serial_port_is_one_sentence():
    pytest.importorskip("serial")
    with pytest.raises(HostError, match=r"^serial port '/dev/none' cannot be opened \(.*\); there "
                                        r"is "):
        SerialTransport("/dev/none", 1_000_000)


class Script(Transport):
    """Answers each request with what ``answer`` makes of it."""

    def __init__(self, answer):
        self.answer, self.waiting = answer, b""

    def write(self, content: bytes) -> None:
        self.waiting += self.answer(Frame(content[3], content[2], content[4:-2]))

    def read(self, timeout: float) -> bytes:
        content, self.waiting = self.waiting, b""
        return content

    def close(self) -> None:
        pass


def answer(request: Frame, payload: bytes) -> bytes:
    return Frame(REPLY | request.code, request.sequence, payload).to_bytes()


INFO_PAYLOAD = pack(INFO, info_values(CORE))
BUILT = "load a bitstream built by this version of ternforge"


SILENT = "board does not answer: check that the bitstream is loaded, the cable, and the baud rate"
SPEAKS = "board speaks version {} of the host protocol, this program versions {} and {}: {}"


@pytest.mark.parametrize(("reply", "message"), [
    (lambda request: b"", SILENT),
    (lambda request: bytes(50), SILENT),
    (lambda request: answer(request, b"\x09"), SPEAKS.format(9, VERSION, EXTERNAL_VERSION, BUILT)),
    (lambda request: answer(request, b""), SPEAKS.format(0, VERSION, EXTERNAL_VERSION, BUILT)),
    (lambda request: answer(request, INFO_PAYLOAD[:-1]),
     f"board sent an answer of a wrong length: {BUILT}"),
    (lambda request: Frame(0xC0, request.sequence).to_bytes(),
     "requests come damaged to board: check the baud rate and the cable"),
    (lambda request: Frame(0xC0, request.sequence ^ 1).to_bytes(),
     "requests come damaged to board: check the baud rate and the cable"),
])
def test_what_is_not_a_board_is_one_sentence(reply, message):
    with pytest.raises(HostError) as error:
        Board(Script(reply))
    assert str(error.value) == message
    assert error.value.exit_code == 2


def test_info_of_a_nonsensical_core_is_one_sentence():
    broken = bytearray(INFO_PAYLOAD)
    broken[1] = 0  # lanes
    with pytest.raises(HostError) as error:
        Board(Script(lambda request: answer(request, bytes(broken))))
    assert str(error.value) == (f"board describes a core that cannot be: CoreConfig.lanes must be "
                                f"positive, not 0: {BUILT}")


def scripted(reply=lambda request: b"") -> Board:
    """A driver whose board answers INFO, and everything else with ``reply``."""
    return Board(Script(lambda request: answer(request, INFO_PAYLOAD)
                        if request.code == Command.INFO.value else reply(request)))


def test_images_that_do_not_fit_are_refused(program):
    board = scripted()
    with pytest.raises(ImageError) as error:
        board.load(lower(program, CoreConfig(lanes=8)))
    assert str(error.value) == ("image 'image' is packed for a core with lanes=8 and elements=1, "
                                "not lanes=4 and elements=2; it would fit icebreaker")
    with pytest.raises(HostError) as error:
        board.load([bytes(4), bytes(3)])
    assert str(error.value) == ("the image is packed for a core with lanes=3, but the one on board "
                                "has lanes=4")
    with pytest.raises(HostError) as error:
        board.load([bytes(4)] * 1539)
    assert str(error.value) == "the image has 1539 beats, 3 more than the image memory of board"


@pytest.mark.parametrize(("call", "message"), [
    (lambda board: board.step([]), "tokens must not be empty"),
    (lambda board: board.step([1, 65535]), "a token must be in 0 to 65534, not 65535"),
    (lambda board: board.step([-1]), "a token must be in 0 to 65534, not -1"),
    (lambda board: board.peek(250, 7), "elements must be in 0 to 255, not 250 to 256"),
    (lambda board: board.peek(-1, 1), "elements must be in 0 to 255, not -1 to -1"),
])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        call(scripted())


@pytest.mark.parametrize(("call", "command"), [
    (lambda board: board.step([1]), "STEP"), (lambda board: board.peek(0, 1), "PEEK"),
    (lambda board: list(board.generate(1)), "GENERATE"),
])
def test_malformed_answers_are_one_sentence(call, command):
    with pytest.raises(HostError) as error:
        call(scripted(lambda request: answer(request, bytes(3))))
    assert str(error.value) == f"board sent a malformed answer to {command}: {BUILT}"
