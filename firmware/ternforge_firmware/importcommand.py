"""The verb ``ternforge import``: from the folder of a released model to its packet image."""

import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge.presets import BOARDS, PRESETS, core_preset
from ternforge_model.catalog import Model, open_model
from ternforge_model.evaluate import carried_loss
from ternforge_model.floatpass import FloatPass
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Program
from ternforge_model.skeleton import KEPT_WEIGHTS, skeleton

from .allocate import FitError
from .commands import bar, describe_image, save_image, show_image
from .imagefile import ImageFile
from .lower import Layout

__all__ = ["import_"]

#: Tokens of the text that the report on quality reads.
REPORT_TOKENS = 512


@command(example="ternforge import FOLDER -o mmfree-370m.tfi\n"
                 "ternforge import FOLDER --core ddr-n16 --text text.txt -o mmfree-370m.tfi --json")
def import_(
    folder: Annotated[str, typer.Argument(metavar="FOLDER",
                                          help="Folder of a checkpoint, or a shipped model.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Image to write.")],
    board: Annotated[
        str | None, typer.Option("--board", "--core", metavar="NAME",
                                 help=f"Which core: {', '.join([*BOARDS, *PRESETS])}; else the "
                                      "first that the model fits.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", metavar="FILE",
                                  help="Choose the formats by this text, and report the quality "
                                       "on its first tokens.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the packet image of a checkpoint with little memory.

    Tensors are read one by one, and packets are written as they are made. A model with more than
    33 million ternary weights is calibrated with few tokens, in two passes over the checkpoint;
    the image says with which.
    """
    started = time.perf_counter()
    if board is not None:
        core_preset(board)
    found = open_model(folder, text)
    ids = found.calibration_ids
    tokenizer = found.tokenizer
    with bar("calibrating") as progress:
        program = found.convert(progress)
    chosen = board or _fitting(program)
    save_image(output, program, chosen, tokenizer, found.checkpoint.check_unchanged)
    record: dict[str, Any] = describe_image(ImageFile(output))
    record |= {"core": chosen, "calibration": program.calibration,
               "ternary_weights": program.ternary_weights,
               "seconds": time.perf_counter() - started}
    record["peak_memory_bytes"] = _peak_memory()
    if ids is not None:
        record["quality"] = _quality(found, program, ids)
    if as_json:
        print_json(record)
    else:
        show_image(record, as_json, "written")
        _show(record, folder, "text of the model's own" if text is None else "the text")


def _fitting(program: Program) -> str:
    """The first board or core that the program fits."""
    cores = {PRESETS[preset]: board for board, preset in BOARDS.items()}
    problem = ""
    for name, core in PRESETS.items():
        try:
            Layout(program, core)
        except FitError as error:
            problem = f"{error} ({name})"
            continue
        return cores.get(core, name)
    raise FitError(f"{problem}; it fits no other core either")


def _peak_memory() -> int:
    """Most memory that was resident so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _quality(found: Model, program: Program, ids: np.ndarray) -> dict[str, Any] | None:
    """Losses in nats per token on the first tokens; None for a model too large for it."""
    if program.ternary_weights > KEPT_WEIGHTS:
        return None
    ids = ids[:REPORT_TOKENS]
    if len(ids) < 2:
        raise UserError(f"--text must hold at least two tokens, not {len(ids)}")
    exact, integer = FloatPass(skeleton(found.config, found.checkpoint)), IntegerModel(program)

    def float_logits(tokens: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        logits, state = exact.run(tokens[None], state)
        return logits[0], state

    def integer_logits(tokens: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        result = integer.forward(tokens, state)
        return result.logits(program.logit_scale), result.state

    return {"tokens": len(ids), "float_loss": carried_loss(float_logits, ids),
            "integer_loss": carried_loss(integer_logits, ids)}


def _show(record: dict[str, Any], folder: str, text: str) -> None:
    console = Console(highlight=False)

    def line(content: str) -> None:
        console.print(content, soft_wrap=True, markup=False)

    kinds = ", ".join(f"{count} {kind.replace('_', ' ')}"
                      for kind, count in record["calibration"].items())
    line(f"core {record['core']}; formats chosen by {kinds or text}")
    line(f"{record['seconds']:.0f} s, at most {record['peak_memory_bytes'] / 1e6:,.0f} MB resident")
    if "quality" not in record:
        return
    quality = record["quality"]
    if quality is None:
        line("quality: the model is too large to compare here; "
             f"ternforge eval --model {folder} does")
    else:
        exact, rounded = quality["float_loss"], quality["integer_loss"]
        line(f"loss on {quality['tokens']} tokens: float {exact:.4f}, integer {rounded:.4f} nats "
             f"per token ({100 * (rounded / exact - 1):+.2f} %)")
