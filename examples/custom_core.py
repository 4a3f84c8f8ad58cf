"""Verilog of a core of your own size.

    .venv/bin/python examples/custom_core.py --lanes 16 --elements 2 -o core/
    .venv/bin/python examples/custom_core.py --lanes 64 --cores 4 --elements 16 -o core-4/

``accelerator`` has streams for tokens and results; ``system``, of a single core and stream, has a
serial port (docs/host-protocol.md).
"""

import argparse
from pathlib import Path
from typing import Any

from ternforge.accelerator import Accelerator
from ternforge.config import CoreConfig
from ternforge.system import System
from ternforge.verilog import generate


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Verilog of a core of your own size.")
    parser.add_argument("--lanes", type=int, default=16, help="bytes of packed weights per cycle")
    parser.add_argument("--cores", type=int, default=1, help="rows that share these bytes")
    parser.add_argument("--streams", type=int, default=1, help="sequences that share the weights")
    parser.add_argument("--elements", type=int, default=2, help="elements quantised per cycle")
    parser.add_argument("--clock-mhz", type=float, default=48.0, help="for the serial port")
    parser.add_argument("-o", "--output", type=Path, default=Path("core"))
    options = parser.parse_args()

    # What the sizes mean, and which rules they obey, stands beside each field of CoreConfig.
    # `Image.needs` says what a model asks for.
    core = CoreConfig(lanes=options.lanes, cores=options.cores, streams=options.streams,
                      elements=options.elements, vector_depth=1024, state_depth=512, max_rows=512,
                      max_fan_in=400, memory_beats=4096)
    print(f"{core.cores * core.tile} ternary weights per cycle, accumulators of {core.acc_bits} "
          "bits")
    components: dict[str, Any] = {"accelerator": Accelerator(core)}
    if core.cores == core.streams == 1:
        components["system"] = System(core, round(options.clock_mhz * 1e6))
    for name, component in components.items():
        design = generate(component, name)
        path = design.write(options.output)
        print(f"\n{path}: {len(design.text.splitlines())} lines\n{design.port_table()}")


if __name__ == "__main__":
    main()
