"""Training with straight-through quantisers; resumable, and the same seed gives the same file."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from .checkpoint import atomic_write
from .data import split_text
from .evaluate import carried_loss
from .export import export_model
from .progress import Report, Stop
from .recipe import Recipe, load_recipe
from .run import STATE_FILE, Run
from .tokenizer import ByteTokenizer, Tokenizer
from .tokens import SMALL, open_tokens, text_tokenizer

__all__ = ["TrainResult", "pick_device", "train"]

#: Validation tokens of the periodic look.
SLICE = 16384 + 1


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What :func:`train` did."""

    finished: bool  #: false when it was interrupted or stopped early
    step: int  #: optimiser steps done
    train_loss: float  #: mean of the last steps, nats per character
    validation_loss: float | None  #: carried state, stored file; None when not finished
    seconds: float  #: wall time over all sessions of the run


def pick_device(name: str) -> torch.device:
    """Device of ``auto`` (a GPU where torch sees one), ``cpu`` or ``cuda``.

    Raises
    ------
    ValueError
        The name is another one, or torch sees no GPU for ``cuda``.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', not {name!r}")
    seen = torch.cuda.is_available()
    if name == "cuda" and not seen:
        raise ValueError("device 'cuda' needs a GPU, but torch sees none: choose 'cpu'")
    return torch.device("cuda" if seen and name != "cpu" else "cpu")


def train(
    recipe: Recipe | str | Path,
    text_path: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    stop_after: int | None = None,
    threads: int | None = None,
    tokenizer: Tokenizer | None = None,
    cache: str | Path | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> TrainResult:
    """Train a model and write its folder.

    The folder gets ``config.json``, ``model.safetensors``, ``tokenizer.json`` and ``recipe.json``
    when training ends, and the resumable ``training-state.pt`` on the way. Ctrl-C or SIGTERM
    writes that state and returns, or raises :exc:`KeyboardInterrupt` before the first step of this
    call is done; a killed run loses at most ``checkpoint_every`` steps. A resumed run ends with the
    same bytes as an uninterrupted one.

    Parameters
    ----------
    recipe : Recipe, str or Path
        Settings, or what :func:`load_recipe` accepts.
    text_path : str or Path
        Training text; its last tenth, at most 131,072 tokens, only validates.
    out : str or Path
        Output folder, made when missing.
    resume : bool
        Continue from ``training-state.pt`` when there is one.
    stop_after : int or None
        Return after this many steps in this call, as Ctrl-C would.
    threads : int or None
        Threads of torch; ``None`` leaves its setting. Another number sums in another order and so
        gives another file; the shipped models were trained with one.
    tokenizer : Tokenizer or None
        ``None`` is a byte tokenizer: of all bytes for a vocabulary of 256, else of those in the
        text.
    cache : str, Path or None
        Folder for the tokens of the text, see :func:`~ternforge_model.tokens.open_tokens`.
        ``None`` keeps small texts in memory, and tokens of others in ``<out>-tokens``.
    device : str
        ``cpu``, ``cuda``, or ``auto``: a GPU where torch sees one.
    console : Console or None
        Where progress goes; ``None`` is stderr.

    Raises
    ------
    ValueError
        The recipe or text is not valid, the vocabulary does not fit the text, or the state in
        ``out`` belongs to another recipe.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = pick_device(device)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    size = recipe.config.vocab_size
    tokenizer = tokenizer or text_tokenizer(text_path, size, recipe.name)
    if tokenizer.vocab_size != size:
        raise ValueError(f"the tokenizer must have the {size} tokens of recipe {recipe.name!r}, "
                         f"not {tokenizer.vocab_size}")
    out = Path(out)
    screen = console or Console(stderr=True)
    with _Bar(screen) as bar:
        tokens, digest = open_tokens(
            text_path, tokenizer, cache or out.absolute().with_name(f"{out.name}-tokens"),
            small=SMALL if cache is None else 0, progress=bar)
    training, validation = split_text(tokens)
    if len(validation) < 2:
        raise ValueError(f"{text_path} must hold at least 20 tokens, not {len(tokens)}")
    run = Run(recipe, training, digest, place)
    out.mkdir(parents=True, exist_ok=True)
    if resume and (out / STATE_FILE).exists():
        run.load(out / STATE_FILE)
    last = recipe.steps if stop_after is None else min(recipe.steps, run.step + stop_after)
    try:
        _steps(run, last, validation, out, screen)
    except KeyboardInterrupt:
        with suppress(OSError):  # it stays if it holds anything
            out.rmdir()
        raise
    run.save(out / STATE_FILE)
    if run.step < recipe.steps:
        screen.print(f"stopped at step {run.step} of {recipe.steps}; run again to continue")
        return TrainResult(finished=False, step=run.step, train_loss=run.mean_loss,
                           validation_loss=None, seconds=run.seconds)
    loss = _finish(run, tokenizer, validation, out, screen)
    screen.print(f"{recipe.name}: validation {loss:.4f} nats per {_unit(tokenizer)}")
    return TrainResult(finished=True, step=run.step, train_loss=run.mean_loss,
                       validation_loss=loss, seconds=run.seconds)


def _steps(run: Run, last: int, validation: np.ndarray, out: Path, screen: Console) -> None:
    """Train up to step ``last``, or until Ctrl-C."""
    with Stop() as stop, Report(screen, run.recipe, run.step) as report:
        while run.step < last and not stop.seen:
            report.step(run.step + 1, run.advance(), run.mean_loss)
            stop.gentle = True
            if run.step % run.recipe.checkpoint_every == 0:
                run.save(out / STATE_FILE)
            if run.step % run.recipe.evaluate_every == 0:
                run.model.eval()
                loss = carried_loss(run.model, validation[:SLICE])
                run.model.train()
                report.say(f"step {run.step}: validation slice {loss:.4f}")


def _finish(
    run: Run, tokenizer: Tokenizer, validation: np.ndarray, out: Path, screen: Console
) -> float:
    stored = export_model(run.model.cpu(), run.recipe.embedding_fraction_bits, out)
    atomic_write(out / "tokenizer.json", lambda p: p.write_text(tokenizer.to_json()))
    with _Bar(screen) as bar:
        loss = carried_loss(stored, validation, progress=partial(bar, "validating"))
    result = {
        "steps": run.step,
        "train_loss": round(run.mean_loss, 4),
        "validation_loss": round(loss, 4),
        "validation_characters": len(validation),
        "wall_seconds": round(run.seconds),
        "torch": torch.__version__,
    }
    done = replace(run.recipe, result=result)
    atomic_write(out / "recipe.json", lambda p: p.write_text(done.to_json()))
    return loss


def _unit(tokenizer: Tokenizer) -> str:
    return "character" if isinstance(tokenizer, ByteTokenizer) else "token"


class _Bar(Progress):
    """Progress of what is named when it is called with (done, total)."""

    def __init__(self, console: Console):
        super().__init__(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
                         console=console, transient=True, disable=not console.is_terminal)
        self._bars: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._bars:
            self._bars[what] = self.add_task(what, total=total)
        self.update(self._bars[what], completed=done)
