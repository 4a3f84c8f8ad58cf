"""A pseudo-terminal that behaves like a board's serial port."""

import errno
import os
import select
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path

from ternforge.errors import UserError

from .system import SimulatedBoard

__all__ = ["SerialPort"]

#: Simulated cycles between two looks at the terminal.
SLICE = 4000
#: Cycles without a byte, and without a token under way, after which the simulation slows down.
RESTS_AFTER = 2_000_000
#: Seconds that it waits for bytes then, at a time.
NAP = 0.01


class SerialPort:
    """Carries bytes between a pseudo-terminal and a simulated board, in a thread.

    Programs open :attr:`name` as they would a serial port. Time passes on the board whether they
    listen or not, as fast as the simulation goes; where nothing has happened for long it is only
    let pass a little at a time.

    Parameters
    ----------
    board : SimulatedBoard
        Used by nobody else until the port is closed, which closes it too.
    link : Path, optional
        Symbolic link to make to the terminal, for a name that does not change. One that is there
        is replaced.

    Attributes
    ----------
    name : str
        Path of the terminal.
    seconds : float
        Time that the simulation took so far, without naps.

    Raises
    ------
    UserError
        If the link cannot be made.
    """

    def __init__(self, board: SimulatedBoard, link: Path | None = None):
        self.board, self.link, self.seconds = board, link, 0.0
        self._ours, self._theirs = os.openpty()  # theirs stays open, so that programs may go
        self.name = os.ttyname(self._theirs)
        self._ends, self._error = threading.Event(), None
        try:
            tty.setraw(self._theirs)
            os.set_blocking(self._ours, False)
            self._thread = threading.Thread(target=self._run, name="ternforge-board", daemon=True)
            if link is not None:
                _make_link(link, self.name)
        except BaseException:
            os.close(self._ours)
            os.close(self._theirs)
            raise
        self._thread.start()

    def __enter__(self) -> "SerialPort":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation; the terminal vanishes, as a port does whose cable is pulled."""
        if self._ends.is_set():
            return
        self._ends.set()
        self._thread.join()
        self.board.close()
        os.close(self._ours)
        os.close(self._theirs)
        if self.link is not None:
            with suppress(OSError):
                if str(self.link.readlink()) == self.name:
                    self.link.unlink()

    def _run(self) -> None:
        board, waiting, quiet = self.board, b"", 0
        while not self._ends.is_set():
            received = self._receive(NAP if quiet > RESTS_AFTER else 0)
            if received:
                board.write(received)
            begun = time.perf_counter()
            board.run(SLICE)
            self.seconds += time.perf_counter() - begun
            sent = board.take()
            waiting += sent
            if waiting:
                with suppress(BlockingIOError):  # nobody reads: as of a real port, all is kept
                    waiting = waiting[os.write(self._ours, waiting):]
            quiet = 0 if received or sent or board.busy else quiet + SLICE

    def _receive(self, patience: float) -> bytes:
        if not select.select([self._ours], [], [], patience)[0]:
            return b""
        try:
            return os.read(self._ours, 4096)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""


def _make_link(link: Path, target: str) -> None:
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target)
    except OSError as error:
        raise UserError(f"the link {str(link)!r} to the serial port cannot be made: "
                        f"{error.strerror}") from None
