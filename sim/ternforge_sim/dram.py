"""The Verilated core with a real memory controller, in front of a modelled memory chip."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig, LiteDram, generate_litedram
from ternforge.process import ToolError
from ternforge.verilog import generate
from ternforge.withdram import dram_accelerator

from .runner import HARNESS, MemoryModel, Step, VerilatedCore, generator_key
from .verilator import build_library

__all__ = ["DramCore", "DramCounts", "DramMemoryModel", "DramNumbers", "build_dram_simulator",
           "dram_defines"]

FOLDER = Path(__file__).parent
CHIP = [FOLDER / "levels.hpp", FOLDER / "dram.hpp"]
WAITS, CALLS = FOLDER / "dram_waits.hpp", FOLDER / "dram_calls.cpp"

#: What LiteDRAM has no numbers for, in clocks. Mode registers: tMOD of JESD79-3F, and the two that
#: SDR chips ask for; a long calibration takes 512 clocks, which the model knows.
MODE_CLOCKS = {"sdr": 2, "ddr3": 12}
#: Nanoseconds that a chip's reset takes, and then until its clock is enabled (JESD79-3F, 3.3.1);
#: of SDR, from power-up to the first command.
RESET_NS = {"sdr": 0, "ddr3": 200_000}
SETTLE_NS = {"sdr": 100_000, "ddr3": 500_000}

#: Far more cycles than any initialisation takes.
MOST_START = 1 << 22


class DramNumbers(ctypes.Structure):
    """The structure of that name in ``dram.hpp``."""

    _fields_ = [(name, ctypes.c_uint32) for name in (
        "ddr3", "bank_bits", "row_bits", "column_bits", "data_bytes", "burst", "cas", "cas_write",
        "read_latency", "write_latency",
        "tRP", "tRCD", "tWR", "tRFC", "tWTR", "tFAW", "tCCD", "tRRD", "tRAS", "tRC", "tRTP",
        "tREFI", "tMOD", "tZQ", "reset_clocks", "settle_clocks")]

    @classmethod
    def of(cls, dram: LiteDram) -> "DramNumbers":
        """Those of the chip that a controller was generated for."""
        config = dram.config
        clocks_per_ns = config.clock_hz * config.ratio / 1e9
        chip = {name: value for name, value in dram.chip.items() if name != "tZQCS"}
        return cls(
            ddr3=config.kind == "ddr3", bank_bits=dram.bank_bits, row_bits=dram.row_bits,
            column_bits=dram.column_bits, data_bytes=config.groups,
            burst=config.word_bits // config.data_bits, cas=dram.cas_latency,
            cas_write=dram.cas_write_latency, read_latency=dram.read_latency,
            write_latency=dram.write_latency, tMOD=MODE_CLOCKS[config.kind],
            tZQ=dram.chip["tZQCS"], reset_clocks=int(RESET_NS[config.kind] * clocks_per_ns),
            settle_clocks=int(SETTLE_NS[config.kind] * clocks_per_ns), **chip)


@dataclass(frozen=True, kw_only=True)
class DramCounts:
    """Commands that the chip got since it was initialised."""

    activates: int
    reads: int
    writes: int
    refreshes: int


def dram_defines(dram: LiteDram) -> list[str]:
    """Options of the compiler for ``dram.hpp``."""
    return ["-DEXTERNAL_MEMORY", f"-DPHASES={dram.config.ratio}",
            *(["-DLEVELS"] if dram.config.kind == "ddr3" else [])]


def build_dram_simulator(config: CoreConfig, dram: DramConfig, *,
                         trace: Literal["fst", "vcd"] | None = None,
                         progress: Callable[[str], object] | None = None) -> Path:
    """Shared library of the core with its memory adapter and LiteDRAM's controller.

    As :func:`.runner.build_simulator`; without a PHY, which :class:`DramMemoryModel` stands for.
    """
    if progress:
        progress("Amaranth and LiteDRAM generate the Verilog")
    controller = generate_litedram(dram, phy=False)

    def fill(folder: Path):
        generate(dram_accelerator(config, controller), "accelerator", reset=False).write(folder)
        controller.write(folder)

    key = content_key("dram-accelerator", repr(config), repr(dram), controller.text,
                      generator_key())
    folder = cached("verilog", key, fill)
    harness = "".join(part.read_text() for part in (*CHIP, WAITS, HARNESS, CALLS))
    return build_library(
        [folder / "accelerator.v", folder / "litedram.v"], "accelerator", harness, trace=trace,
        cflags=("-O2", f"-DSTATE_ADDRESS_BITS={config.state_address_bits}",
                f"-DSTREAMS={config.streams}", f"-DCORES={config.cores}", "-DDRAM_WAITS",
                *dram_defines(controller)), progress=progress)


@dataclass(frozen=True, kw_only=True)
class DramMemoryModel:
    """A chip behind LiteDRAM's controller, in place of a :class:`~.runner.MemoryModel`."""

    dram: DramConfig

    @cached_property
    def controller(self) -> LiteDram:
        """What is simulated."""
        return generate_litedram(self.dram, phy=False)

    latency = 1000  #: far more cycles than a request waits

    @property
    def cycles_per_beat(self) -> float:
        """Far more than the mean, whatever the width of a beat."""
        return 8.0

    def open(self, library: Path, config: CoreConfig) -> "DramCore":
        """Start a simulator of :func:`build_dram_simulator`."""
        return DramCore(library, config, self)


class DramCore(VerilatedCore):
    """A running simulation of a core and its DRAM.

    Parameters
    ----------
    library : Path
        From :func:`build_dram_simulator`.
    config : CoreConfig
        The configuration that it was built for.
    model : DramMemoryModel
        The memory that it was built for.

    Raises
    ------
    ToolError
        If the memory does not become ready, or a command breaks a rule of the chip.
    """

    def __init__(self, library: Path, config: CoreConfig, model: DramMemoryModel):
        super().__init__(library, config)
        pointer, u64 = ctypes.c_void_p, ctypes.c_uint64
        for name, result, *arguments in (
                ("start", ctypes.c_int, pointer, ctypes.POINTER(DramNumbers), u64),
                ("fill", ctypes.c_int, pointer, pointer, u64),
                ("error", ctypes.c_char_p, pointer),
                ("waits", None, pointer, ctypes.POINTER(u64)),
                ("counts", None, pointer, ctypes.POINTER(u64))):
            function = getattr(self._library, f"ternforge_dram_{name}")
            function.restype, function.argtypes = result, arguments
        self.numbers = DramNumbers.of(model.controller)
        state = self._library.ternforge_dram_start(self._core, ctypes.byref(self.numbers),
                                                   MOST_START)
        self._raise_error()
        if state:
            raise ToolError(f"the memory did not become ready: its state is {state} after "
                            f"{self.cycle} cycles")
        self.start_cycles = self.cycle  #: what the initialisation took

    def _configure(self, memory: MemoryModel):
        """Nothing: the chip has its own numbers."""

    def _raise_error(self):
        error = self._library.ternforge_dram_error(self._core).decode()
        if error:
            raise ToolError(f"the memory chip was used against its rules: {error}")

    def load(self, beats: np.ndarray):
        """Put an image into the chip, uint8 of shape ``[beats, lanes]``."""
        self._check_image(beats)
        flat = np.ascontiguousarray(beats)
        if self._library.ternforge_dram_fill(self._core, flat.ctypes.data, flat.nbytes):
            raise ValueError(f"image must fit the memory chip, not have {flat.nbytes} bytes")

    def step_all(self, tokens, **options) -> Step:
        """As that of :class:`VerilatedCore`, with what it waited for in the chip."""
        before = self._waits()
        step = super().step_all(tokens, **options)
        self._raise_error()
        return replace(step, waits={name: count - before[name]
                                    for name, count in self._waits().items()})

    def _waits(self) -> dict[str, int]:
        """Cycles without a beat so far because of the chip, by cause."""
        two = (ctypes.c_uint64 * 2)()
        self._library.ternforge_dram_waits(self._core, two)
        return {"rows": two[0], "refresh": two[1]}

    def counts(self) -> DramCounts:
        """Commands so far."""
        four = (ctypes.c_uint64 * 4)()
        self._library.ternforge_dram_counts(self._core, four)
        return DramCounts(activates=four[0], reads=four[1], writes=four[2], refreshes=four[3])
