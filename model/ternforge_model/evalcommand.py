"""The verb ``eval``: what the integer model costs in quality, and where."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json

from .catalog import open_model
from .data import load_text
from .errorplot import check_plot, error_table, plot_errors
from .integer import IntegerModel
from .layererror import FACTOR, LayerErrors
from .options import AsJson, Calibration
from .skeleton import skeleton

__all__ = ["evaluate", "measure"]

#: Tokens of one pass over a text; the losses do not depend on it.
CHUNK = 2048
#: Tokens of one pass that compares layers, and the most that are compared.
LAYER_CHUNK, LAYER_TOKENS = 256, 2048


@command(example="ternforge eval --model shakespeare-up5k --text tinyshakespeare.txt --limit 20000"
                 "\nternforge eval --model FOLDER --text test.txt --calibrate train.txt "
                 "--plot errors.svg")
def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="NAME|FOLDER", help="Which model.")],
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text to predict.")],
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Only the first N tokens.")
    ] = None,
    calibrate: Calibration = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE",
                                  help="Write a plot of the errors per layer: .png, .svg or .pdf.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the integer model with the float reference on a text.

    Losses and divergence are nats per token, with the state carried through the whole text.
    Saturations are counted by site and layer. The error of each layer is measured on the first
    tokens with the float model's input, so that it is the layer's own. Needs torch (the extra
    `model`), a plot matplotlib (the extra `plot`).
    """
    if limit is not None and limit < 2:
        raise UserError(f"--limit must be at least 2, not {limit}")
    if plot is not None:
        check_plot(plot)
    opened = open_model(model, calibrate)
    ids = load_text(text, opened.tokenizer)[0][:limit]
    if len(ids) < 2:
        raise UserError(f"--text must hold at least two tokens, not {len(ids)}")
    found, errors = measure(opened, ids)
    outlier = errors.outlier()
    if plot is not None:
        plot_errors(plot, f"{opened.name}: error of each layer", errors.table(), outlier)
    if as_json:
        print_json(found)
        return
    _show(found, errors)
    if plot is not None:
        Console().print(f"plot: {plot}", soft_wrap=True, markup=False)


def measure(opened: Any, ids: np.ndarray) -> tuple[dict[str, Any], LayerErrors]:
    """Everything that ``eval --json`` prints, and the comparison of the layers.

    Parameters
    ----------
    opened : Model
        What :func:`~ternforge_model.catalog.open_model` gives.
    ids : numpy.ndarray
        Tokens, int64 ``[N]``, at least two.
    """
    from .compare import Comparison, by_layer
    from .export import load_checkpoint

    columns = (TextColumn("{task.description}"), BarColumn(),
               TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True,
                  disable=not console.is_terminal) as bar:
        task = bar.add_task("calibrating", total=None)
        integer = IntegerModel(opened.program)
        bar.update(task, description="evaluating", total=len(ids) - 1)
        with Comparison(load_checkpoint(opened.folder), integer) as run:
            for start in range(0, len(ids) - 1, CHUNK):
                stop = min(start + CHUNK, len(ids) - 1)
                run.advance(ids[start:stop], ids[start + 1 : stop + 1])
                bar.update(task, completed=stop)
        count = min(len(ids) - 1, LAYER_TOKENS)
        bar.update(task, description="layers", completed=0, total=count)
        with opened.checkpoint as checkpoint:
            errors = LayerErrors(skeleton(opened.config, checkpoint), integer)
        for start in range(0, count, LAYER_CHUNK):
            errors.advance(ids[start : min(start + LAYER_CHUNK, count)])
            bar.update(task, completed=errors.tokens)
    found = {"model": opened.name, "tokens": run.tokens, **run.figures(),
             "layer_tokens": errors.tokens, "layer_errors": errors.table(),
             "head_errors": errors.head(),
             "layer_saturations": by_layer(integer.program, errors.saturated),
             "outlier": errors.outlier()}
    return found, errors


def _show(found: dict[str, Any], errors: LayerErrors) -> None:
    console = Console()
    exact, rounded = found["float_loss"], found["integer_loss"]
    table = Table(title=f"{found['model']}, {found['tokens']} tokens", show_header=False)
    table.add_row("float loss, perplexity",
                  f"{exact:.4f} nats per token, {found['float_perplexity']:.4f}")
    table.add_row("integer loss, perplexity",
                  f"{rounded:.4f} nats per token, {found['integer_perplexity']:.4f} "
                  f"({100 * (rounded / exact - 1):+.3f} %, "
                  f"{100 * (found['integer_perplexity'] / found['float_perplexity'] - 1):+.3f} %)")
    table.add_row("argmax agreement", f"{100 * found['argmax_agreement']:.2f} %")
    table.add_row("KL divergence", f"{found['kl_divergence']:.2e} nats per token")
    table.add_row("saturations", ", ".join(f"{k} {v}" for k, v in found["saturations"].items()))
    for layer, sites in found["saturations_by_layer"].items():
        where = layer if layer == "head" else f"layer {layer}"
        table.add_row(f"  {where}", ", ".join(f"{site} {n}" for site, n in sites.items()))
    console.print(table)
    console.print(error_table(errors.table(), errors.head()))
    outlier = errors.outlier()
    if outlier is None:
        console.print(f"no error exceeds {FACTOR:g} times the median of its tensor")
    else:
        console.print(f"first to stand out: layer {outlier.layer}, {outlier.tensor}: "
                      f"{100 * outlier.error:.3f} %, median {100 * outlier.median:.3f} %")
