"""Loss of a model on a text, with the state carried across all of it. Imports no torch."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

__all__ = ["LogitFunction", "StreamingModel", "carried_loss", "log_softmax"]

#: Maps (tokens ``[T]``, state) to (logits ``[T, V]``, state); ``None`` is the zero state.
LogitFunction = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


class StreamingModel(Protocol):
    """Anything with a :data:`LogitFunction` as its method ``logits``."""

    def logits(self, tokens: np.ndarray, state: Any, /) -> tuple[np.ndarray, Any]:
        """Logits after each token, and the state after the last."""
        ...


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities, over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def carried_loss(
    model: StreamingModel | LogitFunction,
    ids: np.ndarray,
    *,
    chunk: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Mean negative log likelihood of each token given all before it, in nats.

    Parameters
    ----------
    model : StreamingModel or callable
        :class:`~ternforge_model.reference.ReferenceModel`, or any function from
        ``(tokens [T], state)`` to ``(logits [T, V], state)``; it gets ``None`` as first state.
    ids : numpy.ndarray
        Tokens, integers, shape ``[N]``, at least two. The first is only read, every other one is
        predicted.
    chunk : int
        Tokens per call; the state is passed from one call to the next, so that the result does
        not depend on this beyond float rounding.
    progress : callable or None
        Called with (tokens done, tokens in all) after every chunk.

    Raises
    ------
    ValueError
        Fewer than two tokens, ``chunk`` below one, or logits of another shape.
    """
    if len(ids) < 2:
        raise ValueError(f"ids must hold at least two tokens, not {len(ids)}")
    if chunk < 1:
        raise ValueError(f"chunk must be positive, not {chunk!r}")
    function: LogitFunction = getattr(model, "logits", model)  # type: ignore[assignment]
    total = len(ids) - 1
    loss, state = 0.0, None
    for start in range(0, total, chunk):
        stop = min(start + chunk, total)
        logits, state = function(ids[start:stop], state)
        rows = np.asarray(logits, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != stop - start:
            raise ValueError(f"logits must have shape [{stop - start}, V], not {list(rows.shape)}")
        right = np.arange(stop - start), ids[start + 1 : stop + 1]
        loss -= float(log_softmax(rows)[right].sum())
        if progress is not None:
            progress(stop, total)
    return loss / total
