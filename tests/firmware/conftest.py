"""Programs and images that several tests of the firmware package share."""

import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower
from ternforge_model.program import Program
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_program


@pytest.fixture(scope="session")
def program() -> Program:
    """Two layers; the MLP is wider than a tile of eight lanes."""
    return random_program(3, d=24, layers=2, m=48, vocab=20)


@pytest.fixture(scope="session")
def core() -> CoreConfig:
    """A core that the program fits."""
    return CoreConfig(lanes=8, elements=2)


@pytest.fixture(scope="session")
def image(program: Program, core: CoreConfig) -> Image:
    """The program, lowered."""
    return lower(program, core, ByteTokenizer(b"abcdefghijklmnopqrst"))
