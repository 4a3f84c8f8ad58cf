"""Lint generated Verilog: ``python -m ternforge_sim.lint FOLDER_OR_FILES``."""

import sys
from pathlib import Path

from ternforge_sim.verilator import lint

__all__ = ["lint_folder"]


def lint_folder(folder: Path) -> list[str]:
    """What ``verilator --lint-only -Wall`` says about the design in ``folder``.

    The generated Verilog itself waives what it breaks on purpose, see
    :data:`ternforge.verilog.LINT_WAIVERS`. Test benches (``*_tb.v``) are left out: they hold delays
    and code that is not synthesisable.
    """
    files = [file for file in sorted(folder.glob("*.v")) if not file.stem.endswith("_tb")]
    if not files:
        raise FileNotFoundError(2, "no Verilog files in the folder", str(folder))
    return lint(files)


def main(names: list[str]) -> int:
    """Lint files and folders; returns the exit status."""
    told: list[str] = []
    for path in map(Path, names):
        told += lint_folder(path) if path.is_dir() else lint([path])
    print("\n".join(told) or "no warnings")
    return 1 if told or not names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
