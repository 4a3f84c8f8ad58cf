"""Text to a board and back: one sequence that prompts and generated tokens continue."""

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

import numpy as np

from ternforge.errors import UserError
from ternforge.numerics import Ratio
from ternforge_firmware.host import Board
from ternforge_firmware.image import PacketSource
from ternforge_model.sampling import sample

__all__ = ["Conversation"]

#: Tokens asked for at a time, so that an end is heard soon; as many as the board sends in a frame.
GROUP = 8
#: Seconds that a group should take at most.
PATIENCE = 0.2


class Conversation:
    """One sequence on a board.

    Parameters
    ----------
    board : Board
        With the image in its memory.
    image : PacketSource
        Says where logits stand, and how large one is.
    temperature : float
        0: the board takes the largest logit. Otherwise the host reads all logits after each token.
    seed : int
        Of the sampling.

    Raises
    ------
    UserError
        If the temperature is not 0 and the board does not keep its logits.
    """

    def __init__(self, board: Board, image: PacketSource, *, temperature: float = 0.0,
                 seed: int = 0):
        self.board, self.image, self.temperature = board, image, temperature
        self._rng = Random(seed)
        self._logits = _logits_address(image) if temperature else None
        self._pending: list[int] = []  # chosen, but not fed yet
        self._started = False
        self._group = 1

    def reset(self) -> None:
        """The next prompt starts a sequence."""
        self._started, self._pending = False, []

    def say(self, prompt: Sequence[int], count: int,
            ends: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Feed ``prompt`` and yield up to ``count`` tokens that follow it.

        ``ends`` is asked between groups of tokens. After an error the sequence starts anew.
        """
        try:
            if not self._started:
                self.board.reset()
            fed = [*self._pending, *prompt]
            self._pending, self._started = [], True
            token = self._choose(self.board.step(fed))
            while True:
                self._pending = [token]
                count -= 1
                yield token
                if count <= 0 or ends():
                    return
                if self.temperature:
                    token = self._choose(self.board.step([token]))
                    continue
                begun = time.perf_counter()
                group = list(self.board.generate(min(self._group, count)))
                each = (time.perf_counter() - begun) / len(group)
                self._group = max(1, min(GROUP, int(PATIENCE / each)))
                *before, token = group
                for one in before:
                    self._pending, count = [], count - 1
                    yield one
        except BaseException:
            self.reset()
            raise

    def _choose(self, likeliest: int) -> int:
        if not self.temperature:
            return likeliest
        assert self._logits is not None
        logits = self.board.peek(self._logits, self.image.vocab_size)
        counters = self.board.counters()
        return sample(np.array(logits), Ratio(counters.mantissa, counters.exponent),
                      self.image.metadata["logit_scale"], self.temperature, self._rng)


def _logits_address(image: PacketSource) -> int:
    for vector in image.metadata["vectors"]:
        if vector["name"] == "logits":
            return vector["address"]
    raise UserError("--temperature must be 0 for this image: its vocabulary is larger than the "
                    "board's vector RAM, so that the host cannot read the logits")
