"""Systems that fill their image memory from flash: whole, damaged, cut short, foreign, blank."""

import random
from dataclasses import replace
from zlib import crc32

import pytest
from amaranth.lib.crc.catalog import CRC32_MPEG_2

from ternforge.config import CoreConfig
from ternforge.host.boot import BOOT_END, boot_header
from ternforge.host.protocol import SYNC, BootState, Command, Frame, MemoryState
from ternforge_firmware.flash import flash_content, flash_frames
from ternforge_firmware.host import Board
from ternforge_firmware.image import ImageError
from ternforge_firmware.lower import lower
from ternforge_firmware.transport import HostError
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program
from ternforge_sim.system import OutsideMemory, SimulatedBoard, build_system

ON_CHIP = CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                     max_fan_in=64, memory_beats=1536)
CORES = {"on chip": ON_CHIP, "off chip": replace(ON_CHIP, bank_beats=0)}
OFFSET = 0x012345  #: more bits than an offset of a board has
PROGRAM, OTHER = (random_program(seed, d=16, layers=2, m=32, vocab=32) for seed in (5, 6))
PROMPT = [3, 17, 0, 31]
SAID = {
    BootState.BLANK: "its flash holds none",
    BootState.FOREIGN: "that in its flash is for another core or version",
    BootState.DAMAGED: "that in its flash is damaged or cut short",
}


EXPECTED, OTHERS = generate(PROGRAM, PROMPT, 6), generate(OTHER, PROMPT, 6)


def content(kind: str, program=PROGRAM) -> bytes:
    return flash_content(lower(program, CORES[kind]), CORES[kind])


@pytest.fixture
def boot():
    """A simulated board after it has looked at a flash that holds this."""
    made = []

    def make(kind: str, flash: bytes, **memory) -> Board:
        core = CORES[kind]
        line = SimulatedBoard(build_system(core, flash_offset=OFFSET), config=core,
                              flash=(flash, OFFSET), memory=OutsideMemory(**memory))
        made.append(line)
        line.run(40 * len(flash) + 2000)  # 17 cycles a byte, and the memory's
        return Board(line, timeout=0.3, retries=0)

    yield make
    for line in made:
        line.close()


def refuses(board: Board, state: BootState) -> None:
    """The board has no image, and says why."""
    assert board.counters().boot is state
    with pytest.raises(HostError) as error:
        board.step([1])
    assert str(error.value) == (
        f"the simulated board refused a step: it has no image ({SAID[state]}: upload one, or write "
        "it there with `ternforge program --image`), or a token is outside of the image's "
        "vocabulary")
    assert error.value.exit_code == 2


@pytest.mark.parametrize("kind", CORES)
def test_a_board_boots_and_an_upload_takes_precedence(boot, kind):
    board = boot(kind, content(kind), **({"write_wait": 30} if kind == "off chip" else {}))
    counters = board.counters()
    assert (counters.boot, counters.memory) == (BootState.DONE, MemoryState.READY)
    assert list(board.generate(6, prompt=PROMPT)) == EXPECTED
    if kind == "off chip":
        beats = [bytes(beat) for beat in lower(PROGRAM, CORES[kind]).memory()]
        assert board.check(0, len(beats)) == crc32(b"".join(beats))
    board.load(lower(OTHER, CORES[kind]))
    assert list(board.generate(6, prompt=PROMPT)) == OTHERS


@pytest.mark.parametrize("kind", CORES)
def test_a_host_that_asks_while_the_board_boots_is_answered_afterwards(kind):
    core = CORES[kind]
    line = SimulatedBoard(build_system(core, flash_offset=OFFSET), config=core,
                          flash=(content(kind), OFFSET))
    board = Board(line, timeout=0.02, retries=20)
    assert board.counters().boot is BootState.DONE
    assert list(board.generate(6, prompt=PROMPT)) == EXPECTED
    line.close()


@pytest.mark.parametrize("kind", CORES)
def test_what_is_not_an_image_is_told(boot, kind):
    whole = content(kind)
    for flash, state in (
            (b"", BootState.BLANK), (bytes(100), BootState.BLANK), (b"TG", BootState.BLANK),
            (b"\x7e\xaa\x99\x7e" + bytes(50), BootState.BLANK),
            (whole[:2] + b"\x02" + whole[3:], BootState.FOREIGN),
            (boot_header(replace(CORES[kind], lanes=8)) + whole[5:], BootState.FOREIGN),
            (boot_header(replace(CORES[kind], elements=1)) + whole[5:], BootState.FOREIGN),
            (whole[:2], BootState.FOREIGN), (whole[:5], BootState.DAMAGED)):
        refuses(boot(kind, flash), state)
    board = boot(kind, b"")
    board.load(lower(PROGRAM, CORES[kind]))
    assert list(board.generate(6, prompt=PROMPT)) == EXPECTED


@pytest.mark.parametrize("kind", CORES)
def test_an_image_that_is_cut_short_or_damaged_is_told(boot, kind):
    """Bits anywhere, and ends anywhere, at the borders of frames too."""
    whole, rng = content(kind), random.Random(3)
    frame = whole[6] + 6  # all but the last of a row have this length
    ends = [5 + frame * 7, 5 + frame * 7 + 1, 5 + frame * 7 + 2, len(whole) - 1, len(whole) - 4,
            len(whole) - 5, len(whole) - 6, *(rng.randrange(6, len(whole)) for _ in range(8))]
    for end in ends:
        refuses(boot(kind, whole[:end]), BootState.DAMAGED)
    places = [5, 6, 7, 8, 9, 12, len(whole) - 1, len(whole) - 5, len(whole) - 7,
              *(rng.randrange(5, len(whole)) for _ in range(25))]
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << rng.randrange(8)
        board = boot(kind, bytes(spoilt))
        refuses(board, BootState.DAMAGED)


@pytest.mark.parametrize("kind", CORES)
def test_frames_that_are_whole_but_not_of_one_image_are_told(boot, kind):
    """Writing the flash was interrupted: its end is that of the image before."""
    whole, other = content(kind), content(kind, OTHER)
    assert len(whole) == len(other)
    frame = whole[6] + 6
    cut = 5 + frame * (len(whole) // frame // 2)
    mixed = other[:cut] + whole[cut:]
    assert mixed not in (whole, other)
    refuses(boot(kind, mixed), BootState.DAMAGED)


def test_a_request_that_is_no_write_does_nothing(boot):
    """Frames of other lengths are not let through, so that none has another answer."""
    core = CORES["off chip"]
    for frame in (Frame(Command.GENERATE.value, 1, bytes([9, 0])),
                  Frame(Command.STEP.value, 1, bytes(4)), Frame(Command.PEEK.value, 1, bytes(2)),
                  Frame(Command.INFO.value, 1)):
        made = boot_header(core) + frame.to_bytes() + bytes([BOOT_END])
        made += CRC32_MPEG_2(data_width=8).compute(made).to_bytes(4, "big")
        refuses(boot("off chip", made), BootState.DAMAGED)


@pytest.mark.parametrize("state", [MemoryState.FAILED, MemoryState.BUS_ERROR])
def test_a_memory_that_cannot_be_used_is_told_first(boot, state):
    board = boot("off chip", content("off chip"), state=state.value)
    counters = board.counters()
    assert (counters.memory, counters.boot) == (state, BootState.NONE)
    with pytest.raises(HostError, match=r"^the image memory of the simulated board "):
        board.step([1])


def test_a_memory_that_comes_up_late_is_filled(boot):
    board = boot("off chip", content("off chip"), ready_at=20_000)
    assert board.counters().boot is BootState.DONE
    assert list(board.generate(6, prompt=PROMPT)) == EXPECTED


@pytest.mark.parametrize("kind", CORES)
def test_what_is_written_to_the_flash(kind):
    core = CORES[kind]
    beats = [bytes([n, 1, 2, 3]) for n in range(130)]
    made = flash_frames(beats, core)
    assert made[:5] == boot_header(core)
    assert made[5] == SYNC
    assert made[-5] == BOOT_END
    assert made[-4:] == CRC32_MPEG_2(data_width=8).compute(made[:-4]).to_bytes(4, "big")
    # 63 beats to a frame, or one; each has 9 bytes more; beat 0 is the last
    assert len(made) == 5 + 130 * 4 + 9 * (4 if kind == "off chip" else 130) + 5
    assert made[-5 - 9 - 4:-5][4:-2] == bytes(3) + beats[0]


def test_an_image_for_another_core_is_refused():
    with pytest.raises(ImageError, match="lanes=8"):
        flash_content(lower(PROGRAM, CORES["on chip"]), replace(ON_CHIP, lanes=8))
