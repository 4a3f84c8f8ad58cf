"""Ways to a board: bytes without meaning, over a serial port or whatever else carries them."""

import errno
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from ternforge.errors import UserError

__all__ = ["HostError", "SerialTransport", "Transport"]


class HostError(UserError):
    """A board that is missing, silent, or not what was expected."""


class Transport(ABC):
    """Bytes to and from a board, without meaning."""

    name: str = "board"  #: what error messages call it

    @abstractmethod
    def write(self, content: bytes) -> None:
        """Send all of ``content``."""

    @abstractmethod
    def read(self, timeout: float) -> bytes:
        """What has come, at least one byte; empty if nothing came for ``timeout`` seconds."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the device."""


class SerialTransport(Transport):
    """Serial port of the operating system, through pyserial.

    Parameters
    ----------
    port : str
        Name of the port, such as ``/dev/ttyUSB1`` or ``COM4``.
    baud : int
        Symbols per second, as in the bitstream.

    Raises
    ------
    HostError
        If pyserial or the port is missing, or the port is in use.
    """

    def __init__(self, port: str, baud: int):
        try:
            import serial
            from serial.tools import list_ports
        except ImportError:
            raise HostError("the package pyserial is not installed: install "
                            "ternforge[host]") from None
        self.name, self.baud = port, baud
        self._error = serial.SerialException
        try:
            self._serial: Any = serial.Serial(port, baud, timeout=0, exclusive=True)
        except (serial.SerialException, ValueError) as error:
            if getattr(error, "errno", None) == errno.EACCES:
                raise HostError(f"serial port {port!r} may not be opened by this user: add them to "
                                "the group that owns it (on Debian: sudo adduser USER dialout), "
                                "and log in again") from None
            found = ", ".join(sorted(entry.device for entry in list_ports.comports()))
            raise HostError(f"serial port {port!r} cannot be opened ({error}); there "
                            f"{'is ' + found if found else 'is no serial port'}") from None
        # Without it answers come later, but they come.
        with suppress(AttributeError, NotImplementedError, OSError, ValueError):
            self._serial.set_low_latency_mode(True)

    def write(self, content: bytes) -> None:
        try:
            self._serial.write(content)
        except self._error as error:
            raise HostError(f"the connection to {self.name} broke off: {error}") from None

    def read(self, timeout: float) -> bytes:
        try:
            self._serial.timeout = timeout
            return self._serial.read(1) + self._serial.read(self._serial.in_waiting)
        except (self._error, OSError) as error:
            raise HostError(f"the connection to {self.name} broke off: {error}") from None

    def close(self) -> None:
        self._serial.close()
