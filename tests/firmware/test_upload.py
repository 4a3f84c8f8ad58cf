"""Uploads that are cut, resumed, checked and refused, on systems with either kind of memory."""

import asyncio
import random
from zlib import crc32

import pytest

from ternforge.config import CoreConfig
from ternforge.host.protocol import MemoryState, write_beats
from ternforge_firmware.asynchost import AsyncBoard
from ternforge_firmware.host import Board
from ternforge_firmware.lower import lower
from ternforge_firmware.transport import HostError, Transport
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program
from ternforge_sim.runner import MemoryModel
from ternforge_sim.system import OutsideMemory, SimulatedBoard, build_system, system_verilog

CORES = {"on chip": CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                               max_fan_in=64, memory_beats=1536),
         "off chip": CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                                max_fan_in=64, memory_beats=1536, bank_beats=0)}
PROGRAM = random_program(5, d=16, layers=2, m=32, vocab=32)
PROMPT = [3, 17, 0, 31]
BLOCK = 256  #: bytes
NO_IMAGE = ("the simulated board refused a step: it has no image, or a token is outside of the "
            "image's vocabulary")


def block_beats(kind: str) -> int:
    """Beats in a block: a multiple of those in a request."""
    lanes = CORES[kind].lanes
    most = write_beats(lanes, external=kind == "off chip")
    return BLOCK // lanes - BLOCK // lanes % most


def image(kind: str):
    return lower(PROGRAM, CORES[kind])


EXPECTED = generate(PROGRAM, PROMPT, 6)


@pytest.fixture
def make_board():
    """A simulated board with the core, and a memory as described."""
    made = []

    def make(kind: str, **memory) -> SimulatedBoard:
        core = CORES[kind]
        made.append(SimulatedBoard(build_system(core), config=core,
                                   memory=OutsideMemory(**memory)))
        return made[-1]

    yield make
    for board in made:
        board.close()


class Cut(Transport):
    """A line that breaks once so many bytes were sent."""

    name = "the simulated board"

    def __init__(self, inner: Transport, after: int):
        self.inner, self.left = inner, after

    def write(self, content: bytes) -> None:
        self.inner.write(content[:self.left])
        self.left -= len(content)
        if self.left < 0:
            raise HostError("the connection to the simulated board broke off: cut")

    def read(self, timeout: float) -> bytes:
        return self.inner.read(timeout)

    def close(self) -> None:
        pass


def works(board: Board) -> bool:
    return list(board.generate(6, prompt=PROMPT)) == EXPECTED


@pytest.mark.parametrize("memory", [
    {}, {"reads": MemoryModel(latency=70, stalls=0.3, seed=4), "write_wait": 30},
    {"reads": MemoryModel(latency=1, burst=8, gap=9), "write_wait": 0}],
    ids=["usual", "slow", "gaps"])
def test_external_memory_runs_the_model(make_board, memory):
    board, seen, packed = Board(make_board("off chip", **memory)), [], image("off chip")
    beats = len(packed.memory())
    with pytest.raises(HostError, match=f"^{NO_IMAGE}$"):
        board.step([1])
    assert board.load(packed, lambda done, total: seen.append((done, total)),
                      block_bytes=BLOCK) == beats
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (beats, beats)
    assert len(seen) < beats / 30  # several beats in a request
    assert works(board)
    # What stands there already is not written again; any beat that does not is.
    assert board.load(packed, block_bytes=BLOCK) == 0
    assert board.load(packed, block_bytes=BLOCK, resume=False) == beats
    changed = [bytes(beat) for beat in packed.memory()]
    changed[-1] = bytes(4)
    assert board.load(changed, block_bytes=4) == 2
    assert board.load(packed) == beats
    assert works(board)


@pytest.mark.parametrize("kind", CORES)
def test_an_upload_cut_anywhere_is_refused_cleanly_or_resumes(make_board, kind):
    line, packed = make_board(kind), image(kind)
    lanes, size = CORES[kind].lanes, block_beats(kind)
    most = write_beats(lanes, external=kind == "off chip")
    total = len(packed.memory())
    blocks = [min(size, total - start) for start in range(1, total, size)]
    other = lower(random_program(6, d=16, layers=2, m=32, vocab=32), CORES[kind])
    assert len(blocks) > 8
    for number in range(len(blocks) + 1):
        Board(line).load(other)  # whatever stood there before must not mix with the image
        checks = 12 * len(blocks) if kind == "off chip" else 0
        frames = 1 + sum(-(-beats // most) for beats in blocks[:number])
        # INFO, sums of all blocks, the void beat, whole blocks: then half a frame
        sent = 6 + checks + lanes * (1 + sum(blocks[:number])) + 9 * frames + (lanes + 9) // 2
        cut = Board(Cut(line, sent))
        with pytest.raises(HostError, match="broke off"):
            cut.load(packed, block_bytes=BLOCK)
        line.read(0.4)  # half a frame is dropped
        board = Board(line, timeout=0.3)
        with pytest.raises(HostError, match=f"^{NO_IMAGE}$"):
            board.step([1])
        written = board.load(packed, block_bytes=BLOCK)
        if kind == "off chip":
            assert written == 1 + sum(blocks[number:])
        else:
            assert written == total
        assert works(board)


class Noise(Transport):
    """A line on which some bytes lose a bit, either way, until it is repaired."""

    name = "the simulated board"
    rates = (0.001, 0.02)  #: to the board; from it come far fewer

    def __init__(self, inner: Transport, seed: int):
        self.inner, self.rng, self.hit = inner, random.Random(seed), [0, 0]
        self.repaired = False

    def _spoil(self, content: bytes, way: int) -> bytes:
        spoilt = bytearray(content)
        for k in range(0 if self.repaired else len(spoilt)):
            if self.rng.random() < self.rates[way]:
                spoilt[k] ^= 1 << self.rng.randrange(8)
                self.hit[way] += 1
        return bytes(spoilt)

    def write(self, content: bytes) -> None:
        self.inner.write(self._spoil(content, 0))

    def read(self, timeout: float) -> bytes:
        return self._spoil(self.inner.read(timeout), 1)

    def close(self) -> None:
        pass


def test_an_upload_over_a_noisy_line_is_right(make_board):
    line, packed, hit = make_board("off chip"), image("off chip"), [0, 0]
    beats = [bytes(beat) for beat in packed.memory()]
    board = Board(line, timeout=0.3, retries=20)
    for seed in range(2):
        board.load([bytes(4)] * len(beats))
        board.transport = noise = Noise(line, seed)
        board.load(packed, block_bytes=BLOCK)
        noise.repaired = True
        assert board.check(0, len(beats)) == crc32(b"".join(beats))
        assert works(board)
        hit = [hit[k] + noise.hit[k] for k in range(2)]
    assert min(hit) > 0
    assert sum(hit) > 6


def test_a_memory_that_does_not_keep_a_bit_is_told(make_board):
    packed = image("off chip")
    odd = [n for n, beat in enumerate(packed.memory()) if beat[0] & 1 and n][-1]
    board = Board(make_board("off chip", stuck_at=odd))
    size = block_beats("off chip")
    first = 1 + (odd - 1) // size * size
    last = min(first + size, len(packed.memory())) - 1
    with pytest.raises(HostError) as error:
        board.load(packed, block_bytes=BLOCK)
    assert str(error.value) == (
        "the image memory of the simulated board does not keep what is written to beats "
        f"{first} to {last}: check the memory and its clock")
    with pytest.raises(HostError, match=f"^{NO_IMAGE}$"):
        board.step([1])


SAID = {
    MemoryState.INITIALISING: ("is still initialising: try again, and check the memory's clock if "
                               "it stays so"),
    MemoryState.FAILED: ("failed its training or its test: reset the board, and check the memory "
                         "if it fails again"),
    MemoryState.BUS_ERROR: ("answered with an error: reset the board, and check the address range "
                            "of its image memory"),
}


@pytest.mark.parametrize(("state", "said"), SAID.items())
def test_a_memory_that_cannot_be_used_is_told(make_board, state, said):
    line = make_board("off chip", state=state.value)
    board = Board(line)
    said = f"the image memory of the simulated board {said}"
    for call in (lambda: board.load(image("off chip")), lambda: board.step([1]),
                 lambda: list(board.generate(3)), lambda: board.check(0, 1)):
        with pytest.raises(HostError) as error:
            call()
        assert (str(error.value), error.value.exit_code) == (said, 2)
    assert board.counters().memory is state
    line.set_memory(OutsideMemory())
    assert board.counters().memory is MemoryState.READY


def test_a_memory_that_fails_in_a_token_ends_it(make_board):
    line = make_board("off chip")
    board = Board(line)
    board.load(image("off chip"))
    board.reset()
    tokens = board.generate(500, prompt=PROMPT)
    assert [next(tokens) for _ in range(3)] == EXPECTED[:3]
    line.set_memory(OutsideMemory(state=3))
    with pytest.raises(HostError, match="image memory of the simulated board answered with an err"):
        for _ in tokens:
            pass
    with pytest.raises(HostError, match="answered with an error"):
        board.step([1])
    assert board.counters().memory is MemoryState.BUS_ERROR


def test_a_memory_that_comes_up_late(make_board):
    line = make_board("off chip", ready_at=20_000)
    board = Board(line)
    assert board.counters().memory is MemoryState.INITIALISING
    line.run(20_000)
    board.load(image("off chip"))
    assert works(board)


def test_checks_beyond_the_memory_are_refused(make_board):
    board = Board(make_board("off chip"))
    assert board.check(1536, 0) == 0
    with pytest.raises(HostError, match=r"^the simulated board refused a request for beats beyond"):
        board.check(1536, 1)
    with pytest.raises(ValueError, match=r"^addresses of beats must be in 0 to 16777215, not -1$"):
        board.check(-1, 3)
    with pytest.raises(HostError, match=r"^the image memory of the simulated board cannot be chec"):
        Board(make_board("on chip")).check(0, 1)


def test_an_image_stands_in_the_bitstream():
    core, packed = CORES["on chip"], image("on chip")
    beats = [int.from_bytes(beat.tobytes(), "little") for beat in packed.memory()]
    line = SimulatedBoard(build_system(core, image=beats),
                          folder=system_verilog(core, image=beats))
    try:
        assert works(Board(line))
    finally:
        line.close()


def test_asyncio(make_board):
    async def talk() -> tuple[list[int], list[int], int]:
        async with AsyncBoard(Board(make_board("off chip"))) as board:
            written = await board.load(image("off chip"))
            first = [token async for token in board.generate(6, prompt=PROMPT)]
            await board.reset()
            second = [await board.step(PROMPT)]
            tokens = board.generate(300)
            async for token in tokens:
                second.append(token)
                if len(second) == 4:
                    break
            await tokens.aclose()
            counters = await board.counters()
            assert counters.cycles > 100
            return first, second, written

    first, second, written = asyncio.run(talk())
    assert (first, second) == (EXPECTED, EXPECTED[:4])
    assert written == len(image("off chip").memory())
