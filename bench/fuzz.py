"""Damage on the host's line, a million times: ``python -m bench.fuzz``.

Random requests to the Verilated host port and core, most of them spoilt, cut, or with a reset in
between; every answer is compared with a model of the port and of the integers. Exit code 1 if one
is wrong, or the port does not answer.
"""

import argparse
import json
import sys
import time

from ternforge_sim.fuzz import fuzz

__all__ = ["main"]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fuzz the host link.")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outside", action="store_true",
                        help="a core whose image memory is off the chip")
    options = parser.parse_args()
    begun = time.perf_counter()

    def progress(frames: int) -> None:
        sys.stderr.write(f"\r{frames:,} of {options.frames:,} frames, "
                         f"{time.perf_counter() - begun:.0f} s")
        sys.stderr.flush()

    report = fuzz(options.frames, options.seed, outside=options.outside, progress=progress)
    sys.stderr.write("\n")
    seconds = time.perf_counter() - begun
    print(json.dumps({**vars(report), "sound": report.sound, "seed": options.seed,
                      "outside": options.outside,
                      "seconds": round(seconds), "frames_per_second":
                      round(report.frames / seconds)}, indent=2))
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
