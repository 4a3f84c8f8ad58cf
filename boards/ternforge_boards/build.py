"""From generated Verilog to a bitstream and the figures of the build."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ternforge.errors import UserError
from ternforge.output import atomic_file
from ternforge.process import ToolError
from ternforge_boards.board import Board
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.nextpnr import Clock, Placement, pack, place_seeds
from ternforge_boards.yosys import Netlist, flow_versions, synthesise

__all__ = ["BuildResult", "SeedResult", "TimingError", "build", "inputs_of"]


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """What one seed of nextpnr reached."""

    seed: int
    fmax_mhz: float
    met: bool


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Figures of a build, of the best seed unless said otherwise."""

    device: str
    fmax_mhz: float  #: of the clock with the least to spare
    constrained_mhz: float  #: what that clock was asked for
    met: bool  #: whether every clock is met
    lut: int  #: LUT4 sites, as nextpnr counts them; on the iCE40 logic cells
    ff: int
    block_ram: int
    dsp: int
    spram: int
    bitstream: str | None  #: path of the file that the device loads
    tool_versions: dict[str, str]
    seed: int
    seeds: tuple[SeedResult, ...]  #: of each seed
    clocks: tuple[Clock, ...]  #: every clock of the design
    netlist: str = ""  #: path of Yosys' netlist in the cache
    placed: str = ""  #: path of nextpnr's result there
    routing: str = ""  #: path of its report there: clocks, critical paths, resources

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


class TimingError(ToolError):
    """A clock is slower than constrained; ``result`` holds the figures."""

    def __init__(self, message: str, result: BuildResult):
        super().__init__(message)
        self.result = result


def build(
    sources: Path | Sequence[Path],
    board: Board,
    out: Path | None = None,
    *,
    top: str | None = None,
    seeds: Sequence[int] = (1,),
    freq_mhz: float | None = None,
    allow_timing_fail: bool = False,
    synth_options: Sequence[str] = (),
    jobs: int | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Synthesise, place, route and pack a design; every step is cached by its content.

    Several seeds run side by side, and the one with the fastest critical clock is packed.

    Parameters
    ----------
    sources : Path or sequence of Path
        A folder with ``.v`` and ``.mem`` files (test benches ``*_tb.v`` are left out), or the
        files themselves. ``$readmemh`` must name its file without a folder.
    board : Board
        Gives the device and the pins; each port of the design must be one of its ports.
    out : Path
        Where the bitstream goes, as a whole or not at all; none is written unless given.
    top : str
        Top module; found by Yosys unless given.
    seeds : sequence of int
        Seeds for nextpnr.
    freq_mhz : float
        Constraint of the clock pin, for a design without a PLL; the oscillator's frequency unless
        given. Behind a PLL the constraint follows from its settings, except on Gowin parts, where
        it is that of every clock.
    allow_timing_fail : bool
        Write the bitstream even if a clock is missed.
    synth_options : sequence of str
        More options for Yosys' ``synth_*``.
    jobs : int
        Seeds that run at the same time; the number of cores unless given.
    progress : callable
        See :func:`~ternforge_boards.jobs.console_progress`.

    Raises
    ------
    TimingError
        If a clock is missed with every seed and ``allow_timing_fail`` is not set.
    ToolError
        If a tool fails, for example because the design does not fit.
    """
    verilog, memories = inputs_of(sources)
    if not seeds:
        raise UserError("seeds must name at least one seed")
    if any(seed < 0 for seed in seeds):
        raise UserError(f"a seed must not be negative, as is {min(seeds)}")
    if freq_mhz is not None and not 0 < freq_mhz < 1000:
        raise UserError(f"the clock must be between 0 and 1000 MHz, not {freq_mhz:g}")
    runner = Jobs(progress)
    netlist = synthesise(verilog, memories, board, runner, top=top, options=synth_options)
    clock = board.oscillator_mhz if freq_mhz is None or netlist.has_pll else freq_mhz
    workers = min(len(seeds), jobs or os.cpu_count() or 1)
    placements = place_seeds(netlist, board, seeds, runner, workers, clock_mhz=clock)
    best = max(placements, key=lambda p: (p.met, p.critical.achieved_mhz))
    result = _result(netlist, best, placements, board, None)
    if not best.met and not allow_timing_fail:
        missed = next(clock for clock in best.clocks if not clock.met)
        raise TimingError(
            f"the clock {missed.net} reaches {missed.achieved_mhz:.2f} MHz of "
            f"{missed.constrained_mhz:.2f} MHz on {board.name} with the best of "
            f"{len(placements)} seeds: try more --seeds or a slower clock, or accept it with "
            "--allow-timing-fail", result,
        )
    bitstream = pack(best, board, runner)
    if out is not None:
        with atomic_file(out) as staged:
            shutil.copyfile(bitstream, staged)
    return _result(netlist, best, placements, board, out or bitstream)


def _result(netlist: Netlist, best: Placement, placements: Sequence[Placement], board: Board,
            bitstream: Path | None) -> BuildResult:
    return BuildResult(
        device=board.part,
        fmax_mhz=best.critical.achieved_mhz,
        constrained_mhz=best.critical.constrained_mhz,
        met=best.met,
        bitstream=None if bitstream is None else str(bitstream),
        tool_versions=flow_versions(board.family),
        seed=best.seed,
        seeds=tuple(SeedResult(seed=p.seed, fmax_mhz=p.critical.achieved_mhz, met=p.met)
                    for p in placements),
        clocks=best.clocks,
        netlist=str(netlist.path),
        placed=str(best.path),
        routing=str(best.report),
        **best.used,
    )


def inputs_of(sources: Path | Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Verilog and memory files of a folder, or among files; test benches are left out."""
    if isinstance(sources, Path):
        if not sources.is_dir():
            raise FileNotFoundError(2, "no such folder", str(sources))
        files = sorted([*sources.glob("*.v"), *sources.glob("*.mem"), *sources.glob("*.hex")])
    else:
        files = list(sources)
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(2, "no such file", str(file))
    verilog = [file for file in files if file.suffix in (".v", ".sv")
               and not file.stem.endswith("_tb")]
    if not verilog:
        raise UserError(f"there is no Verilog file in {str(sources)!r}" if isinstance(sources, Path)
                        else "the sources must hold at least one Verilog file")
    return verilog, [file for file in files if file.suffix in (".mem", ".hex")]
