"""Calibration of a model whose weights are not kept in memory: few passes over them.

All tokens of a pass go through one op after the other (:class:`~.floatpass.FloatPass`), so that one
matrix is in memory at a time, and each pass reads the checkpoint once.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .floatpass import FloatPass, sampled_tokens
from .skeleton import Linear, Skeleton

__all__ = ["BATCH", "bounded_maxima", "bounded_tokens"]

#: Streams and tokens of each in one pass.
BATCH = 8, 32
#: Passes over the checkpoint.
PASSES = 2
SEED = 1


def bounded_tokens(text_ids: Sequence[int] | np.ndarray | None) -> dict[str, int]:
    """How many tokens of which kind :func:`bounded_maxima` reads."""
    each = BATCH[0] * BATCH[1]
    kind = "sampled" if text_ids is None else "text"
    count = each if text_ids is None else min(len(text_ids), each)
    return {f"{kind}_tokens": count, "random_tokens": each}


def _windows(ids: np.ndarray) -> np.ndarray:
    """Evenly spaced windows of a text; of a short one, all that there is."""
    streams, length = BATCH
    if len(ids) < streams * length:
        return ids[None]
    starts = np.linspace(0, len(ids) - length, streams).astype(int)
    return ids[starts[:, None] + np.arange(length)]


def bounded_maxima(
    skeleton: Skeleton,
    text_ids: Sequence[int] | np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str], float]:
    """Maxima of uniformly random tokens, and of a text or of tokens that the model prefers.

    Without a text, the second pass reads what the model would write after each of the random
    tokens: samples of its logits.

    Parameters
    ----------
    skeleton : Skeleton
        Model.
    text_ids : sequence of int or None
        Tokens of a calibration text, of which evenly spaced windows are read.
    progress : callable or None
        Called with (matrices done, matrices in all).
    """
    total = PASSES * sum(isinstance(op, Linear) for op in skeleton.ops)
    done = 0

    def step(op: str, kind: str, value: np.ndarray) -> None:
        nonlocal done
        if kind == "y":
            done += 1
            if progress is not None:
                progress(done, total)

    run = FloatPass(skeleton, step)
    rng = np.random.default_rng(SEED)
    logits, _ = run.run(rng.integers(0, len(skeleton.embedding), BATCH))
    if text_ids is not None:
        ids = _windows(np.asarray(text_ids, np.int64))
    else:
        ids = sampled_tokens(logits, rng)
    del logits
    run.run(ids)
    return run.largest
