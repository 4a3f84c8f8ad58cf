"""What happens to a point, on whatever machine a worker runs."""

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ternforge.cache import cache_dir, content_key
from ternforge.errors import UserError
from ternforge.output import write_text
from ternforge.process import ToolError
from ternforge_boards.board import Board
from ternforge_boards.board import board as find_board
from ternforge_boards.build import build
from ternforge_boards.constraints import constraints
from ternforge_boards.handoff import TOP, write_build_sources
from ternforge_boards.jobs import Jobs
from ternforge_boards.measure import measure_component
from ternforge_boards.report.schema import (
    Area,
    AreaReport,
    ClockReport,
    Design,
    Evidence,
    Report,
    SeedReport,
    Throughput,
)
from ternforge_boards.yosys import flow_versions, synthesise

from .counts import COUNTED, available, check_area, netlist_area
from .design import core_verilog, design_of
from .models import image_of, program_of
from .point import CyclesFrom, Depth, Estimate, Point, Result
from .throughput import bytes_per_cycle, modelled, simulated

__all__ = ["evaluate", "outcome", "report_of"]

#: What tools are told by the system when it kills them: another try may go better.
_KILLED = re.compile(r"killed by signal|exit status -\d")


def evaluate(point: Point) -> Result:
    """The finished point. Whatever goes wrong with it becomes its reason."""
    return outcome(point, _known)


def outcome(point: Point, work: Callable[[Point], Report | Estimate]) -> Result:
    """What ``work`` makes of a point: a report, an estimate, or the reason of its failure."""
    started = time.monotonic()
    try:
        found = work(point)
    except (UserError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        lasting = not (isinstance(error, ToolError) and _KILLED.search(text))
        return Result(point=point, reason=text or type(error).__name__, lasting=lasting,
                      seconds=time.monotonic() - started)
    except Exception as error:
        return Result(point=point, reason=f"{type(error).__name__}: {error}", lasting=False,
                      seconds=time.monotonic() - started)
    seconds = time.monotonic() - started
    if isinstance(found, Estimate):
        return Result(point=point, seconds=seconds, estimate=found)
    return Result(point=point, seconds=seconds, report=found)


def _known(point: Point) -> Report | Estimate:
    if point.depth is not Depth.ESTIMATE:
        return report_of(point)
    board = find_board(point.board)
    throughput, _ = modelled(board, point.model, point.config, point.core_mhz)
    return Estimate(throughput=throughput)


@dataclass(frozen=True, kw_only=True)
class _Build:
    """What the tools found."""

    design_hash: str
    core_mhz: float
    area: Area
    source: str  #: of the area
    clocks: tuple[ClockReport, ...] = ()
    seeds: tuple[SeedReport, ...] = ()
    bitstream: str | None = None


def report_of(point: Point) -> Report:
    """Build the point's design and say what it takes and reaches.

    Raises
    ------
    UserError
        If it does not fit.
    ToolError
        If a tool fails.
    """
    board, core = find_board(point.board), point.config
    image = image_of(point)
    if point.alone:
        design, built = None, _core_alone(point, board)
    else:
        design = design_of(point, board, image)
        built = _system(point, board)
    if point.cycles is CyclesFrom.SIMULATION:
        throughput, evidence = simulated(board, point.model, core, built.core_mhz, image,
                                         design and design.dram)
    else:
        throughput, evidence = modelled(board, point.model, core, built.core_mhz)
    return _report(point, board, built, throughput, evidence, image.model_hash)


def _report(point: Point, board: Board, built: _Build, throughput: Throughput,
            evidence: Evidence, model_hash: str) -> Report:
    core = point.config
    memory = "single-port RAM and block RAM" if core.single_port_beats else "block RAM"
    if board.memory is not None:
        memory = board.memory.dram.chip
    return Report(
        name=point.name,
        design=Design(
            board=board.name, device=board.part, family=board.family, core=dict(point.core),
            core_mhz=built.core_mhz, memory=memory, design_hash=built.design_hash,
            memory_bytes_per_second=bytes_per_cycle(board, core) * built.core_mhz * 1e6,
            model=point.model, model_hash=model_hash,
            ternary_weights=program_of(point.model).ternary_weights),
        tool_versions=flow_versions(board.family), seed=point.seed, seeds=built.seeds,
        area=AreaReport(total=built.area, available=available(board), units=(),
                        source=built.source),
        clocks=built.clocks, throughput=throughput, evidence=evidence, bitstream=built.bitstream)


def _system(point: Point, board: Board) -> _Build:
    """The board's system through Yosys, and through nextpnr if asked."""
    design = design_of(point, board, image_of(point))
    top = f"{TOP}_{board.name.replace('-', '_')}"
    digest = content_key(design.verilog.text, design.verilog.memories, design.board_top,
                         design.controller, constraints(board))
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        write_build_sources(design, Path(work))
        if point.depth is Depth.SYNTH:
            return _counted(Path(work), board, top, digest, design.core_mhz)
        result = build(Path(work), board, top=top, seeds=(point.seed,), jobs=1,
                       allow_timing_fail=True,
                       freq_mhz=design.core_mhz if board.family == "gowin" else None)
    return _Build(
        design_hash=digest, core_mhz=design.core_mhz, source="nextpnr", bitstream=result.bitstream,
        area=Area(lut=result.lut, ff=result.ff, block_ram=result.block_ram, dsp=result.dsp,
                  spram=result.spram),
        clocks=tuple(ClockReport(net=clock.net, achieved_mhz=clock.achieved_mhz, met=clock.met,
                                 constrained_mhz=clock.constrained_mhz)
                     for clock in result.clocks),
        seeds=tuple(SeedReport(seed=seed.seed, fmax_mhz=seed.fmax_mhz, met=seed.met)
                    for seed in result.seeds))


def _counted(work: Path, board: Board, top: str, digest: str, core_mhz: float,
             note: str = "") -> _Build:
    """The cells of the sources in ``work``."""
    files: Sequence[Path] = sorted(work.iterdir())
    netlist = synthesise([file for file in files if file.suffix == ".v"],
                         [file for file in files if file.suffix == ".mem"], board, Jobs(), top=top)
    area = netlist_area(netlist, board.family)
    check_area(area, board)
    return _Build(design_hash=digest, core_mhz=core_mhz, area=area, source=COUNTED + note)


def _core_alone(point: Point, board: Board) -> _Build:
    """The core without host port and memory controller, on the board's device."""
    verilog = core_verilog(point, board, image_of(point))
    digest = content_key(verilog.text, verilog.memories)
    note = "; the core alone, without host port and memory controller"
    if point.depth is Depth.SYNTH:
        with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
            for name, text in {f"{verilog.name}.v": verilog.text, **verilog.memories}.items():
                write_text(Path(work) / name, text)
            return _counted(Path(work), board, verilog.name, digest, point.core_mhz, note)
    unit = measure_component(verilog.text, verilog.name, board.family, (point.seed,),
                             point.core_mhz, memories=verilog.memories, device=board.device)
    met = unit.fmax_mhz >= unit.freq_mhz
    return _Build(
        design_hash=digest, core_mhz=point.core_mhz, source="nextpnr" + note,
        area=Area(lut=unit.lut, ff=unit.ff, block_ram=unit.block_ram, dsp=unit.dsp),
        clocks=(ClockReport(net="clk", achieved_mhz=unit.fmax_mhz, met=met,
                            constrained_mhz=unit.freq_mhz),),
        seeds=(SeedReport(seed=point.seed, fmax_mhz=unit.fmax_mhz, met=met),))
