"""How long an image takes to a board over its serial line, frames and their sums included."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ternforge.host.protocol import BAUD
from ternforge.presets import DRAMS, LINES, core_preset
from ternforge_firmware.host import Board
from ternforge_sim.receiver import OUTSIDE
from ternforge_sim.system import SimulatedBoard, build_system

from .figures import Data, Figure, Measurement, Reach

__all__ = ["FIGURES", "MEASUREMENTS", "measure"]

DEPENDS = ("hw", "model/ternforge_model", "firmware", "sim", "bench/upload.py", "bench/figures.py")

BYTES = 4 << 14  #: that are uploaded; every block of 16 KiB takes the same time

#: Preset, symbols per second, bytes of an image, and which that is.
CASES = {
    "ulx3s-25mb": ("sdr-n4", LINES["ulx3s-85f-sdram"], 25_000_000, "25 MB, ULX3S"),
    "orangecrab-370m": ("ddr3-n8", BAUD, 102_000_000, "MMfreeLM-370M (102 MB), OrangeCrab"),
    "orangecrab-370m-3mbd": ("ddr3-n8", 3_000_000, 102_000_000,
                             "MMfreeLM-370M (102 MB), OrangeCrab built with --baud 3000000"),
}


def measure(preset: str, baud: int, size: int, seeds: Sequence[int]) -> Data:
    """Seconds of the board's clock for an upload by the driver, into a small core of that width.

    The line is a wire: what USB adds to the latency of the answers does not count. Requests to
    write wait for none, but for each block the driver asks twice for its sum.
    """
    clock_hz, lanes = DRAMS[preset].clock_hz, core_preset(preset).lanes
    core = replace(OUTSIDE, lanes=lanes, memory_beats=2 * BYTES // lanes)
    line = SimulatedBoard(build_system(core, clock_hz, baud=baud), clock_hz, config=core, baud=baud)
    rng = random.Random(1)
    beats = [rng.randbytes(lanes) for _ in range(BYTES // lanes)]
    try:
        board = Board(line)
        begun = line.cycle
        board.load(beats)
        seconds = (line.cycle - begun) / clock_hz
    finally:
        line.close()
    return {"seconds": seconds, "bytes": BYTES, "bytes_per_second": BYTES / seconds,
            "share_of_line": BYTES / seconds / (baud / 10), "minutes": seconds * size / BYTES / 60,
            # one beat in a frame: 9 bytes beside it
            "minutes_beat_by_beat": size / lanes * (lanes + 9) * 10 / BAUD / 60}


MEASUREMENTS = tuple(Measurement(name=f"upload.{name}", run=partial(measure, *case[:3]),
                                 depends=DEPENDS) for name, case in CASES.items())

FIGURES = (
    *(Figure(name=f"upload.{name}.minutes", unit="min", of=(f"upload.{name}",),
             title=f"upload of {case[3]}, at {case[1] / 1e6:g} MBd",
             value=lambda data: data["minutes"]) for name, case in CASES.items()),
    *(Figure(name=f"upload.{name}.gain", unit="times", of=(f"upload.{name}",),
             title=f"upload of {case[3]}, at {case[1] / 1e6:g} MBd: over a beat in each frame at "
                   f"{BAUD / 1e6:g} MBd",
             value=lambda data: data["minutes_beat_by_beat"] / data["minutes"],
             reach=Reach(">= 1.5")) for name, case in CASES.items()),
)
