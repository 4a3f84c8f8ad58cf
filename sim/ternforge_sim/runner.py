"""The Verilated accelerator as a Python object: cycle-accurate, one token per call."""

import ctypes
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from ternforge.accelerator import accelerator
from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.core.core import SITES
from ternforge.core.lanes import BEHAVIOURAL
from ternforge.core.sequencer import Cause
from ternforge.verilog import generate

from .behavioural import MODEL, lanes_defines, lanes_verilog
from .verilator import build_library

__all__ = ["EVENT", "MemoryModel", "Step", "VerilatedCore", "accelerator_verilog",
           "build_simulator", "generator_key"]

#: One traced write: kind 0 is the vector RAM, 1 the state RAM, 2 the codes. The embedding rows of
#: several streams come in packets of their own, the first ``streams`` of a token.
EVENT = np.dtype([("cycle", "<u8"), ("stream", "<u4"), ("packet", "<u4"), ("kind", "<u4"),
                  ("address", "<u4"), ("value", "<i4"), ("unused", "<u4")])

HARNESS, MEMORY = (Path(__file__).with_name(name) for name in ("harness.cpp", "memory.hpp"))

#: Far more cycles than any token takes; a core that needs more hangs.
MAX_CYCLES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class MemoryModel:
    """How a memory off the chip answers; see ``memory.hpp``.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    latency: int = 30  #: cycles from a request to its first beat, at least 1
    stalls: float = 0.0  #: share of the cycles in which a beat could come and none does, below 1
    burst: int = 0  #: beats between two gaps; 0: no gaps
    gap: int = 0  #: cycles of a gap
    seed: int = 0  #: of the stalls

    def __post_init__(self):
        if not 1 <= self.latency < 1 << 31:
            raise ValueError(f"memory latency must be 1 or more, not {self.latency}")
        if not 0 <= self.stalls < 1:
            raise ValueError("the share of cycles in which the memory stalls must be 0 or more and "
                             f"less than 1, not {self.stalls}")
        if min(self.burst, self.gap, self.seed) < 0 or max(self.burst, self.gap,
                                                           self.seed) >= 1 << 31:
            raise ValueError("burst, gap and seed of a memory must be 0 or more, not "
                             f"{self.burst}, {self.gap} and {self.seed}")

    @property
    def cycles_per_beat(self) -> float:
        """Mean, if the core never waits."""
        return (1 + (self.gap / self.burst if self.burst else 0)) / (1 - self.stalls)


@dataclass(frozen=True)
class Step:
    """What one token gave.

    Attributes
    ----------
    tokens : list of int or None
        Argmax of the logits, of each stream; None if the core did not end in time.
    cycles : int
        Clock cycles from the token's acceptance to its result.
    events : ndarray of :data:`EVENT`
        Writes of the token in order; empty unless asked for.
    activity : ndarray
        What the cycles went to, uint32 of shape ``[packets, causes]`` in the order of
        :class:`~ternforge.core.sequencer.Cause`; its sum is ``cycles``.
    waits : dict of str to int
        Of those of :attr:`~ternforge.core.sequencer.Cause.MEMORY`, the ones that a memory chip
        needed to change its row (``rows``) and to refresh itself (``refresh``).
    """

    tokens: list[int] | None
    cycles: int
    events: np.ndarray
    activity: np.ndarray
    waits: dict[str, int] = field(default_factory=dict)

    @property
    def token(self) -> int | None:
        """The first stream's."""
        return None if self.tokens is None else self.tokens[0]


def generator_key() -> str:
    """Hash of the generator itself: its output may be reused while this stays the same."""
    import ternforge
    folder = Path(ternforge.__file__).parent
    return content_key(*(path for path in sorted(folder.rglob("*.py"))))


def accelerator_verilog(config: CoreConfig, *, behavioural_lanes: bool = False) -> list[Path]:
    """Generated Verilog of the accelerator with an empty image memory, cached by content.

    It has no reset: its registers start with the values that a reset would give them.
    """
    def fill(folder: Path):
        generate(accelerator(config), "accelerator", reset=False,
                 family=BEHAVIOURAL if behavioural_lanes else None).write(folder)
        if behavioural_lanes:
            (folder / "lanes.sv").write_text(lanes_verilog(config))

    lanes = lanes_verilog(config) if behavioural_lanes else ""
    key = content_key("accelerator", repr(config), generator_key(), lanes)
    folder = cached("verilog", key, fill)
    return [folder / "accelerator.v", *([folder / "lanes.sv"] if behavioural_lanes else [])]


def build_simulator(config: CoreConfig, *,
                    trace: Literal["fst", "vcd"] | None = None,
                    behavioural_lanes: bool = False, savable: bool = False,
                    progress: Callable[[str], object] | None = None) -> Path:
    """Shared library of the Verilated accelerator, cached by content.

    Parameters
    ----------
    config : CoreConfig
        Size.
    trace : "fst" or "vcd", optional
        Compile waveform support in.
    behavioural_lanes : bool
        One C++ function instead of the Verilog of the lanes, see :mod:`.behavioural`.
    savable : bool
        Compile :meth:`VerilatedCore.save` and :meth:`VerilatedCore.restore` in.
    progress : callable, optional
        Called with a short text as each step starts.
    """
    if progress:
        progress("Amaranth generates the Verilog")
    parts, defines = [HARNESS], [f"-DSTATE_ADDRESS_BITS={config.state_address_bits}",
                                 f"-DSTREAMS={config.streams}", f"-DCORES={config.cores}"]
    if not config.bank_beats:
        parts.insert(0, MEMORY)
        defines.append("-DEXTERNAL_MEMORY")
    if behavioural_lanes:
        parts.insert(0, MODEL)
        defines += lanes_defines(config)
    return build_library(accelerator_verilog(config, behavioural_lanes=behavioural_lanes),
                         "accelerator", "".join(part.read_text() for part in parts), trace=trace,
                         savable=savable, cflags=("-O2", *defines), progress=progress)


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64, i32 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32
    for name, result, *arguments in (
            ("new", pointer, u32), ("delete", None, pointer), ("cycle", u64, pointer),
            ("write", None, pointer, u32, ctypes.c_char_p, u32, u32),
            ("map", None, pointer, pointer, u64, u32),
            ("memory", None, pointer, u32, u32, u32, u32, u32),
            ("step", i32, pointer, ctypes.POINTER(u32), u64, u64, ctypes.c_int, ctypes.c_int,
             ctypes.c_int, u64, ctypes.POINTER(u32)),
            ("token_cycles", u32, pointer),
            ("saturations", None, pointer, ctypes.POINTER(u32)),
            ("ratio", None, pointer, u32, ctypes.POINTER(i32), ctypes.POINTER(i32)),
            ("peek", None, pointer, u32, u32, u32, ctypes.POINTER(i32)),
            ("events", u64, pointer, ctypes.POINTER(pointer)),
            ("activity", u64, pointer, ctypes.POINTER(pointer)),
            ("save", ctypes.c_int, pointer, ctypes.c_char_p),
            ("restore", ctypes.c_int, pointer, ctypes.c_char_p),
            ("wave", ctypes.c_int, pointer, ctypes.c_char_p, u64, u64),
            ("wave_close", None, pointer)):
        function = getattr(library, f"ternforge_{name}", None)
        if function is None:  # of the other kind of image memory, or not compiled in
            continue
        function.restype, function.argtypes = result, arguments
    return library


class VerilatedCore:
    """A running simulation.

    Parameters
    ----------
    library : Path
        From :func:`build_simulator`.
    config : CoreConfig
        The configuration that it was built for.
    memory : MemoryModel, optional
        How an image memory off the chip answers.

    Raises
    ------
    ValueError
        If a memory is given and the core has its own; from :meth:`load` and :meth:`step`, for
        images and tokens that do not fit.
    """

    def __init__(self, library: Path, config: CoreConfig, memory: MemoryModel | None = None):
        if memory is not None and config.bank_beats:
            raise ValueError("only an image memory off the chip has latency, stalls and gaps; this "
                             "core has its own")
        self.config = config
        self._library = _library(library)
        self._core = self._library.ternforge_new(config.elements)
        self._beats: np.ndarray | None = None
        if not config.bank_beats:
            self._configure(memory or MemoryModel())

    def _configure(self, memory: MemoryModel):
        """Tell the memory off the chip how to answer."""
        self._library.ternforge_memory(self._core, memory.latency, int(memory.stalls * (1 << 32)),
                                       memory.burst, memory.gap, memory.seed)

    def close(self):
        """End the simulation; also done when the object dies."""
        if self._core:
            self._library.ternforge_delete(self._core)
            self._core = None

    def __del__(self):
        if getattr(self, "_core", None):
            self.close()

    @property
    def cycle(self) -> int:
        """Clock cycles since the start of the simulation."""
        return self._library.ternforge_cycle(self._core)

    def load(self, beats: np.ndarray):
        """Give the core an image, uint8 of shape ``[beats, lanes]``.

        It is written through the host's port; an image memory off the chip only refers to it.
        """
        self._check_image(beats)
        if self.config.bank_beats:
            self._library.ternforge_write(self._core, 0, np.ascontiguousarray(beats).tobytes(),
                                          len(beats), self.config.lanes)
        else:
            self._beats = np.ascontiguousarray(beats)  # a copy only if it is not
            self._library.ternforge_map(self._core, self._beats.ctypes.data, len(beats),
                                        self.config.lanes)

    def _check_image(self, beats: np.ndarray):
        if beats.dtype != np.uint8 or beats.ndim != 2 or beats.shape[1] != self.config.lanes:
            raise ValueError(f"image must be uint8 of shape [beats, {self.config.lanes}], "
                             f"not {beats.dtype} of shape {list(beats.shape)}")
        if len(beats) > self.config.memory_beats:
            raise ValueError(f"image must have at most {self.config.memory_beats} beats, "
                             f"not {len(beats)}")

    def step(self, token: int, *, reset: bool = False, trace: bool = False,
             max_cycles: int = MAX_CYCLES) -> Step:
        """Run one token through the core, ``max_cycles`` at most; ``reset`` begins a sequence.

        Of several streams, the first takes part alone.
        """
        others = self.config.streams - 1
        return self.step_all([token, *[None] * others], reset=[reset, *[False] * others],
                             trace=trace, max_cycles=max_cycles)

    def step_all(self, tokens: Sequence[int | None], *, reset: Sequence[bool], chain: bool = False,
                 head: bool = True, trace: bool = False, max_cycles: int = MAX_CYCLES) -> Step:
        """Run a token of each stream; see :func:`ternforge.core.core.step_layout`.

        Parameters
        ----------
        tokens : sequence of int or None
            One for each stream; None where it takes no part.
        reset : sequence of bool
            Which of them begin a sequence.
        chain : bool
            They follow each other in one sequence; only with several streams, as ``head``.
        head : bool
            Whether logits are wanted.
        trace, max_cycles
            As in :meth:`step`.
        """
        streams = self.config.streams
        if len(tokens) != streams or len(reset) != streams:
            raise ValueError(f"tokens and reset must be of {streams} streams, not {len(tokens)} "
                             f"and {len(reset)}")
        results = (ctypes.c_uint32 * streams)()
        given = (ctypes.c_uint32 * streams)(*(0 if token is None else token for token in tokens))

        def bits(flags: Iterable[bool]) -> int:
            return sum(1 << index for index, flag in enumerate(flags) if flag)

        status = self._library.ternforge_step(
            self._core, given, bits(reset), bits(token is not None for token in tokens), chain,
            head, trace, max_cycles, results)
        if status == -1:
            shown = ", ".join(str(token) for token in tokens if token is not None)
            raise ValueError(f"token {shown} or the image was refused by the core: load an image, "
                             "and take tokens from its vocabulary")
        return Step(None if status < 0 else list(results),
                    self._library.ternforge_token_cycles(self._core),
                    self._array("events", EVENT),
                    self._array("activity", np.dtype(np.uint32)).reshape(-1, len(Cause)))

    def _array(self, name: str, dtype: np.dtype) -> np.ndarray:
        """A copy of what the harness has collected."""
        first = ctypes.c_void_p()
        count = getattr(self._library, f"ternforge_{name}")(self._core, ctypes.byref(first))
        if not count:
            return np.empty(0, dtype)
        return np.frombuffer(ctypes.string_at(first.value or 0, count * dtype.itemsize), dtype)

    def save(self) -> bytes:
        """State between two tokens (a library built to be ``savable``)."""
        with tempfile.TemporaryDirectory(prefix="ternforge-") as folder:
            path = Path(folder) / "state"
            self._move("save", path)
            return path.read_bytes()

    def restore(self, state: bytes):
        """Continue from a state that :meth:`save` gave, of the same library.

        An image memory on the chip is a part of it; one off the chip is to be loaded as before.
        """
        with tempfile.TemporaryDirectory(prefix="ternforge-") as folder:
            path = Path(folder) / "state"
            path.write_bytes(state)
            self._move("restore", path)

    def _move(self, direction: str, path: Path):
        function = getattr(self._library, f"ternforge_{direction}", None)
        if function is None:
            raise ValueError("this simulator was built without saving its state")
        if function(self._core, str(path).encode()):
            raise OSError(f"cannot {direction} the simulator's state in {str(path)!r}")

    def peek(self, address: int, count: int, stream: int = 0) -> np.ndarray:
        """Elements of a stream's vector RAM, int32 of shape ``[count]``."""
        values = np.zeros(count, np.int32)
        self._library.ternforge_peek(self._core, stream, address, count,
                                     values.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)))
        return values

    def saturations(self) -> dict[str, int]:
        """Saturations by site since the last reset."""
        counts = (ctypes.c_uint32 * len(SITES))()
        self._library.ternforge_saturations(self._core, counts)
        return dict(zip(SITES, counts, strict=True))

    def ratio(self, stream: int = 0) -> tuple[int, int]:
        """Mantissa and exponent of the ratio of a stream's last codes, which scales the logits."""
        mantissa, exponent = ctypes.c_int32(), ctypes.c_int32()
        self._library.ternforge_ratio(self._core, stream, ctypes.byref(mantissa),
                                      ctypes.byref(exponent))
        return mantissa.value, exponent.value

    def wave(self, path: Path, first: int, last: int):
        """Record cycles ``first`` to ``last`` to ``path`` (a library built with ``trace``)."""
        if self._library.ternforge_wave(self._core, str(path).encode(), first, last):
            raise ValueError("this simulator was built without waveforms")

    def wave_close(self):
        """End the recording."""
        self._library.ternforge_wave_close(self._core)
