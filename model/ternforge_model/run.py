"""One training run: model, optimiser and text streams, saved and loaded as a whole."""

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ternforge.errors import UserError

from .checkpoint import atomic_write
from .data import TextStreams
from .recipe import Recipe
from .reference import ReferenceModel

__all__ = ["STATE_FILE", "Run"]

#: Resumable state of a run, inside the output folder.
STATE_FILE = "training-state.pt"
#: Inner norms that ``freeze_inner_norms`` keeps at ones. ``o_proj.norm`` directly follows
#: ``g_norm``, so training both would be redundant.
FROZEN = ("i_proj.norm.", "f_proj.norm.", "g_proj.norm.", "o_proj.norm.", "gate_proj.norm.",
          "lm_head.norm.")


def _write(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # before it takes the place of the last one


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


class Run:
    """Model, optimiser and text streams of one training run."""

    def __init__(self, recipe: Recipe, tokens: np.ndarray, digest: str, device: torch.device):
        self.recipe, self.digest, self.device = recipe, digest, device
        self.streams = TextStreams(
            tokens, batch=recipe.batch, window=recipe.window, restart=recipe.restart,
            seed=recipe.seed,
        )
        torch.manual_seed(recipe.seed)
        self.model = ReferenceModel(
            recipe.config,
            dropout=recipe.dropout,
            embedding_fraction_bits=recipe.embedding_fraction_bits,
            fused=recipe.fused,
        )
        torch.nn.init.normal_(self.model.model.embeddings.weight, std=recipe.embedding_std)
        self.model.to(device)
        self.optimiser = _optimiser(self.model, recipe)
        self.trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.carry = self.model.initial_state(recipe.batch)
        self.step = 0
        self.seconds = 0.0
        self.mean_loss = math.log(recipe.config.vocab_size)
        self.model.train()
        #: Loss and new state of inputs and targets ``[B, T]`` and a state.
        self.loss: Callable[..., Any] = self._plain_loss
        if recipe.compile:
            self.loss = torch.compile(self._plain_loss, dynamic=False)

    def _plain_loss(self, inputs: Tensor, targets: Tensor, state: Tensor):
        logits, state = self.model(inputs, state, return_state=True)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), state

    def precision(self) -> AbstractContextManager[Any]:
        """In its ``with`` block, products have the recipe's precision."""
        if self.recipe.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.recipe.precision))

    def rate(self) -> float:
        """Learning rate of the current step: linear warm-up, then a cosine."""
        recipe = self.recipe
        if self.step < recipe.warmup:
            return recipe.learning_rate * (self.step + 1) / recipe.warmup
        done = (self.step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
        share = 0.5 * (1 + math.cos(math.pi * done))
        return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * share)

    def gradients(self) -> tuple[float, Tensor]:
        """Leave the gradients of the next batch in the parameters; the loss, and the new state."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        windows, jumped = self._windows()
        text = torch.from_numpy(windows).to(self.device)
        carry = self.carry * torch.from_numpy(~jumped).to(self.device)[None, :, None]
        self.optimiser.zero_grad()
        losses, states = [], []
        parts = recipe.accumulate
        for part, state in zip(text.chunk(parts), carry.chunk(parts, 1), strict=True):
            with self.precision():
                loss, after = self.loss(part[:, :-1].contiguous(), part[:, 1:].contiguous(), state)
            (loss / parts).backward()
            losses.append(loss.detach())
            states.append(after.detach())
        return torch.stack(losses).mean().item(), torch.cat(states, 1)

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        windows, jumped = self.streams.next(self.step)
        if windows.max() >= self.recipe.config.vocab_size:
            raise ValueError(f"the text holds the token {windows.max()}, but the model only "
                             f"{self.recipe.config.vocab_size} tokens: its file of tokens must be "
                             f"made again")
        return windows, jumped

    def advance(self) -> float:
        """One optimiser step; returns the loss before it.

        Raises
        ------
        UserError
            Loss or gradient are not finite; the weights are as they were before the step.
        """
        started = time.monotonic()
        value, carry = self.gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.grad_clip).item()
        if not (math.isfinite(value) and math.isfinite(norm)):
            what = f"the gradient is {norm}" if math.isfinite(value) else f"the loss is {value}"
            raise UserError(f"training failed, {what} in step {self.step + 1}: start anew with "
                            f"--fresh and a learning rate below {self.recipe.learning_rate:g}")
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.step()
        self.carry = carry
        self.step += 1
        self.mean_loss += (value - self.mean_loss) * max(0.01, 1 / self.step)
        self.seconds += time.monotonic() - started
        return value

    def save(self, path: Path) -> None:
        """Write everything that :meth:`load` needs; a kill or a full disk keeps the last file."""
        state = {
            "recipe": replace(self.recipe, result={}).to_dict(),
            "text": self.digest,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "positions": torch.from_numpy(self.streams.positions),
            "carry": self.carry,
            "step": self.step,
            "seconds": self.seconds,
            "mean_loss": self.mean_loss,
        }
        for left in path.parent.glob(f".{path.name}.*.part"):  # of a run that was killed
            left.unlink(missing_ok=True)
        atomic_write(path, partial(_write, state))

    def load(self, path: Path) -> None:
        """Continue from a file of :meth:`save`; refuses one of another recipe."""
        try:
            with ZipFile(path) as archive:  # torch itself does not look at the check sums
                damaged = archive.testzip()
            state = {} if damaged else torch.load(
                path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ValueError(f"{path} must be a training state: {error}") from None
        if damaged:
            raise ValueError(f"{path} is corrupt in its part {damaged!r}: start anew with --fresh")
        mine = replace(self.recipe, result={}).to_dict()
        try:
            defaults = {f.name: f.default for f in fields(Recipe)}  # keys newer than the file
            theirs = {**defaults, **state["recipe"]}
            other = [k for k in mine if mine[k] != theirs[k] and k != "notes"]
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} must be a training state, which holds a recipe") from None
        if other:
            raise ValueError(
                f"{path} must come from the same recipe, not one with another {other[0]!r}"
            )
        if state.get("text", self.digest) != self.digest:
            raise ValueError(f"{path} must come from the same text and tokenizer")
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.streams.positions = state["positions"].numpy()
            self.carry = state["carry"].to(self.device)
            self.step, self.seconds = state["step"], state["seconds"]
            self.mean_loss = state["mean_loss"]
        except Exception as error:  # so does load_state_dict
            raise ValueError(f"{path} must be a whole training state: {error}") from None
