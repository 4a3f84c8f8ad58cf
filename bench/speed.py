"""Clock cycles per second of the Verilated core, on one thread, by the form of its lanes."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ternforge.config import CoreConfig
from ternforge.presets import core_preset
from ternforge_firmware.image import Image
from ternforge_model.synthetic import released_config
from ternforge_sim.runner import VerilatedCore, build_simulator
from ternforge_sim.simulate import simulate

from .figures import Data, Figure, Measurement, Reach
from .tokens import token_image

__all__ = ["FIGURES", "MEASUREMENTS", "measure"]

#: Core that is timed.
PRESET = "ddr-n16"
#: Layers of the 370M shape; the head takes a third of the cycles then.
LAYERS = 6
#: Tokens of a run, each compared write by write with the integer model.
TOKENS = 3
#: Runs of each kind in turn; the fastest counts.
RUNS = 3


def speed(library: Path, core: CoreConfig, image: Image) -> tuple[float, float]:
    """Cycles per second of processor time, without and with a record of every write.

    Processor time is that of the thread that simulates: what else the machine does counts less.
    """
    hardware = VerilatedCore(library, core)
    hardware.load(image.memory())
    found = []
    for trace in (False, True):
        started = time.thread_time()
        cycles = sum(hardware.step(token, reset=token == 0, trace=trace).cycles
                     for token in range(TOKENS))
        found.append(cycles / (time.thread_time() - started))
    hardware.close()
    return found[0], found[1]


def measure(seeds: Sequence[int]) -> Data:
    """Speeds of both kinds of lanes, in turn; tokens of each are checked first.

    Raises
    ------
    RuntimeError
        If a token is not bit-exact, or the kinds differ in their cycles.
    """
    core = core_preset(PRESET)
    image = token_image(core, released_config("370m"), LAYERS)
    libraries = {"verilog": build_simulator(core),
                 "behavioural": build_simulator(core, behavioural_lanes=True)}
    checked = {kind: simulate(library, core, image, [1], TOKENS)
               for kind, library in libraries.items()}
    for kind, run in checked.items():
        if not run.bit_exact:
            raise RuntimeError(f"{kind}: not bit-exact: {run.first_divergence}")
    if len({run.cycles for run in checked.values()}) > 1:
        raise RuntimeError("the kinds of lanes differ in their cycles")
    runs: dict[str, list[tuple[float, float]]] = {kind: [] for kind in libraries}
    for _ in range(RUNS):
        for kind, library in libraries.items():
            runs[kind].append(speed(library, core, image))
    return {"cycles_per_second": {kind: max(recorded for _, recorded in speeds)
                                  for kind, speeds in runs.items()},
            "unrecorded": {kind: max(bare for bare, _ in speeds) for kind, speeds in runs.items()},
            "runs": runs, "load": os.getloadavg()[0], "cpus": os.cpu_count(),
            "checked_tokens": sum(run.checked_tokens for run in checked.values()),
            "bit_exact": all(run.bit_exact for run in checked.values())}


MEASUREMENTS = (Measurement(name="simulator.ddr-n16", run=measure, kept=False,
                            depends=("hw", "model/ternforge_model", "firmware", "sim",
                                     "bench/speed.py", "bench/tokens.py")),)


def _figure(name: str, title: str, kind: str, reach: Reach) -> Figure:
    return Figure(name=name, title=title, unit="M cycles/s", of=("simulator.ddr-n16",),
                  value=lambda data: data["cycles_per_second"][kind] / 1e6, reach=reach,
                  checked="simulator.ddr-n16", quick=True)


FIGURES = (
    _figure("simulator.ddr-n16.cycles-per-second",
            "simulator, whole core, N = 16, one thread, behavioural lanes", "behavioural",
            Reach(">= 1.5")),
    _figure("simulator.ddr-n16.verilog-cycles-per-second", "the same, all of it Verilog", "verilog",
            Reach()),
)
