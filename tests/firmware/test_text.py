"""The way of a tokenizer: from a folder into an image, a listing and a file, and back to text."""

import json
from dataclasses import replace

import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.assemble import assemble, disassemble
from ternforge_firmware.image import Image, ImageError
from ternforge_firmware.lower import lower
from ternforge_firmware.text import image_tokenizer
from ternforge_model.subword import JsonTokenizer
from ternforge_model.synthetic import word_tokenizer
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_program

WORDS = 32000
TEXT = "the cat, na\u00efve \u20ac"


@pytest.fixture(scope="module")
def large():
    """Image of a toy that knows 32,000 words."""
    core = CoreConfig(lanes=4, elements=2, memory_beats=1 << 20, bank_beats=1 << 18,
                      vector_depth=64, state_depth=16, max_rows=64, max_fan_in=32)
    program = random_program(2, d=8, layers=1, m=8, vocab=WORDS)
    return lower(program, core, JsonTokenizer(json.loads(word_tokenizer(WORDS))))


def test_an_image_carries_a_vocabulary_of_words(large):
    raw = large.to_bytes()
    image = Image.from_bytes(raw)
    assert image.to_bytes() == raw
    assert image.vocab_size == WORDS
    tokenizer = image_tokenizer(image)
    assert isinstance(tokenizer, JsonTokenizer)
    tokens = tokenizer.encode(TEXT)
    assert max(tokens) > 16_000
    assert "".join(tokenizer.stream(tokens)) == TEXT


def test_a_listing_carries_it_too(large):
    image = assemble(disassemble(large))
    assert image == large
    assert image_tokenizer(image).encode(TEXT) == image_tokenizer(large).encode(TEXT)


@pytest.mark.parametrize(("values", "message"), [
    ({}, "holds no tokenizer: make it from a model folder that has one"),
    ({"type": "byte", "bytes": [300]}, ("holds a bad tokenizer: vocabulary entry must be a "
                                        "byte value 0..255, not 300")),
    (json.loads(ByteTokenizer(b"abc").to_json()), ("must hold a tokenizer of 20 tokens as its "
                                                   "embedding does, not 3")),
], ids=["none", "bad", "other"])
def test_images_without_a_tokenizer_of_theirs(image, values, message):
    with pytest.raises(ImageError) as caught:
        image_tokenizer(replace(image, tokenizer=values))
    assert str(caught.value) == f"image of {image.model!r} {message}"


def test_bytes_are_as_before(image):
    tokenizer = image_tokenizer(image)
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.decode(tokenizer.encode("cab")) == "cab"
