"""A board's design through the tools: its sources go into a folder for as long as they run."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ternforge.cache import cache_dir
from ternforge_boards.build import BuildResult, build, inputs_of
from ternforge_boards.handoff import Design, write_build_sources
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.yosys import Netlist, synthesise

__all__ = ["build_design", "synthesise_design"]


@contextmanager
def _sources(design: Design) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        write_build_sources(design, Path(work))
        yield Path(work)


def synthesise_design(design: Design, jobs: Jobs) -> Netlist:
    """The netlist that :func:`build_design` places; found in the cache if nothing changed."""
    with _sources(design) as folder:
        verilog, memories = inputs_of(folder)
        return synthesise(verilog, memories, design.board, jobs, top=design.top)


def build_design(design: Design, out: Path | None = None, *, seeds: Sequence[int] = (1,),
                 allow_timing_fail: bool = False, jobs: int | None = None,
                 progress: Progress | None = None) -> BuildResult:
    """As :func:`~ternforge_boards.build.build`, of a design with its clock."""
    with _sources(design) as folder:
        return build(folder, design.board, out, top=design.top, seeds=seeds,
                     # nextpnr knows the clock behind a PLL, but not of a Gowin part
                     freq_mhz=design.core_mhz if design.board.family == "gowin" else None,
                     allow_timing_fail=allow_timing_fail, jobs=jobs, progress=progress)
