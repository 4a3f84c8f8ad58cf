"""Verbs of the command line that are about models: ``models`` and ``train``."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.errors import UserError, unknown
from ternforge.output import print_json

from .catalog import find_model, open_model, shipped_names
from .options import AsJson
from .recipe import load_recipe, preset_names
from .tokenizer import open_tokenizer
from .tokens import BYTES

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


@command(example="ternforge train --preset 1m --text tinyshakespeare.txt -o model/\n"
                 "ternforge train --recipe shakespeare-up5k --text tinyshakespeare.txt -o model/")
def train(
    text: Annotated[
        Path, typer.Option("--text", metavar="FILE", help="Text; its last tenth validates.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder to write.")],
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME",
                                 help="1m, 10m, 370m, or a shipped model's recipe.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME|FILE",
                                 help="A preset or a recipe file.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", metavar="FOLDER",
                                  help="Folder with tokenizer.json or tokenizer.model; "
                                       "else bytes.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FOLDER",
                                  help="Keep the text's tokens here.")] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="TYPE",
                                 help="Of matrix products: bfloat16 or float32.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Optimiser steps.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", metavar="N", help="Parallel text streams.")] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", metavar="N",
                                 help="Compute the batch in so many parts.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", help="Its peak.")] = None,
    fused: Annotated[
        bool | None, typer.Option("--fused/--unfused",
                                  help="Recompute BitLinear inputs to save memory.")] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="auto|cpu|cuda",
                          help="auto takes a GPU where torch sees one.")] = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew, even if FOLDER holds a stopped run.")
    ] = False,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads; the result depends on them.")] = 1,
) -> None:
    """Train a model on a text; Ctrl-C stops it, and the same command continues.

    Options such as --steps replace what the recipe says. Needs torch (the extra `model`).
    """
    if (preset is None) == (recipe is None):
        raise UserError("name either a --preset or a --recipe")
    if preset is not None and preset not in preset_names():
        raise unknown("preset", preset, preset_names())
    settings = load_recipe(preset or recipe or "")
    changes: dict[str, Any] = {
        "precision": precision, "steps": steps, "batch": batch, "accumulate": accumulate,
        "learning_rate": learning_rate, "fused": fused}
    if fused:
        changes["compile"] = False
    settings = replace(settings, **{k: v for k, v in changes.items() if v is not None})
    opened = open_tokenizer(tokenizer) if tokenizer is not None else None
    if opened is not None and settings.config.vocab_size == BYTES:  # the size of no tokenizer yet
        settings = replace(settings,
                           config=replace(settings.config, vocab_size=opened.vocab_size))

    import torch

    from .train import train as run

    torch.set_num_threads(threads)
    done = run(settings, text, out, resume=not fresh, tokenizer=opened, cache=cache, device=device)
    if not done.finished:
        raise typer.Exit(130)
    find_model(out)
