"""The report of a build, from its design, its files and a simulation."""

import json
from pathlib import Path
from typing import Any

from ternforge.cache import content_key
from ternforge_boards import handoff
from ternforge_boards.build import BuildResult
from ternforge_boards.constraints import constraints
from ternforge_boards.yosys import top_module

from .area import area_report
from .memory import bytes_per_cycle, memory_name
from .paths import clock_reports
from .schema import Design, Report, SeedReport
from .throughput import Speed
from .units import attribute

__all__ = ["design_hash", "make_report"]


def make_report(design: handoff.Design, result: BuildResult, speed: Speed) -> Report:
    """Everything that is known of a build, its power left out.

    Parameters
    ----------
    design : Design
        What was generated.
    result : BuildResult
        What the tools made of it; its files are read.
    speed : Speed
        From a simulation, or from the analytic model.
    """
    netlist = _module(Path(result.netlist))
    units = attribute(netlist)
    routing = json.loads(Path(result.routing).read_bytes())
    # nextpnr writes Gowin's cells as it placed them; of the others there is the netlist.
    cells = _module(Path(result.placed)) if design.board.family == "gowin" else netlist
    used = {what: getattr(result, what) for what in ("lut", "ff", "block_ram", "dsp", "spram")}
    return Report(
        name=f"{design.image.model} on {design.board.name}",
        design=_design(design, speed.ternary_weights),
        tool_versions=result.tool_versions,
        seed=result.seed,
        seeds=tuple(SeedReport(seed=s.seed, fmax_mhz=s.fmax_mhz, met=s.met) for s in result.seeds),
        area=area_report(cells, units, design.board, used),
        clocks=clock_reports(result.clocks, routing, units),
        throughput=speed.throughput,
        evidence=speed.evidence,
        bitstream=result.bitstream)


def _module(path: Path) -> dict[str, Any]:
    return top_module(json.loads(path.read_bytes()))[1]


def design_hash(design: handoff.Design) -> str:
    """Hash over all that synthesis and placement read."""
    return content_key(design.verilog.text, design.verilog.memories, design.controller,
                       design.board_top, constraints(design.board))


def _design(design: handoff.Design, weights: int) -> Design:
    board, core, image = design.board, design.core, design.image
    return Design(
        board=board.name, device=board.part, family=board.family, core=vars(core),
        core_mhz=design.core_mhz, baud=design.baud, memory=memory_name(core, design.dram),
        memory_bytes_per_second=bytes_per_cycle(core, design.dram) * design.core_mhz * 1e6,
        design_hash=design_hash(design),
        model=image.model, model_hash=image.model_hash, ternary_weights=weights)
