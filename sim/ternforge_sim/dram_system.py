"""A simulated board whose image memory is SDRAM or DDR3 behind LiteDRAM's controller."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig, generate_litedram
from ternforge.system import System
from ternforge.verilog import generate
from ternforge.withdram import WithDram

from .dram import CHIP, DramNumbers, dram_defines
from .runner import generator_key
from .system import FASTEST_LINE_HZ, HARNESS, SimulatedBoard
from .verilator import build_library

__all__ = ["DramBoard", "build_dram_system"]

MEMORY = HARNESS.with_name("dram_system.hpp")

#: Options of ``dram_system.hpp`` behind the numbers of the chip.
START, IMAGE, IMAGE_BYTES = 100, 101, 102

#: Cycles that levelling and test take at most, with beats of up to 32 bytes.
AFTER_STEPS = 40_000


def build_dram_system(config: CoreConfig, dram: DramConfig, clock_hz: int = FASTEST_LINE_HZ, *,
                      progress: Callable[[str], object] | None = None) -> Path:
    """Shared library of :class:`~ternforge.system.System` with its DRAM, cached by content.

    Parameters
    ----------
    config : CoreConfig
        Size of the core.
    dram : DramConfig
        The chip and the clocks that its times count in.
    clock_hz : int
        Clock that the serial line is divided from; slower than the memory's, so that a simulation
        waits less for its bytes.
    progress : callable, optional
        Called with a short text as each step starts.
    """
    controller = generate_litedram(dram, phy=False)

    def fill(folder: Path) -> None:
        if progress:
            progress("Amaranth and LiteDRAM generate the Verilog")
        generate(WithDram(System(config, clock_hz), controller), "system").write(folder)
        controller.write(folder)

    key = content_key("dram-system", repr(config), repr(dram), clock_hz, controller.text,
                      generator_key())
    folder = cached("verilog", key, fill)
    harness = "".join(part.read_text() for part in (*CHIP, MEMORY, HARNESS))
    return build_library([folder / "system.v", folder / "litedram.v"], "system", harness,
                         cflags=("-O2", *dram_defines(controller)), progress=progress)


class DramBoard(SimulatedBoard):
    """As :class:`SimulatedBoard`, with a memory chip.

    A command that the chip does not allow is told on standard error.

    Parameters
    ----------
    library : Path
        From :func:`build_dram_system`.
    dram : DramConfig
        The memory that it was built for.
    clock_hz : int
        The clock that it was built for.
    image : ndarray, optional
        Beats, uint8 of shape ``[beats, lanes]``, that the chip holds once it is ready, as after an
        upload.
    """

    def __init__(self, library: Path, dram: DramConfig, clock_hz: int = FASTEST_LINE_HZ, *,
                 image: np.ndarray | None = None):
        controller = generate_litedram(dram, phy=False)
        numbers = DramNumbers.of(controller)
        options = [(k, getattr(numbers, name)) for k, (name, *_) in enumerate(numbers._fields_)]
        self._image = None if image is None else np.ascontiguousarray(image)
        if self._image is not None:
            options += [(IMAGE, self._image.ctypes.data), (IMAGE_BYTES, self._image.nbytes)]
        super().__init__(library, clock_hz, options=[*options, (START, 1)])
        # A host would need longer than this to open the port.
        self.run(sum(step.wait for step in controller.init) + AFTER_STEPS)
