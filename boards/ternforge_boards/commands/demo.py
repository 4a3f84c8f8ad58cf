"""``ternforge demo``."""

from collections.abc import Iterator
from pathlib import Path

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge_boards.board import board as find_board
from ternforge_boards.report.figures import resources
from ternforge_boards.report.files import read_report
from ternforge_firmware.image import Image
from ternforge_model.options import Prompt, Seed, Temperature, Tokens
from ternforge_sim.commands import (
    DEFAULT_BOARD,
    finish,
    open_image,
    print_report,
    run_and_show,
)

__all__ = ["MODEL", "demo"]

MODEL = "shakespeare-85f"


def _board_rows(board: str, image: Image, cycles: float) -> Iterator[tuple[str, str]]:
    """Speed at the board's clock, and area and Fmax if ``ternforge build`` was run here."""
    mhz, source = find_board(board).core_mhz, "the board's clock"
    folder = Path("build") / f"{board}-{image.model}"
    built = []
    if folder.is_dir():
        try:
            report = read_report(folder)
            if report.design.model_hash != image.model_hash:
                raise UserError("it is of another model")
        except UserError as error:
            built = [(f"build in {folder}", f"left out: {error}")]
        else:
            mhz, source = report.design.core_mhz, "the build's clock"
            clock = report.critical_clock
            assert clock is not None  # a build is placed
            fmax, constraint = clock.achieved_mhz, clock.constrained_mhz
            built = [("Fmax", f"{fmax:.1f} MHz (constraint {constraint:.1f} MHz), nextpnr")]
            built += [(name, f"{count:,} of {available:,} ({count / available:.0%})")
                      for name, count, available
                      in resources(report.area.total, report.area.available)]
    yield "tokens/s", f"{mhz * 1e6 / cycles:.0f} at {mhz:g} MHz, {source}"
    yield from built
    if not built:
        yield "area, Fmax", "no build here yet: `ternforge build`"


@command(example='ternforge demo --tokens 200\n'
                 'ternforge demo --prompt "JULIET:" --temperature 0')
def demo(
    prompt: Prompt = "ROMEO:", tokens: Tokens = 200, temperature: Temperature = 0.7,
    seed: Seed = 1,
) -> None:
    """Write Shakespeare on the generated Verilog of the default board."""
    image = open_image(DEFAULT_BOARD, MODEL, None)
    shown = run_and_show(DEFAULT_BOARD, image, [prompt], tokens, temperature, seed, quiet=False)
    print_report(shown, rows=_board_rows(DEFAULT_BOARD, image, shown.run.cycles_per_token))
    finish(shown.run)
