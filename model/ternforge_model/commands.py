"""Verbs of the command line that are about models: ``models`` and ``train``."""

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.output import print_json

from .catalog import find_model, open_model, shipped_names
from .options import AsJson

__all__ = ["models", "train"]


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
