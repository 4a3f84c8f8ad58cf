"""A simulated board: the Verilated system, pins and serial line included, for the host driver."""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.host.uart import uart_divisor
from ternforge.system import BAUD, System
from ternforge.verilog import generate
from ternforge_firmware.transport import Transport

from .runner import generator_key
from .verilator import build_library

__all__ = ["FASTEST_LINE_HZ", "SimulatedBoard", "build_system"]

HARNESS = Path(__file__).with_name("system.cpp")

#: Slowest clock that the serial line allows: a simulation waits least for its bytes.
FASTEST_LINE_HZ = 4 * BAUD

#: Bytes taken from the simulation at a time.
PIECE = 4096


def build_system(config: CoreConfig, clock_hz: int = FASTEST_LINE_HZ, *,
                 progress: Callable[[str], object] | None = None) -> Path:
    """Shared library of the Verilated :class:`~ternforge.system.System`, cached by content.

    Parameters
    ----------
    config : CoreConfig
        Size of the core. Its image memory starts empty.
    clock_hz : int
        Clock, from which the serial line is divided.
    progress : callable, optional
        Called with a short text as each step starts.
    """
    def fill(folder: Path) -> None:
        if progress:
            progress("Amaranth generates the Verilog")
        generate(System(config, clock_hz), "system").write(folder)

    key = content_key("system", repr(config), clock_hz, generator_key())
    verilog = cached("verilog", key, fill) / "system.v"
    return build_library([verilog], "system", HARNESS, progress=progress)


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, *arguments in (
            ("new", pointer, u32), ("delete", None, pointer), ("cycle", u64, pointer),
            ("broken", u64, pointer), ("flags", ctypes.c_int, pointer),
            ("send", None, pointer, ctypes.c_char_p, u32), ("listen", None, pointer, u64),
            ("take", u32, pointer, ctypes.c_char_p, u32)):
        function = getattr(library, f"system_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class SimulatedBoard(Transport):
    """Serial line to a running simulation; time passes only while the host waits for bytes.

    Parameters
    ----------
    library : Path
        From :func:`build_system`.
    clock_hz : int
        The clock that it was built for. Timeouts are in seconds of this clock.
    """

    name = "the simulated board"

    def __init__(self, library: Path, clock_hz: int = FASTEST_LINE_HZ):
        self.clock_hz = clock_hz
        self._library = _library(library)
        self._system = self._library.system_new(uart_divisor(clock_hz, BAUD))

    def write(self, content: bytes) -> None:
        self._library.system_send(self._system, content, len(content))

    def read(self, timeout: float) -> bytes:
        self._library.system_listen(self._system, round(timeout * self.clock_hz))
        piece = ctypes.create_string_buffer(PIECE)
        count = self._library.system_take(self._system, piece, PIECE)
        return piece.raw[:count]

    def close(self) -> None:
        if self._system:
            self._library.system_delete(self._system)
            self._system = None

    def __del__(self):
        if getattr(self, "_system", None):
            self.close()

    @property
    def cycle(self) -> int:
        """Clock cycles since the start of the simulation."""
        return self._library.system_cycle(self._system)

    @property
    def broken(self) -> int:
        """Bytes from the board that had no stop bit."""
        return self._library.system_broken(self._system)

    @property
    def busy(self) -> bool:
        """Output of the board: a token is under way."""
        return bool(self._library.system_flags(self._system) & 1)

    @property
    def fault(self) -> bool:
        """Output of the board: the last token failed."""
        return bool(self._library.system_flags(self._system) & 2)
