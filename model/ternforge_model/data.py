"""Text as token arrays, and the training streams."""

from pathlib import Path
from typing import overload

import numpy as np

from .tokenizer import ByteTokenizer, Tokenizer
from .tokens import text_blocks

__all__ = ["TextStreams", "load_text", "split_text"]

#: Share of a text that trains; the rest validates,
TRAIN_SHARE = 0.9
#: but no more tokens than these.
MOST_VALIDATION = 2**17


@overload
def load_text(path: str | Path, tokenizer: None = None) -> tuple[np.ndarray, ByteTokenizer]: ...
@overload
def load_text(path: str | Path, tokenizer: Tokenizer) -> tuple[np.ndarray, Tokenizer]: ...
def load_text(
    path: str | Path, tokenizer: Tokenizer | None = None
) -> tuple[np.ndarray, Tokenizer]:
    """Read a text file.

    Parameters
    ----------
    path : str or Path
        Text file.
    tokenizer : Tokenizer or None
        ``None`` makes a :class:`ByteTokenizer` of the bytes that occur.

    Returns
    -------
    tokens : numpy.ndarray
        int64, ``[N]``; one entry per byte with a byte tokenizer.
    tokenizer : Tokenizer
        The one given or made.

    Raises
    ------
    ValueError
        The file cannot be read, is empty, or holds what the tokenizer has no tokens for.
    """
    path = Path(path)
    raw = b"".join(text_blocks(path))
    tokenizer = tokenizer or ByteTokenizer.from_text(raw)
    try:
        return np.array(tokenizer.encode(raw), dtype=np.int64), tokenizer
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def split_text(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training part, and validation part: the last tenth, but at most 131,072 tokens."""
    cut = max(int(len(tokens) * TRAIN_SHARE), len(tokens) - MOST_VALIDATION)
    return tokens[:cut], tokens[cut:]


class TextStreams:
    """Parallel readers that walk through a text window by window.

    At every window a stream jumps to a random place with chance ``restart``, and also when the
    text ends; its recurrent state must then start from zero. The choice depends only on seed and
    step, so a run can be resumed from ``positions`` alone.

    Parameters
    ----------
    tokens : numpy.ndarray
        Integers, more than ``window`` of them; may be memory-mapped.
    batch, window : int
        Number of streams, tokens per window.
    restart : float
        Chance of a jump.
    seed : int
        Seed of the jumps.
    """

    def __init__(self, tokens: np.ndarray, *, batch: int, window: int, restart: float, seed: int):
        if len(tokens) <= window:
            raise ValueError(
                f"training text must be longer than window={window} tokens, not {len(tokens)}"
            )
        self.tokens = tokens
        self.window = window
        self.restart = restart
        self.seed = seed
        self.positions = np.full(batch, len(tokens), dtype=np.int64)

    def next(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Advance all streams.

        Returns
        -------
        windows : numpy.ndarray
            int64, ``[batch, window + 1]``: inputs and, one place later, targets.
        jumped : numpy.ndarray
            bool, ``[batch]``: streams whose state must be reset to zero first.
        """
        rng = np.random.default_rng([self.seed, step])
        places = rng.integers(0, len(self.tokens) - self.window, len(self.positions))
        jumped = rng.random(len(self.positions)) < self.restart
        jumped |= self.positions + self.window >= len(self.tokens)
        start = np.where(jumped, places, self.positions)
        self.positions = start + self.window
        windows = self.tokens[start[:, None] + np.arange(self.window + 1)]
        return windows.astype(np.int64), jumped
