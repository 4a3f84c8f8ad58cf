"""Choosing tokens from the head's accumulators, as host, simulator and integer model all do."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Protocol

import numpy as np

from ternforge.numerics import Ratio

from .integer import IntegerModel, IntegerResult, State
from .program import Program

__all__ = ["PROMPT_PART", "TokenModel", "generate", "generate_stream", "logits", "sample"]

#: Tokens of a prompt that are fed in one call, so that its length does not bound its memory.
PROMPT_PART = 64


class TokenModel(Protocol):
    """What text can be generated with: the integer model, or what computes the same integers."""

    @property
    def logit_scale(self) -> float:
        """``logit = acc * logit_scale * ratio``."""
        ...

    def forward(self, ids: Sequence[int], state: State | None = None) -> IntegerResult:
        """Run a sequence that continues ``state``."""
        ...


def logits(acc: np.ndarray, ratio: Ratio, logit_scale: float) -> np.ndarray:
    """Real logits, float64, of one position's accumulators ``[V]``."""
    return np.asarray(acc, np.float64) * (logit_scale * ratio.mantissa * 2.0**ratio.exponent)


def sample(
    acc: np.ndarray, ratio: Ratio, logit_scale: float, temperature: float, rng: Random
) -> int:
    """Next token from the accumulators of the head.

    Parameters
    ----------
    acc : numpy.ndarray
        Integers, shape ``[V]``.
    ratio : Ratio
        Ratio of the head's codes.
    logit_scale : float
        ``Program.logit_scale``.
    temperature : float
        0 takes the largest logit, the first of equals; otherwise the logits are divided by it.
    rng : random.Random
        Gives one uniform number per token; untouched when the temperature is 0.
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be zero or more, not {temperature!r}")
    acc = np.asarray(acc)
    if temperature == 0:
        return int(acc.argmax())
    z = logits(acc - acc.max(), ratio, logit_scale) / temperature
    edges = np.cumsum(np.exp(z))
    place = np.searchsorted(edges, rng.random() * edges[-1], side="right")
    return min(int(place), len(acc) - 1)


def generate_stream(
    program: Program | TokenModel, prompt_ids: Sequence[int], n: int, *,
    temperature: float = 0.0, seed: int = 0,
    on_result: Callable[[int, IntegerResult], object] | None = None,
) -> Iterator[int]:
    """Yield ``n`` tokens that follow a prompt, as each is chosen.

    The prompt's last position gives the first token; ``seed`` starts the :class:`random.Random`
    that :func:`sample` reads. ``on_result`` is called after each part of the prompt and after each
    token that is fed, with the number of tokens fed so far and what the model gave.
    """
    model = IntegerModel(program) if isinstance(program, Program) else program
    if len(prompt_ids) == 0:
        raise ValueError("prompt must hold at least one token")
    rng = Random(seed)
    fed = 0

    def feed(ids: Sequence[int], state: State | None) -> IntegerResult:
        nonlocal fed
        result = model.forward(ids, state)
        fed += len(ids)
        if on_result is not None:
            on_result(fed, result)
        return result

    result = feed(prompt_ids[:PROMPT_PART], None)
    while fed < len(prompt_ids):
        result = feed(prompt_ids[fed:fed + PROMPT_PART], result.state)
    for k in range(n):
        token = sample(result.acc[-1], result.ratio(), model.logit_scale, temperature, rng)
        yield token
        if k + 1 < n:
            result = feed([token], result.state)


def generate(
    program: Program | TokenModel, prompt_ids: Sequence[int], n: int, *,
    temperature: float = 0.0, seed: int = 0,
) -> list[int]:
    """The ``n`` tokens of :func:`generate_stream`, the prompt left out."""
    return list(generate_stream(program, prompt_ids, n, temperature=temperature, seed=seed))
