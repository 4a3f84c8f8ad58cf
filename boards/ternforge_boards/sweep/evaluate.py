"""What happens to a point, on whatever machine a worker runs."""

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ternforge.cache import cache_dir, content_key
from ternforge.errors import UserError
from ternforge.mem.litedram import DramConfig
from ternforge.process import ToolError
from ternforge_boards import handoff
from ternforge_boards.board import Board
from ternforge_boards.board import board as find_board
from ternforge_boards.build import inputs_of
from ternforge_boards.flow import build_design, synthesise_design
from ternforge_boards.jobs import Jobs
from ternforge_boards.measure import measure_component
from ternforge_boards.power.build import estimate_power, with_power
from ternforge_boards.report.area import available
from ternforge_boards.report.build import design_hash, make_report
from ternforge_boards.report.memory import bytes_per_cycle, memory_name
from ternforge_boards.report.schema import (
    Area,
    AreaReport,
    ClockReport,
    Design,
    Report,
    SeedReport,
)
from ternforge_boards.report.throughput import Speed, simulated_speed
from ternforge_boards.yosys import Netlist, flow_versions, synthesise
from ternforge_firmware.image import Image
from ternforge_sim.cycles import measure_cycles

from .counts import COUNTED, check_area, netlist_area
from .design import core_verilog, design_of
from .models import image_of
from .point import CyclesFrom, Depth, Estimate, Point, Result
from .throughput import modelled

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
    speed = modelled(board, point.model, point.config, point.core_mhz)
    return Estimate(throughput=speed.throughput)


@dataclass(frozen=True, kw_only=True)
class _Build:
    """What the tools found, of less than a routed system."""

    design_hash: str
    core_mhz: float
    area: Area
    source: str  #: of the area
    clocks: tuple[ClockReport, ...] = ()
    seeds: tuple[SeedReport, ...] = ()


def report_of(point: Point) -> Report:
    """Build the point's design and say what it takes and reaches.

    Raises
    ------
    UserError
        If it does not fit.
    ToolError
        If a tool fails.
    """
    board = find_board(point.board)
    image = image_of(point)
    if point.alone:
        return _report(point, board, image, _core_alone(point, board, image), None)
    design = design_of(point, board, image)
    if point.depth is Depth.ROUTE:
        return _routed(point, design)
    built = _counted(synthesise_design(design, Jobs()), board, digest=design_hash(design),
                     core_mhz=design.core_mhz)
    return _report(point, board, image, built, design.dram)


def _routed(point: Point, design: handoff.Design) -> Report:
    """As ``ternforge build`` and ``ternforge report`` tell it, power included."""
    result = build_design(design, seeds=(point.seed,), jobs=1, allow_timing_fail=True)
    speed = _speed(point, design.board, design.image, design.core_mhz, design.dram)
    report = make_report(design, result, speed)
    power = estimate_power(report, design, synthesise_design(design, Jobs()))
    return with_power(report, power).model_copy(update={"name": point.name})


def _speed(point: Point, board: Board, image: Image, core_mhz: float,
           dram: DramConfig | None) -> Speed:
    if point.cycles is CyclesFrom.MODEL:
        return modelled(board, point.model, point.config, core_mhz)
    return simulated_speed(point.config, dram, core_mhz,
                           measure_cycles(point.config, image, dram=dram))


def _report(point: Point, board: Board, image: Image, built: _Build,
            dram: DramConfig | None) -> Report:
    core = point.config
    dram = dram or (board.memory.dram if board.memory else None)
    speed = _speed(point, board, image, built.core_mhz, dram)
    return Report(
        name=point.name,
        design=Design(
            board=board.name, device=board.part, family=board.family, core=dict(point.core),
            core_mhz=built.core_mhz, memory=memory_name(core, dram), design_hash=built.design_hash,
            memory_bytes_per_second=bytes_per_cycle(core, dram) * built.core_mhz * 1e6,
            model=point.model, model_hash=image.model_hash,
            ternary_weights=speed.ternary_weights),
        tool_versions=flow_versions(board.family), seed=point.seed, seeds=built.seeds,
        area=AreaReport(total=built.area, available=available(board), units=(),
                        source=built.source),
        clocks=built.clocks, throughput=speed.throughput, evidence=speed.evidence, bitstream=None)


def _counted(netlist: Netlist, board: Board, *, digest: str, core_mhz: float,
             note: str = "") -> _Build:
    """The cells of a netlist."""
    area = netlist_area(netlist, board.family)
    check_area(area, board)
    return _Build(design_hash=digest, core_mhz=core_mhz, area=area, source=COUNTED + note)


def _core_alone(point: Point, board: Board, image: Image) -> _Build:
    """The core without host port and memory controller, on the board's device."""
    verilog = core_verilog(point, board, image)
    digest = content_key(verilog.text, verilog.memories)
    note = "; the core alone, without host port and memory controller"
    if point.depth is Depth.SYNTH:
        with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
            verilog.write(Path(work))
            netlist = synthesise(*inputs_of(Path(work)), board, Jobs(), top=verilog.name)
        return _counted(netlist, board, digest=digest, core_mhz=point.core_mhz, note=note)
    unit = measure_component(verilog.text, verilog.name, board.family, (point.seed,),
                             point.core_mhz, memories=verilog.memories, device=board.device)
    met = unit.fmax_mhz >= unit.freq_mhz
    return _Build(
        design_hash=digest, core_mhz=point.core_mhz, source="nextpnr" + note,
        area=Area(lut=unit.lut, ff=unit.ff, block_ram=unit.block_ram, dsp=unit.dsp),
        clocks=(ClockReport(net="clk", achieved_mhz=unit.fmax_mhz, met=met,
                            constrained_mhz=unit.freq_mhz),),
        seeds=(SeedReport(seed=point.seed, fmax_mhz=unit.fmax_mhz, met=met),))
