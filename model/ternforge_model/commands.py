"""Verbs of the command line that are about models: ``models``, ``eval`` and ``train``."""

import json
from math import prod
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

from .catalog import Model, find_model, open_model, shipped_names
from .integer import SITES, IntegerModel, State

__all__ = ["evaluate", "models", "train"]

#: Tokens of one pass over a text; the losses do not depend on it.
CHUNK = 2048

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _describe(name: str) -> dict[str, Any]:
    """Size and recorded loss of one shipped model."""
    model = open_model(name)
    config = model.config
    recipe = model.folder / "recipe.json"
    record = json.loads(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {}
    return {
        "name": name,
        "ternary_weights": sum(prod(shape) for tensor, shape in config.tensor_shapes().items()
                               if tensor.endswith(("_proj.weight", "lm_head.weight"))),
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "mlp_width": config.mlp_width,
        "vocab_size": config.vocab_size,
        "bytes": sum(p.stat().st_size for p in model.folder.iterdir() if p.is_file()),
        "validation_loss": record.get("result", {}).get("validation_loss"),
    }


@command(example="ternforge models --json")
def models(as_json: AsJson = False) -> None:
    """List the language models that come with ternforge."""
    found = [_describe(name) for name in shipped_names()]
    if as_json:
        print_json({"models": found})
        return
    table = Table(title="shipped models")
    for title in ("model", "ternary weights", "d", "layers", "MLP", "tokens", "kB on disk",
                  "nats per character"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for row in found:
        loss = row["validation_loss"]
        table.add_row(row["name"], f"{row['ternary_weights']:,}", str(row["hidden_size"]),
                      str(row["layers"]), str(row["mlp_width"]), str(row["vocab_size"]),
                      f"{row['bytes'] / 1000:.0f}", "-" if loss is None else f"{loss:.3f}")
    Console().print(table)


class _Comparison:
    """Runs float reference and integer model side by side over a text, in a ``with`` block."""

    def __init__(self, model: Model):
        import torch

        from .export import load_checkpoint

        self.torch = torch
        self.reference = load_checkpoint(model.folder)
        self.integer = IntegerModel(model.program)
        self.float_state: Any = None
        self.integer_state: State | None = None
        self.saturations = dict.fromkeys(SITES, 0)
        self.sums = np.zeros(2)
        self.agree = self.done = 0

    def __enter__(self) -> "_Comparison":
        # Matrices this small gain nothing from threads, which spin while they wait for each other.
        self._threads = self.torch.get_num_threads()
        self.torch.set_num_threads(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.torch.set_num_threads(self._threads)

    def advance(self, ids: np.ndarray, targets: np.ndarray) -> None:
        """Predict ``targets`` from ``ids``, continuing from the last call."""
        with self.torch.inference_mode():
            logits, self.float_state = self.reference(
                self.torch.from_numpy(ids)[None], self.float_state, return_state=True)
        exact = logits[0].numpy().astype(np.float64)
        result = self.integer.forward(ids, self.integer_state)
        self.integer_state = result.state
        factor = self.integer.program.logit_scale * result.ratio_mantissa * (
            2.0**result.ratio_exponent)
        self.sums += [_nats(exact, targets), _nats(result.acc * factor[:, None], targets)]
        self.agree += int((exact.argmax(-1) == result.tokens).sum())
        self.done += len(ids)
        for site, count in result.saturations.items():
            self.saturations[site] += count


def _nats(logits: np.ndarray, targets: np.ndarray) -> float:
    """Summed negative log likelihood."""
    shifted = logits - logits.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(targets)), targets]
    return float(losses.sum())


@command(example="ternforge eval --model shakespeare-up5k --text tinyshakespeare.txt --limit 20000")
def evaluate(
    model: Annotated[str, typer.Option("--model", metavar="NAME|FOLDER", help="Which model.")],
    text: Annotated[Path, typer.Option("--text", metavar="FILE", help="Text to predict.")],
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="Only the first N characters.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the integer model with the float reference on a text.

    Losses are nats per character, with the state carried through the whole text. Saturations are
    counted by site. Needs torch (the extra `model`).
    """
    from .data import load_text

    if limit is not None and limit < 2:
        raise UserError(f"--limit must be at least 2, not {limit}")
    opened = open_model(model)
    ids = load_text(text, opened.tokenizer)[0][:limit]
    if len(ids) < 2:
        raise UserError(f"--text must hold at least two characters, not {len(ids)}")
    columns = (TextColumn("evaluating"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    with _Comparison(opened) as run, bar:
        task = bar.add_task("", total=len(ids) - 1)
        for start in range(0, len(ids) - 1, CHUNK):
            stop = min(start + CHUNK, len(ids) - 1)
            run.advance(ids[start:stop], ids[start + 1 : stop + 1])
            bar.update(task, completed=stop)
    float_loss, integer_loss = (run.sums / run.done).tolist()
    agreement = run.agree / run.done
    if as_json:
        print_json({"model": opened.name, "characters": run.done, "float_loss": float_loss,
                    "integer_loss": integer_loss, "argmax_agreement": agreement,
                    "saturations": run.saturations})
        return
    table = Table(title=f"{opened.name}, {run.done} characters", show_header=False)
    table.add_row("float loss", f"{float_loss:.4f} nats per character")
    table.add_row("integer loss", f"{integer_loss:.4f} nats per character "
                                  f"({100 * (integer_loss / float_loss - 1):+.2f} %)")
    table.add_row("argmax agreement", f"{100 * agreement:.2f} %")
    table.add_row("saturations", ", ".join(f"{k} {v}" for k, v in run.saturations.items()))
    Console().print(table)


@command(example="ternforge train --recipe shakespeare-up5k --text tinyshakespeare.txt -o model/")
def train(
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME|FILE",
                          help="Shipped model whose recipe to use, or a recipe file.")],
    text: Annotated[
        Path, typer.Option("--text", metavar="FILE", help="Text; its last tenth validates.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder to write.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew, even if FOLDER holds a stopped run.")
    ] = False,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads; the result depends on them.")] = 1,
) -> None:
    """Train a model on a text; Ctrl-C stops it, and the same command continues.

    Needs torch (the extra `model`).
    """
    import torch

    from .train import train as run

    torch.set_num_threads(threads)
    if not run(recipe, text, out, resume=not fresh).finished:
        raise typer.Exit(130)
    find_model(out)
