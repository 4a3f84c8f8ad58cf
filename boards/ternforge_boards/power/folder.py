"""Power of a build from the folder that ``ternforge build`` wrote."""

from collections.abc import Callable
from pathlib import Path

from ternforge.errors import UserError
from ternforge_boards.board import board as find_board
from ternforge_boards.flow import synthesise_design
from ternforge_boards.handoff import make_design
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.report.schema import Power, Report
from ternforge_sim.commands import open_image

from .build import estimate_power

__all__ = ["estimate_folder"]


def estimate_folder(folder: Path, report: Report, *, coefficients: Path | None = None,
                    idle_watts: float | None = None,
                    progress: Callable[[str], object] | None = None,
                    tools: Progress | None = None) -> Power:
    """Power of the build in ``folder``; its image says what a token does.

    Parameters
    ----------
    folder : Path
        Holds ``image.tfi``.
    report : Report
        Of that build.
    coefficients, idle_watts, progress
        See :func:`~.build.estimate_power`.
    tools : callable, optional
        Progress of synthesis, where the netlist is not in the cache any more.

    Raises
    ------
    UserError
        If the image is not there, or is another.
    """
    image = open_image(report.design.board, None, folder / "image.tfi")
    if image.model_hash != report.design.model_hash:
        raise UserError(f"the image in {str(folder)!r} is not the one of its report: build again")
    design = make_design(find_board(report.design.board), image, report.design.core_mhz,
                         report.design.baud)
    netlist = (synthesise_design(design, Jobs(tools)) if design.board.family == "ice40"
               else None)
    return estimate_power(report, design, netlist, coefficients=coefficients,
                          idle_watts=idle_watts, progress=progress)
