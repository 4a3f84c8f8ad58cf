"""Lint generated Verilog: ``python -m ternforge_sim.lint FOLDER_OR_FILES``."""

import sys
from pathlib import Path

from ternforge_sim.verilator import lint

__all__ = ["WAIVERS", "lint_folder"]

#: The warnings that we accept in generated Verilog, each with its reason.
WAIVERS = Path(__file__).with_name("waivers.vlt")


def lint_folder(folder: Path) -> list[str]:
    """What ``verilator --lint-only -Wall`` says about all designs in ``folder``, waivers applied.

    Test benches (``*_tb.v``) are left out: they hold delays and unsynthesisable code.
    """
    files = [file for file in sorted(folder.glob("*.v")) if not file.stem.endswith("_tb")]
    if not files:
        raise FileNotFoundError(2, "no Verilog files in the folder", str(folder))
    return lint([WAIVERS, *files])


def main(names: list[str]) -> int:
    """Lint files and folders; returns the exit status."""
    told: list[str] = []
    for path in map(Path, names):
        told += lint_folder(path) if path.is_dir() else lint([WAIVERS, path])
    print("\n".join(told) or "no warnings")
    return 1 if told or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
