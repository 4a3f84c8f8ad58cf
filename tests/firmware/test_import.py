"""``ternforge import``, and checks and listings of images that are not read whole."""

import errno
import json
import os
import zlib

import numpy as np
import pytest

from ternforge import cli
from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge_firmware import container, lower, verify
from ternforge_firmware.assemble import disassemble
from ternforge_firmware.image import ImageError, read
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.pack import unpack
from ternforge_model import skeleton
from ternforge_model.catalog import open_model
from ternforge_model.checkpoint import save_tensors
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint, random_program

ALPHABET = b"abcdefghijklmnopqrstuvwxyzABCDEF"
NARROW = CoreConfig(lanes=2, max_rows=12)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    save_tensors(path, *random_checkpoint(6))
    (path / "tokenizer.json").write_text(ByteTokenizer(ALPHABET).to_json())
    return path


@pytest.fixture
def saved(tmp_path):
    """An image with parts of matrices and padding, and its path."""
    image = lower.lower(random_program(7), NARROW, ByteTokenizer(ALPHABET))
    return image, image.write(tmp_path / "toy.tfi")


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_import_writes_the_image_that_image_writes(folder, tmp_path, capsys):
    code, out, _ = run(capsys, "import", folder, "-o", tmp_path / "new" / "a.tfi", "--core",
                       "ddr-n16", "--json")
    assert code == 0
    record = json.loads(out)
    assert (record["core"], record["ternary_weights"]) == (
        "ddr-n16", open_model(folder).program.ternary_weights)
    assert record["peak_memory_bytes"] > 1e6
    assert "quality" not in record
    assert run(capsys, "image", "--model", folder, "--core", "ddr-n16", "-o",
               tmp_path / "b.tfi")[0] == 0
    assert (tmp_path / "new" / "a.tfi").read_bytes() == (tmp_path / "b.tfi").read_bytes()
    assert record["bytes"] == (tmp_path / "b.tfi").stat().st_size


def test_import_takes_the_first_core_that_fits(folder, tmp_path, capsys):
    assert run(capsys, "import", folder, "-o", tmp_path / "a.tfi")[0] == 0
    assert read(tmp_path / "a.tfi").lanes == 8


def test_a_large_model_is_read_matrix_by_matrix(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(skeleton, "KEPT_WEIGHTS", 100)
    text = tmp_path / "text"
    text.write_bytes(b"abc" * 200)
    code, out, _ = run(capsys, "import", folder, "-o", tmp_path / "a.tfi", "--text", text, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["calibration"] == {"text_tokens": 256, "random_tokens": 256}
    assert record["quality"] is not None  # the limit of the report is its own
    assert ImageFile(tmp_path / "a.tfi").metadata["calibration"] == record["calibration"]
    verify.verify(tmp_path / "a.tfi")


def test_a_text_gives_a_report_on_quality(folder, tmp_path, capsys):
    text = tmp_path / "text"
    text.write_bytes(b"abcdefgh" * 40)
    code, out, _ = run(capsys, "import", folder, "-o", tmp_path / "a.tfi", "--text", text, "--json")
    assert code == 0
    quality = json.loads(out)["quality"]
    assert quality["tokens"] == 320
    assert quality["integer_loss"] == pytest.approx(quality["float_loss"], rel=0.02)
    assert "nats per token" in run(capsys, "import", folder, "-o", tmp_path / "a.tfi", "--text",
                                   text)[1]


def failing(error):
    def save(self, file, *_, **__):
        file.write(b"half")
        raise error
    return save


@pytest.mark.parametrize(("error", "code", "text"), [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2,
     "error: the disk is full: free some space and run it again\n"),
    (KeyboardInterrupt(), 130, "interrupted\n"),
], ids=["disk full", "Ctrl-C"])
def test_nothing_is_left_of_a_file_that_was_not_finished(folder, tmp_path, capsys, monkeypatch,
                                                         error, code, text):
    monkeypatch.setattr(lower.Layout, "save", failing(error))
    place = tmp_path / "out"
    place.mkdir()
    (place / "a.tfi").write_bytes(b"old")
    assert run(capsys, "import", folder, "-o", place / "a.tfi")[::2] == (code, text)
    assert [path.name for path in place.iterdir()] == ["a.tfi"]
    assert (place / "a.tfi").read_bytes() == b"old"


def test_a_source_that_changed_is_refused(folder, tmp_path, capsys, monkeypatch):
    save = lower.Layout.save

    def late(self, *arguments):
        save(self, *arguments)
        os.utime(folder / "config.json", (1, 1))

    monkeypatch.setattr(lower.Layout, "save", late)
    code, _, err = run(capsys, "import", folder, "-o", tmp_path / "a.tfi")
    assert code == 2
    assert err.startswith(f"error: {folder / 'config.json'} must not change while it is read")
    assert not (tmp_path / "a.tfi").exists()


def test_a_model_too_large_for_a_core_is_refused_by_how_much(tmp_path, capsys):
    save_tensors(tmp_path / "m", *random_checkpoint(2, layers=1, m=640, vocab=32))
    (tmp_path / "m" / "tokenizer.json").write_text(ByteTokenizer(ALPHABET).to_json())
    code, _, err = run(capsys, "import", tmp_path / "m", "--board", "up5k", "-o", tmp_path / "a")
    assert code == 2
    assert "need max_fan_in=640," in err
    assert "more than its" in err
    assert ("(up5k); it would fit ulx3s-85f-sdram or orangecrab-85f or butterstick-85f or "
            "ecpix5-85f or versa-ecp5-45f or tang-nano-20k") in err
    assert not (tmp_path / "a").exists()


def test_every_bit_of_a_file_is_checked(saved):
    image, path = saved
    steps = []
    found = verify.verify(path, NARROW, lambda done, total: steps.append((done, total)))
    assert found.needs == image.needs
    assert steps[-1] == (len({entry["name"] for entry in image.metadata["packets"]}),) * 2


def forge(path, section, change):
    """Change the bytes of a section of a file, and its checksums."""
    raw = bytearray(path.read_bytes())
    header, sections = container.parse_table(bytes(raw[:container.HEADER_LENGTH]), len(raw), "x")
    for index, place in enumerate(sections):
        if place.name == section:
            body = memoryview(raw)[place.offset:place.offset + place.length]
            change(body)
            crc = zlib.crc32(body)
            sections[index] = container.Section(**{**vars(place), "crc": crc})
            del body
    raw[:container.HEADER_LENGTH] = container.pack_table(header, sections)
    path.write_bytes(raw)


def weights_of(image, name):
    """Byte offset in the program of the weights of an op's first packet, and the packet."""
    at = 0
    for entry, packet in zip(image.metadata["packets"], image.program, strict=False):
        if entry["name"] == name:
            return at + len(packet.header_beats(image.lanes)) * image.lanes, packet
        at += packet.beats(image.lanes) * image.lanes
    raise AssertionError(name)


def set_byte(at, value):
    def change(body):
        body[at] = value
    return change


@pytest.mark.parametrize(("what", "message"), [
    ("code", "must be a code of five trits, not 0xff"),
    ("padding", "must be zero past its 16 columns"),
    ("hash", "the model hash must be that of its packets"),
    ("directory", "malformed in section 'directory' at byte 312"),
])
def test_what_is_wrong_in_a_file_with_valid_sums_is_found(saved, what, message):
    image, path = saved
    at, packet = weights_of(image, "layers.0.attn.o_proj")
    last = at + packet.payload.size - 1  # columns 15 to 19 of the last row: 16 are used
    code = next(value for value in range(256) if value != packet.payload[-1, -1] and (
        unpackable(value) and any(unpackable(value)[1:])))
    other = next(value for value in range(256) if value != packet.payload[0, 0]
                 and unpackable(value))
    section, place, value = {"code": ("program", at, 0xFF), "padding": ("program", last, code),
                             "hash": ("program", at, other), "directory": ("directory", 2, 9)}[what]
    verify.verify(path)
    forge(path, section, set_byte(place, value))
    with pytest.raises(ImageError, match=message):
        verify.verify(path)


def unpackable(value):
    """The five trits of a byte, or nothing if it is no code."""
    try:
        return unpack(np.array([[value]], np.uint8), 1, 5)[0].tolist()
    except ValueError:
        return []


def test_an_address_beyond_the_core_is_found(saved):
    image, path = saved
    with pytest.raises(ImageError, match=rf"needs state_depth={image.needs['state_depth']}, 1 more "
                                         r"than the core's 31"):
        verify.verify(path, CoreConfig(lanes=2, state_depth=31))


def test_one_layer_is_listed(saved):
    image, path = saved
    whole = disassemble(image).splitlines()
    for layer in (0, 1):
        listed = disassemble(ImageFile(path), layer=layer).splitlines()
        assert listed == disassemble(image, layer=layer).splitlines()
        assert listed[0] == f"; layer {layer} of toy-7, lanes=2 elements=1"
        start = whole.index(f"; layer {layer}") + 1
        assert whole[start:start + len(listed) - 1] == listed[1:]
    with pytest.raises(UserError, match=r"^--layer must be one of the layers of 'toy-7', 0 to 1, "
                                        r"not 2$"):
        disassemble(image, layer=2)


def test_layer_on_the_command_line(saved, capsys):
    _, path = saved
    code, out, _ = run(capsys, "image", "--disassemble", path, "--layer", "1", "--summary")
    assert code == 0
    assert '"layer": 1' in out
    assert '"layer": 0' not in out
    assert run(capsys, "image", "--verify", path, "--layer", "1")[::2] == (
        2, "error: --layer must come with --disassemble\n")
