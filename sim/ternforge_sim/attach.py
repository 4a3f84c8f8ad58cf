"""Where ``chat`` finds its board: on a serial port, or simulated behind a pseudo-terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.mem.litedram import DramConfig
from ternforge_firmware.image import Image

from .dram_system import DramBoard, build_dram_system
from .pty import SerialPort
from .system import SimulatedBoard, build_system, system_verilog

__all__ = ["SIMULATED_TIMEOUT", "simulated_board", "simulated_port", "starts_filled"]

#: Seconds without a byte after which an answer of a simulated board is lost: it is slow.
SIMULATED_TIMEOUT = 60.0


def starts_filled(core: CoreConfig) -> bool:
    """Whether the bitstream holds the image: all of the memory is block RAM."""
    return bool(core.bank_beats) and not core.single_port_beats


def simulated_board(core: CoreConfig, image: Image | None = None,
                    progress: Callable[[str], object] | None = None,
                    dram: DramConfig | None = None) -> SimulatedBoard:
    """The Verilated system of a core; ``image`` stands in its memory if the bitstream holds it.

    With ``dram`` its memory is such a chip behind LiteDRAM's controller, in which ``image`` stands
    as after an upload.
    """
    if core.cores > 1 or core.streams > 1:
        raise UserError("--board must be one with a single core and stream, as a system has, not "
                        f"with {core.cores} and {core.streams}")
    if dram is not None:
        if image is not None:
            image.check_core(core)
        return DramBoard(build_dram_system(core, dram, progress=progress), dram,
                         image=None if image is None else image.memory())
    beats = []
    if image is not None and starts_filled(core):
        image.check_core(core)
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in image.memory()]
    library = build_system(core, image=beats, progress=progress)
    return SimulatedBoard(library, folder=system_verilog(core, image=beats), config=core)


@contextmanager
def simulated_port(core: CoreConfig, image: Image | None = None, *, link: Path | None = None,
                   progress: Callable[[str], object] | None = None,
                   dram: DramConfig | None = None) -> Iterator[SerialPort]:
    """Like :func:`simulated_board`, behind a pseudo-terminal."""
    board = simulated_board(core, image, progress, dram)
    try:
        port = SerialPort(board, link)
    except BaseException:
        board.close()
        raise
    with port:
        yield port
