"""Options that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

from ternforge.errors import UserError

from .tokenizer import Tokenizer

__all__ = ["AsJson", "Calibration", "ImageFile", "Model", "Prompt", "Seed", "Temperature", "Tokens",
           "check_calibration", "check_choice", "check_one", "encode_prompt"]

Model = Annotated[str | None, typer.Option(help="Shipped model, or folder of a checkpoint.")]
ImageFile = Annotated[Path | None, typer.Option("--image", help="Packet image instead of a model.")]
Prompt = Annotated[str, typer.Option(
    help="Text to begin with, of any length: a sequence has no longest position.")]
Tokens = Annotated[int, typer.Option(help="Tokens to generate.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token, 1 samples as is.")]
Seed = Annotated[int, typer.Option(help="Seed of the sampling.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Calibration = Annotated[
    Path | None, typer.Option("--calibrate", metavar="FILE",
                              help="Choose the formats by this text; else by text of the model's "
                                   "own.")]


def check_one(model: str | None, image: Path | None) -> None:
    """Refuse both a model and an image, and neither."""
    if (model is None) == (image is None):
        raise UserError("give either --model or --image")


def check_calibration(calibrate: Path | None, model: object) -> None:
    """Refuse a calibration text without a model to convert."""
    if calibrate is not None and model is None:
        raise UserError("--calibrate must come with --model: the formats of an image are fixed")


def check_choice(tokens: int, temperature: float) -> None:
    """Refuse a number of tokens or a temperature that cannot be."""
    if tokens < 1:
        raise UserError(f"--tokens must be positive, not {tokens}")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature must be zero or more, not {temperature}")


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Tokens of a prompt from the command line; says what is wrong with one that has none."""
    try:
        raw = prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError("--prompt must be UTF-8 text") from None
    if not raw:
        raise UserError("--prompt must hold at least one character")
    try:
        return tokenizer.encode(raw)
    except ValueError as error:
        raise UserError(f"--prompt: {error}") from None
