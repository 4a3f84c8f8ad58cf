"""Image files that stay on disk: the same packets, rows and refusals as an image read whole."""

import zlib

import numpy as np
import pytest

from ternforge_firmware.container import CRC, ENTRY, HEADER, HEADER_LENGTH, SECTIONS, ImageError
from ternforge_firmware.image import Image
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.lower import lower, raise_
from ternforge_firmware.text import image_tokenizer
from ternforge_model.toy import random_program


@pytest.fixture
def path(image, tmp_path):
    return image.write(tmp_path / "model.tfi")


@pytest.mark.parametrize("wide", [False, True], ids=["int8", "int16"])
def test_it_holds_what_the_image_holds(core, tmp_path, wide):
    image = lower(random_program(1, wide_embedding=wide), core, {"type": "byte", "bytes": [1]})
    found = ImageFile(image.write(tmp_path / "model.tfi"))
    for name in ("model", "model_hash", "lanes", "elements", "vocab_size", "row_fields",
                 "tokenizer", "metadata"):
        assert getattr(found, name) == getattr(image, name), name
    for _ in range(2):
        assert tuple(found.program) == image.program
    assert found.table.dtype == image.table.dtype == (np.int16 if wide else np.int8)
    assert np.array_equal(found.table, image.table)
    assert isinstance(found.table.base, np.memmap)


def test_its_tokenizer_is_that_of_the_image(image, path):
    assert image_tokenizer(ImageFile(path)).to_json() == image_tokenizer(image).to_json()


def refusals(path, raw):
    """What both ways of reading say about a file."""
    path.write_bytes(raw)
    told = []
    for read in (lambda: raise_(Image.from_bytes(raw, str(path)), str(path)),
                 lambda: list(ImageFile(path).program)):
        with pytest.raises(ImageError) as error:
            read()
        told.append(str(error.value))
    return told


@pytest.mark.parametrize("size", [0, 1, 9, 100, HEADER_LENGTH - 1, HEADER_LENGTH, 1000, -1])
def test_truncated_files_are_refused(path, size):
    whole, streamed = refusals(path, path.read_bytes()[:size])
    assert whole == streamed


@pytest.mark.parametrize("section", SECTIONS)
def test_changed_bytes_are_refused(path, section):
    raw = bytearray(path.read_bytes())
    place = ImageFile(path).sections[section]
    raw[place.offset + place.length // 2] ^= 4
    whole, streamed = refusals(path, bytes(raw))
    assert whole == streamed
    assert f"is corrupt in section {section!r}" in whole


def test_foreign_files_and_what_follows_are_refused(path):
    raw = path.read_bytes()
    for content in (b"PK\3\4 something else", b"TERNFORG\xff\0" + raw[10:], raw + b"xyz"):
        whole, streamed = refusals(path, content)
        assert whole == streamed


def forge(raw, section, content):
    """``raw`` with other bytes in one section, and valid sums."""
    table, at = bytearray(raw[:HEADER_LENGTH]), HEADER.size
    parts, offset = [], HEADER_LENGTH
    for _ in SECTIONS:
        name, start, length, _ = ENTRY.unpack_from(raw, at)
        part = raw[start:start + length]
        if name.rstrip(b"\0").decode() == section:
            part = content(part)
        ENTRY.pack_into(table, at, name, offset, len(part), zlib.crc32(part))
        parts.append(part)
        at, offset = at + ENTRY.size, offset + len(part)
    CRC.pack_into(table, at, zlib.crc32(table[:at]))
    return bytes(table) + b"".join(parts)


@pytest.mark.parametrize(("section", "content"), [
    ("program", lambda part: b"\x0f" + part[1:]),
    ("program", lambda part: part[:-16]),
    ("program", lambda part: part + bytes(16)),
    ("program", lambda part: part[:24]),
    ("program", lambda part: part[:-3]),
    ("directory", lambda part: part[:16]),
    ("directory", lambda part: part[:16] + b"\x0f" + part[17:]),
    ("embedding", lambda part: part[:-8]),
    ("embedding", lambda part: b""),
    ("metadata", lambda part: b"{"),
    ("metadata", lambda part: b"[]"),
    ("tokenizer", lambda part: b"[" * 100_000),
])
def test_malformed_sections_are_named(path, section, content):
    for told in refusals(path, forge(path.read_bytes(), section, content)):
        assert told.startswith(f"image {str(path)!r} is malformed in section {section!r} at byte ")


def test_missing_files_and_folders_are_refused(tmp_path):
    for path, reason in ((tmp_path / "none.tfi", "must exist, but there is no such file"),
                         (tmp_path, "must be a file, but it is a folder")):
        with pytest.raises(ImageError) as error:
            ImageFile(path)
        assert str(error.value) == f"image {str(path)!r} {reason}"


def test_a_file_that_is_cut_while_it_is_read_is_refused(path):
    found = ImageFile(path)
    packets = found.program
    next(packets)
    path.write_bytes(path.read_bytes()[:found.sections["program"].offset + 40])
    with pytest.raises(ImageError, match=r"the file was cut while it was read$"):
        list(found.program)
