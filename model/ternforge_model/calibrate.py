"""Largest values of a model at every site, from text or from text that the model writes itself."""

from collections.abc import Sequence

import numpy as np

from .floatpass import FloatPass
from .skeleton import Skeleton

__all__ = ["Maxima", "calibrate"]

Maxima = dict[tuple[str, str], float]  #: largest magnitude by (op name, kind), see FloatPass

#: Without text: streams and steps that the model samples from itself, and a seed for them.
STREAMS, STEPS, SEED = 16, 96, 1
#: Tokens of one float pass over a text.
CHUNK = 512


def calibrate(skeleton: Skeleton, text_ids: Sequence[int] | np.ndarray | None = None) -> Maxima:
    """Run the float pass and return the maxima.

    Parameters
    ----------
    skeleton : Skeleton
        Model.
    text_ids : sequence of int or None
        Tokens of a calibration text. None lets the model sample: that is text of the kind it will
        see, and needs no file. Uniformly random tokens follow, for prompts unlike it.
    """
    run = FloatPass(skeleton)
    rng = np.random.default_rng(SEED)
    if text_ids is not None:
        ids = np.asarray(text_ids, np.int64)
        state = None
        for start in range(0, len(ids), CHUNK):
            _, state = run.run(ids[None, start : start + CHUNK], state)
        return run.largest
    vocab = len(skeleton.embedding)
    tokens = rng.integers(0, vocab, (STREAMS, 1))
    state = None
    for _ in range(STEPS):
        logits, state = run.run(tokens, state)
        # Gumbel's trick: the argmax of logits plus this noise is a sample of the softmax.
        tokens = (logits[:, 0] + rng.gumbel(size=(STREAMS, vocab))).argmax(-1)[:, None]
    run.run(rng.integers(0, vocab, (STREAMS, STEPS // 4)))
    return run.largest
