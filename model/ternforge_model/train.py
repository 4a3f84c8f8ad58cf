"""Training with straight-through quantisers; resumable, and the same seed gives the same file."""

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from .checkpoint import atomic_write
from .data import TextStreams, load_text, split_text
from .evaluate import carried_loss
from .export import export_model
from .recipe import Recipe, load_recipe
from .reference import ReferenceModel
from .tokenizer import ByteTokenizer

__all__ = ["TrainResult", "train"]

#: Resumable state of a run, inside the output folder.
STATE_FILE = "training-state.pt"
#: Validation characters of the periodic look.
SLICE = 16384 + 1
#: Steps between two lines of the log when no terminal is attached.
LOG_EVERY = 20
#: Inner norms that ``freeze_inner_norms`` keeps at ones. ``o_proj.norm`` directly follows
#: ``g_norm``, so training both would be redundant.
FROZEN = ("i_proj.norm.", "f_proj.norm.", "g_proj.norm.", "o_proj.norm.", "gate_proj.norm.",
          "lm_head.norm.")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What :func:`train` did."""

    finished: bool  #: false when it was interrupted or stopped early
    step: int  #: optimiser steps done
    train_loss: float  #: mean of the last steps, nats per character
    validation_loss: float | None  #: carried state, stored file; None when not finished
    seconds: float  #: wall time over all sessions of the run


def _optimiser(model: ReferenceModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the parameters that train; only matrices decay."""
    matrices, plain = [], []
    for name, parameter in model.named_parameters():
        if recipe.freeze_inner_norms and any(part in f".{name}" for part in FROZEN):
            parameter.requires_grad_(False)
        elif name.endswith(("_proj.weight", "lm_head.weight")):
            matrices.append(parameter)
        else:
            plain.append(parameter)
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    betas = (recipe.beta1, recipe.beta2)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)


class _Run:
    """Model, optimiser and text streams of one training run."""

    def __init__(self, recipe: Recipe, tokens: np.ndarray):
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = ReferenceModel(
            recipe.config,
            dropout=recipe.dropout,
            embedding_fraction_bits=recipe.embedding_fraction_bits,
        )
        torch.nn.init.normal_(self.model.model.embeddings.weight, std=recipe.embedding_std)
        self.optimiser = _optimiser(self.model, recipe)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.streams = TextStreams(
            tokens, batch=recipe.batch, window=recipe.window, restart=recipe.restart,
            seed=recipe.seed,
        )
        self.carry = self.model.initial_state(recipe.batch)
        self.step = 0
        self.seconds = 0.0
        self.mean_loss = math.log(recipe.config.vocab_size)
        self.model.train()
        self._loss: Callable[..., Any] = self._plain_loss
        if recipe.compile:
            self._loss = torch.compile(self._plain_loss, dynamic=False)

    def _plain_loss(self, inputs: Tensor, targets: Tensor, state: Tensor):
        logits, state = self.model(inputs, state, return_state=True)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), state

    def rate(self) -> float:
        """Learning rate of the current step: linear warm-up, then a cosine."""
        recipe = self.recipe
        if self.step < recipe.warmup:
            return recipe.learning_rate * (self.step + 1) / recipe.warmup
        done = (self.step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        share = 0.5 * (1 + math.cos(math.pi * done))
        return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * share)

    def advance(self) -> float:
        """One optimiser step; returns the loss before it."""
        recipe, started = self.recipe, time.monotonic()
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        windows, jumped = self.streams.next(self.step)
        text = torch.from_numpy(windows)
        state = self.carry * torch.from_numpy(~jumped)[None, :, None]
        loss, carry = self._loss(text[:, :-1].contiguous(), text[:, 1:].contiguous(), state)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, recipe.grad_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.carry = carry.detach()
        self.step += 1
        value = loss.item()
        self.mean_loss += (value - self.mean_loss) * max(0.01, 1 / self.step)
        self.seconds += time.monotonic() - started
        return value

    def save(self, path: Path) -> None:
        """Write everything that :meth:`load` needs, atomically."""
        state = {
            "recipe": replace(self.recipe, result={}).to_dict(),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "positions": torch.from_numpy(self.streams.positions),
            "carry": self.carry,
            "step": self.step,
            "seconds": self.seconds,
            "mean_loss": self.mean_loss,
        }
        atomic_write(path, lambda temporary: torch.save(state, temporary))

    def load(self, path: Path) -> None:
        """Continue from a file of :meth:`save`; refuses one of another recipe."""
        try:
            with ZipFile(path) as archive:  # torch itself does not look at the check sums
                damaged = archive.testzip()
            state = {} if damaged else torch.load(path, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ValueError(f"{path} must be a training state: {error}") from None
        if damaged:
            raise ValueError(f"{path} is corrupt in its part {damaged!r}: start anew with --fresh")
        mine = replace(self.recipe, result={}).to_dict()
        try:
            other = [k for k in mine if mine[k] != state["recipe"].get(k) and k != "notes"]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} must be a training state, which holds a recipe") from None
        if other:
            raise ValueError(
                f"{path} must come from the same recipe, not one with another {other[0]!r}"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.streams.positions = state["positions"].numpy()
            self.carry = state["carry"]
            self.step, self.seconds = state["step"], state["seconds"]
            self.mean_loss = state["mean_loss"]
        except Exception as error:  # so does load_state_dict
            raise ValueError(f"{path} must be a whole training state: {error}") from None


def train(
    recipe: Recipe | str | Path,
    text_path: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    stop_after: int | None = None,
    threads: int | None = None,
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
        Training text; its last tenth only validates.
    out : str or Path
        Output folder, made when missing.
    resume : bool
        Continue from ``training-state.pt`` when there is one.
    stop_after : int or None
        Return after this many steps in this call, as Ctrl-C would.
    threads : int or None
        Threads of torch; ``None`` leaves its setting. Another number sums in another order and so
        gives another file; the shipped models were trained with one.
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
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    tokens, tokenizer = load_text(text_path)
    if tokenizer.vocab_size != recipe.config.vocab_size:
        raise ValueError(
            f"{text_path} must hold {recipe.config.vocab_size} distinct bytes for recipe "
            f"{recipe.name!r}, not {tokenizer.vocab_size}"
        )
    training, validation = split_text(tokens)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, training)
    if resume and (out / STATE_FILE).exists():
        run.load(out / STATE_FILE)
    screen = console or Console(stderr=True)
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
    loss = _finish(run, tokenizer, validation, out)
    screen.print(f"{recipe.name}: validation {loss:.4f} nats per character")
    return TrainResult(finished=True, step=run.step, train_loss=run.mean_loss,
                       validation_loss=loss, seconds=run.seconds)


def _steps(run: _Run, last: int, validation: np.ndarray, out: Path, screen: Console) -> None:
    """Train up to step ``last``, or until Ctrl-C."""
    with _Stop() as stop, _Report(screen, run.recipe, run.step) as report:
        while run.step < last and not stop.seen:
            report.step(run, run.advance())
            stop.gentle = True
            if run.step % run.recipe.checkpoint_every == 0:
                run.save(out / STATE_FILE)
            if run.step % run.recipe.evaluate_every == 0:
                run.model.eval()
                loss = carried_loss(run.model, validation[:SLICE])
                run.model.train()
                report.say(f"step {run.step}: validation slice {loss:.4f}")


def _finish(run: _Run, tokenizer: ByteTokenizer, validation: np.ndarray, out: Path) -> float:
    stored = export_model(run.model, run.recipe.embedding_fraction_bits, out)
    atomic_write(out / "tokenizer.json", lambda p: p.write_text(tokenizer.to_json()))
    loss = carried_loss(stored, validation)
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


class _Report:
    """Progress bar on a terminal, one line now and then elsewhere."""

    def __init__(self, console: Console, recipe: Recipe, start: int):
        self.console = console
        self.recipe = recipe
        self.start = start
        self.began = time.monotonic()
        self.bar = Progress(
            TextColumn(recipe.name), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]:.3f}"), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=recipe.steps, completed=start, loss=math.nan)

    def __enter__(self) -> "_Report":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, run: _Run, loss: float) -> None:
        self.bar.update(self.task, completed=run.step, loss=run.mean_loss)
        if not self.console.is_terminal and run.step % LOG_EVERY == 0:
            spent = time.monotonic() - self.began
            rate = (run.step - self.start) / spent
            size = self.recipe.batch * self.recipe.window
            left = (self.recipe.steps - run.step) / rate
            self.say(f"step {run.step}/{self.recipe.steps} loss {loss:.4f} mean "
                     f"{run.mean_loss:.4f} {rate * size:.0f} char/s {left:.0f} s left")

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)


class _Stop:
    """Ctrl-C or SIGTERM, in a ``with`` block.

    It interrupts at once while there is nothing to save (the first step of a session may compile
    for a minute), and later sets a flag; a second Ctrl-C always interrupts.
    """

    def __init__(self):
        self.seen = False
        self.gentle = False  #: set the flag instead of interrupting
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Stop":
        with suppress(ValueError):  # not the main thread: nothing to catch
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        if self.seen or not self.gentle:
            raise KeyboardInterrupt
        self.seen = True


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ternforge_model.train", description=__doc__)
    parser.add_argument("--recipe", required=True, help="shipped name or recipe file")
    parser.add_argument("--text", required=True, help="training text")
    parser.add_argument("-o", "--out", required=True, help="output folder")
    parser.add_argument("--fresh", action="store_true", help="ignore a resumable state")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args()
    try:
        result = train(options.recipe, options.text, options.out, resume=not options.fresh,
                       threads=options.threads)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if result.finished else 130


if __name__ == "__main__":
    sys.exit(_main())
