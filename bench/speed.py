"""Clock cycles per second of the Verilated core, on one thread."""

import os
import time
from collections.abc import Sequence

from ternforge.presets import core_preset
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
#: Tokens that are timed.
TOKENS = 4
#: Runs; the fastest counts.
RUNS = 3


def measure(seeds: Sequence[int]) -> Data:
    """Cycles per second of processor time, of the fastest run; a token is checked first.

    Processor time is that of the thread that simulates: what else the machine does counts less.

    Raises
    ------
    RuntimeError
        If that token is not bit-exact.
    """
    core, config = core_preset(PRESET), released_config("370m")
    library = build_simulator(core)
    image = token_image(core, config, LAYERS)
    checked = simulate(library, core, image, [1], 1)
    if not checked.bit_exact:
        raise RuntimeError(f"not bit-exact: {checked.first_divergence}")
    hardware, speeds = VerilatedCore(library, core), []
    hardware.load(image.memory())
    for _ in range(RUNS):
        started = time.thread_time()
        cycles = sum(hardware.step(token, reset=token == 0).cycles for token in range(TOKENS))
        speeds.append(cycles / (time.thread_time() - started))
    hardware.close()
    return {"cycles_per_second": max(speeds), "runs": speeds, "load": os.getloadavg()[0],
            "cpus": os.cpu_count(), "checked_tokens": checked.checked_tokens,
            "bit_exact": checked.bit_exact}


MEASUREMENTS = (Measurement(name="simulator.ddr-n16", run=measure, kept=False,
                            depends=("hw", "model/ternforge_model", "firmware", "sim",
                                     "bench/speed.py", "bench/tokens.py")),)

FIGURES = (Figure(name="simulator.ddr-n16.cycles-per-second",
                  title="simulator, whole core, N = 16, one thread", unit="M cycles/s",
                  of=("simulator.ddr-n16",),
                  value=lambda data: data["cycles_per_second"] / 1e6, reach=Reach(">= 1.5"),
                  checked="simulator.ddr-n16", quick=True),)
