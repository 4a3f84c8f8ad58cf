"""What the integer model expects of the hardware, token by token."""

from collections.abc import Iterator

import numpy as np

from ternforge_firmware.image import PacketSource
from ternforge_firmware.lower import program_of, raise_, raised, telling_metadata
from ternforge_model.integer import IntegerModel, State
from ternforge_model.program import Op, Program
from ternforge_model.skeleton import KEPT_WEIGHTS

from .compare import Outline, expected_writes

__all__ = ["Reference"]


class Reference:
    """The integer model of an image.

    Up to :data:`~ternforge_model.skeleton.KEPT_WEIGHTS` ternary weights are unpacked once and kept,
    in float; more are unpacked for each token, one matrix at a time.

    Parameters
    ----------
    image : PacketSource
        Image.
    outline : Outline
        Its outline.
    program : Program, optional
        Run this program instead of the one in the image.

    Attributes
    ----------
    state : dict or None
        State after the tokens so far; None before the first.

    Raises
    ------
    ImageError
        If the metadata do not describe the packets, or, where the weights are kept, if the program
        is not the one whose hash is in the header.
    """

    def __init__(self, image: PacketSource, outline: Outline, program: Program | None = None):
        self._image, self._outline = image, outline
        self._kept = program is not None or outline.ternary_weights <= KEPT_WEIGHTS
        with telling_metadata(image.model):
            self.program = program or (raise_(image) if self._kept else program_of(image, ()))
        self._model = IntegerModel(self.program)
        self.state: State | None = None

    @property
    def kept_program(self) -> Program | None:
        """What another reference may share; None where weights are unpacked for each token."""
        return self.program if self._kept else None

    def step(self, token: int) -> tuple[np.ndarray, int]:
        """The writes of the next token, as :func:`.expected_writes` gives them, and its result."""
        ops = None if self._kept else self._unpack()
        result = self._model.forward([token], self.state, trace=True, ops=ops)
        self.state = result.state
        return expected_writes(self._outline, result.trace), int(result.tokens[-1])

    def _unpack(self) -> Iterator[Op]:
        with telling_metadata(self._image.model):
            yield from raised(self._image)
