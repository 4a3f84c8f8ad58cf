"""Largest values of a model at every site, from text or from text that the model writes itself."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .bounded import bounded_maxima
from .floatpass import FloatPass, sampled_tokens
from .skeleton import Skeleton

__all__ = ["Maxima", "calibrate", "windows"]

Maxima = dict[tuple[str, str], float]  #: largest magnitude by (op name, kind), see FloatPass

#: Without text: streams and steps that the model samples from itself, and a seed for them.
STREAMS, STEPS, SEED = 16, 96, 1
#: Tokens of one window of a text, and the most windows that are read.
CHUNK, WINDOWS = 512, 16


def windows(ids: np.ndarray) -> Iterator[np.ndarray]:
    """The parts of a text that calibration reads: all of it, or WINDOWS evenly spaced ones."""
    count = -(-len(ids) // CHUNK)
    starts = (np.arange(count) * CHUNK if count <= WINDOWS
              else np.linspace(0, len(ids) - CHUNK, WINDOWS).astype(int))
    for start in starts:
        yield ids[start : start + CHUNK]


def calibrate(
    skeleton: Skeleton,
    text_ids: Sequence[int] | np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Maxima:
    """Run the float pass and return the maxima.

    Uniformly random tokens follow any text, for prompts unlike it. Values beyond the maxima have
    the head room of ``formats.HEADROOM``; what exceeds that as well clips and is counted.

    A model whose weights are too many to keep is read few times: see :mod:`.bounded`.

    Parameters
    ----------
    skeleton : Skeleton
        Model.
    text_ids : sequence of int or None
        Tokens of a calibration text; of a long one, :func:`windows` are read. None lets the model
        sample: that is text of the kind it will see, and needs no file.
    progress : callable or None
        Called with (parts done, parts in all).
    """
    if skeleton.lazy:
        return bounded_maxima(skeleton, text_ids, progress)
    run = FloatPass(skeleton)
    rng = np.random.default_rng(SEED)
    vocab = len(skeleton.embedding)
    done, report = 0, progress or (lambda done, total: None)
    if text_ids is not None:
        parts = list(windows(np.asarray(text_ids, np.int64)))
        total = len(parts) + 1
        state = None
        for done, part in enumerate(parts, 1):
            # A whole text is one sequence; windows of a long one stand alone.
            _, after = run.run(part[None], state)
            state = after if total - 1 < WINDOWS else None
            report(done, total)
    else:
        total = STEPS + 1
        tokens = rng.integers(0, vocab, (STREAMS, 1))
        state = None
        for done in range(1, total):
            logits, state = run.run(tokens, state)
            tokens = sampled_tokens(logits, rng)
            report(done, total)
    run.run(rng.integers(0, vocab, (STREAMS, STEPS // 4)))
    report(done + 1, total)
    return run.largest
