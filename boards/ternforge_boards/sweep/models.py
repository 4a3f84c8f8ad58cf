"""What a sweep knows of a model before its weights are read."""

from dataclasses import replace
from functools import cache

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.presets import MODELS
from ternforge_boards.ceiling import models
from ternforge_firmware.cycles import PacketShape, image_packets, model_packets
from ternforge_firmware.footprint import shape_program
from ternforge_firmware.image import Image
from ternforge_firmware.image import read as read_image
from ternforge_firmware.lower import lower
from ternforge_model.catalog import Model, open_model
from ternforge_model.program import Program

from .point import Point, code_key, model_files

__all__ = ["candidates", "has_weights", "image_of", "packets_of", "program_of"]

_opened = cache(open_model)  # converts once


def candidates(board: str) -> list[str]:
    """Shipped models that a board may be given, best first: its own, then the larger ones."""
    own = [name for name, home in MODELS.items() if home == board]
    rest = sorted(set(MODELS) - set(own), key=lambda name: -program_of(name).ternary_weights)
    return own + rest


def has_weights(model: str) -> bool:
    """Whether more than the shape is known: released models are not shipped."""
    return model in MODELS or model not in models()


@cache
def program_of(model: str) -> Program:
    """The program; of a shipped or released model one of its shape, without weights.

    Raises
    ------
    UserError
        If there is no such model.
    """
    if model in models():
        config, inner_norms = models()[model]
        return replace(shape_program(config, inner_norms=inner_norms), name=model)
    return _opened(model).program


def packets_of(model: str, core: CoreConfig) -> list[PacketShape]:
    """Packets of a token."""
    if model in models():
        config, inner_norms = models()[model]
        return model_packets(config, core, inner_norms=inner_norms)
    return image_packets(_lowered(_opened(model), core))


def _lowered(model: Model, core: CoreConfig) -> Image:
    return lower(model.program, core, model.tokenizer)


def image_of(point: Point) -> Image:
    """The model's image for the point's core; made once for all points that share it."""
    core = point.config
    key = content_key("image", model_files(point.model), repr(core), code_key())
    folder = cached("image", key, lambda folder: _lowered(_opened(point.model), core).write(
        folder / "image.tfi"))
    return read_image(folder / "image.tfi", core)
