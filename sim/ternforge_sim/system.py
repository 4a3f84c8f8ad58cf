"""A simulated board: the Verilated system, pins and serial line included, for the host driver."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import chdir, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.host.uart import uart_divisor
from ternforge.system import BAUD, System
from ternforge.verilog import generate
from ternforge_firmware.transport import Transport

from .runner import MemoryModel, generator_key
from .verilator import build_library

__all__ = ["FASTEST_LINE_HZ", "OutsideMemory", "SimulatedBoard", "build_system", "system_verilog"]

HARNESS = Path(__file__).with_name("system.cpp")
#: In front of the harness, where the image memory is off the chip.
FLASH = HARNESS.with_name("flash.hpp")  #: in front of the harness, where the board has one
MEMORIES = [HARNESS.with_name("memory.hpp"), HARNESS.with_name("external.hpp")]

#: Slowest clock that the serial line allows: a simulation waits least for its bytes.
FASTEST_LINE_HZ = 4 * BAUD

#: Bytes taken from the simulation at a time.
PIECE = 4096


@dataclass(frozen=True, kw_only=True)
class OutsideMemory:
    """Behaviour of an image memory off the chip."""

    reads: MemoryModel = field(default_factory=MemoryModel)  #: latency and pauses
    write_wait: int = 2  #: cycles that a write waits for
    state: int = 0  #: a :class:`~ternforge.host.protocol.MemoryState`
    ready_at: int = 0  #: cycle until which it is initialising
    stuck_at: int | None = None  #: beat whose lowest bit stays 0


def system_verilog(config: CoreConfig, clock_hz: int = FASTEST_LINE_HZ,
                   image: Sequence[int] = (), *, baud: int = BAUD,
                   flash_offset: int | None = None,
                   progress: Callable[[str], object] | None = None) -> Path:
    """Folder with ``system.v`` and the files that initialise its memory, cached by content."""
    def fill(folder: Path) -> None:
        if progress:
            progress("Amaranth generates the Verilog")
        generate(System(config, clock_hz, image, baud=baud, flash_offset=flash_offset),
                 "system").write(folder)

    key = content_key("system", repr(config), clock_hz, baud, list(image), flash_offset,
                      generator_key())
    return cached("verilog", key, fill)


def build_system(config: CoreConfig, clock_hz: int = FASTEST_LINE_HZ, image: Sequence[int] = (), *,
                 baud: int = BAUD, flash_offset: int | None = None,
                 progress: Callable[[str], object] | None = None) -> Path:
    """Shared library of the Verilated :class:`~ternforge.system.System`, cached by content.

    Parameters
    ----------
    config : CoreConfig
        Size of the core.
    clock_hz : int
        Clock, from which the serial line is divided.
    image : sequence of int
        Beats that a memory on the chip starts with, as from a bitstream; its simulation opens the
        files in the folder of :func:`system_verilog`. Without them the memory is empty.
    baud : int
        Symbols per second of that line.
    flash_offset : int, optional
        Where in a flash its image stands.
    progress : callable, optional
        Called with a short text as each step starts.
    """
    verilog = system_verilog(config, clock_hz, image, baud=baud, flash_offset=flash_offset,
                             progress=progress) / "system.v"
    parts = [*(() if flash_offset is None else [FLASH]),
             *(() if config.bank_beats else MEMORIES), HARNESS]
    return build_library([verilog], "system", "".join(part.read_text() for part in parts),
                         progress=progress)


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, *arguments in (
            ("flash", None, pointer, ctypes.c_char_p, u64, u64),
            ("new", pointer, u32), ("set", None, pointer, u32, u64), ("start", None, pointer),
            ("delete", None, pointer), ("cycle", u64, pointer),
            ("broken", u64, pointer), ("flags", ctypes.c_int, pointer),
            ("send", None, pointer, ctypes.c_char_p, u32), ("listen", None, pointer, u64),
            ("run", None, pointer, u64),
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
    folder : Path, optional
        From :func:`system_verilog`, where the memory starts with an image.
    config : CoreConfig, optional
        Of the system; needed where its image memory is off the chip.
    memory : OutsideMemory
        How that memory behaves.
    baud : int
        Symbols per second of the line.
    flash : (bytes, int), optional
        What stands in its flash, and from which address on.
    options : sequence of (int, int)
        Numbers and values for a memory of another kind, which ``library`` was built with.
    """

    name = "the simulated board"

    def __init__(self, library: Path, clock_hz: int = FASTEST_LINE_HZ, *,
                 folder: Path | None = None, config: CoreConfig | None = None,
                 memory: OutsideMemory | None = None, baud: int = BAUD,
                 flash: tuple[bytes, int] | None = None,
                 options: Sequence[tuple[int, int]] = ()):
        self.clock_hz = clock_hz
        self._library = _library(library)
        self._system = self._library.system_new(uart_divisor(clock_hz, baud))
        if config is not None and not config.bank_beats:
            self._set(0, config.lanes)
            self._set(1, config.memory_beats)
            self.set_memory(memory or OutsideMemory())
        for number, value in options:
            self._set(number, value)
        self._flash = flash
        if flash is not None:
            self._library.system_flash(self._system, flash[0], len(flash[0]), flash[1])
        with chdir(folder) if folder else nullcontext():
            self._library.system_start(self._system)

    def _set(self, number: int, value: int) -> None:
        self._library.system_set(self._system, number, value)

    def set_memory(self, memory: OutsideMemory) -> None:
        """Change how a memory off the chip behaves; what it holds stays."""
        reads = memory.reads
        stuck = (1 << 64) - 1 if memory.stuck_at is None else memory.stuck_at
        for number, value in enumerate((
                reads.latency, reads.burst, reads.gap, round(reads.stalls * 2 ** 32),
                reads.seed + 1, memory.write_wait, memory.state, memory.ready_at, stuck), 2):
            self._set(number, value)

    def write(self, content: bytes) -> None:
        self._library.system_send(self._system, content, len(content))

    def read(self, timeout: float) -> bytes:
        self._library.system_listen(self._system, round(timeout * self.clock_hz))
        return self.take()

    def run(self, cycles: int) -> None:
        """Let time pass, whatever comes or does not come."""
        self._library.system_run(self._system, cycles)

    def take(self) -> bytes:
        """What has come, at once."""
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
