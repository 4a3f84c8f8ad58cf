"""The pseudo-terminal of a simulated board, through pyserial as a board's port would be."""

import os
import threading
import time

import pytest

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.host.protocol import Command, Frame
from ternforge_firmware.host import Board
from ternforge_firmware.lower import lower
from ternforge_firmware.transport import HostError
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program
from ternforge_sim.pty import SerialPort
from ternforge_sim.system import SimulatedBoard, build_system

serial = pytest.importorskip("serial")

#: That of the driver's tests, so that it is built once.
CORE = CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                  max_fan_in=64, memory_beats=1536)
PROGRAM = random_program(5, d=16, layers=2, m=32, vocab=32)
PROMPT = [3, 17, 0, 31]


@pytest.fixture
def port(tmp_path):
    with SerialPort(SimulatedBoard(build_system(CORE)), tmp_path / "board") as opened:
        yield opened


def test_programs_come_and_go(port):
    expected = generate(PROGRAM, PROMPT, 12)
    with Board.open(port.name, timeout=30) as board:
        board.load(lower(PROGRAM, CORE))
        assert list(board.generate(12, prompt=PROMPT)) == expected
        assert port.board.broken == 0
    with Board.open(str(port.link), timeout=30) as board:  # what stands in its memory stays
        assert list(board.generate(12, prompt=PROMPT)) == expected
        # Each byte goes through as it is: a terminal would turn some of them into others.
        assert board.peek(0, 64) == board.peek(0, 64)


def test_every_byte_goes_through(port):
    """Sequence numbers and tokens of any value come back, in order."""
    with serial.Serial(port.name, 1_000_000, timeout=30) as line:
        for number in (*range(33), *range(120, 136), *range(250, 256)):  # control codes among them
            line.write(Frame(Command.STOP.value, number).to_bytes())
            assert line.read(6) == Frame(0x80 | Command.STOP.value, number).to_bytes()


def test_time_passes_while_nobody_listens(port):
    before = port.board.cycle
    time.sleep(0.3)
    assert port.board.cycle > before + 10_000


def test_a_link_leads_to_it_until_it_is_closed(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("/dev/none")  # of a run that ended badly
    port = SerialPort(SimulatedBoard(build_system(CORE)), link)
    try:
        assert str(link.readlink()) == port.name
    finally:
        port.close()
    assert not link.is_symlink()
    port.close()


def test_a_link_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("")
    board = SimulatedBoard(build_system(CORE))
    with pytest.raises(UserError, match=r"^the link '.*taken' to the serial port cannot be made: "
                                        r"File exists$"):
        SerialPort(board, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == ""
    board.close()


def test_a_port_that_vanishes_in_a_token_is_one_sentence(port):
    board = Board.open(port.name, timeout=30)
    board.load(lower(PROGRAM, CORE))
    timer = threading.Timer(0.2, port.close)
    timer.start()
    with pytest.raises(HostError, match=f"^the connection to {port.name} broke off: ") as error:
        for _ in board.generate(1_000_000, prompt=PROMPT):
            pass
    timer.join()
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    board.close()


@pytest.mark.parametrize("answers", [False, True], ids=["silent", "echo"])
def test_something_else_on_the_port_is_one_sentence(answers):
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    ended = threading.Event()

    def play():
        while not ended.wait(0.005):
            try:
                content = os.read(ours, 100)
                if answers:
                    os.write(ours, content)
            except BlockingIOError:
                pass

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        with pytest.raises(HostError, match="does not answer: check that the bitstream is loaded"):
            Board.open(os.ttyname(theirs), timeout=0.2)
    finally:
        ended.set()
        thread.join()
        os.close(ours)
        os.close(theirs)


def test_no_permission_is_one_sentence(monkeypatch):
    def refuse(*args, **options):
        raise serial.SerialException(13, "could not open port /dev/ttyX: Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(HostError, match=r"^serial port '/dev/ttyX' may not be opened by this user: "
                                        r"add them to the group that owns it \(on Debian: sudo "):
        Board.open("/dev/ttyX")
