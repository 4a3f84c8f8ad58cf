import json
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge.isa import MAGIC, Opcode
from ternforge.presets import core_preset
from ternforge_firmware import container, packet
from ternforge_firmware.image import SECTIONS, Image, ImageError, read
from ternforge_firmware.lower import lower
from ternforge_firmware.packet import Packet


def tiny(**changes) -> Image:
    """Two tokens of three elements, and a program of one LOAD."""
    rows = [packet.load(4, np.array(row), wide=False, shift=2) for row in ([1, 2, 3], [-1, -2, -3])]
    body = packet.load(8, np.array([0x1234]), wide=True, shift=0)
    return Image(**{"model": "tiny", "model_hash": "00" * 32, "lanes": 8, "elements": 1,
                    "embedding": tuple(rows), "program": (body, Packet(Opcode.END)), **changes})


def test_memory_is_the_words_written_by_hand():
    load = 0x1 | 3 << 5 | 4 << 21 | 2 << 37
    wide = 0x1 | 1 << 4 | 1 << 5 | 8 << 21
    words = [
        MAGIC | 2 << 16 | 9 << 32 | 1 << 56, 0,  # 2 tokens at beat 9, 1 beat each
        load, 0,
        wide, 0, 0x1234,
        0, 0,
        0x030201, 0xFDFEFF,
    ]
    memory = tiny().memory()
    assert memory.dtype == np.uint8
    assert memory.shape == (len(words), 8)
    assert [int.from_bytes(beat.tobytes(), "little") for beat in memory] == words


def test_directory_is_padded_to_a_wide_beat():
    image = tiny(lanes=40, elements=4)
    memory = image.memory()
    assert memory.shape == (1 + 1 + 2 + 2 + 1, 40)
    words = MAGIC | 2 << 16 | 5 << 32 | 1 << 56
    assert memory[0].tobytes() == words.to_bytes(40, "little")


def test_file_reads_back(image, tmp_path):
    path = image.write(tmp_path / "model.tfi")
    again = read(path)
    assert again == image
    assert again.to_bytes() == path.read_bytes() == image.to_bytes()
    assert (again.model, again.model_hash) == (image.model, image.model_hash)
    assert again.tokenizer == {"type": "byte", "bytes": list(b"abcdefghijklmnopqrst")}
    assert [p.name for p in tmp_path.iterdir()] == ["model.tfi"]


def test_bytes_do_not_depend_on_the_run(program, core, image):
    again = lower(program, core, dict(reversed(image.tokenizer.items())))
    assert again.to_bytes() == image.to_bytes()


def test_sections_tile_the_file(image):
    raw, sections = image.to_bytes(), image.sections()
    assert tuple(s.name for s in sections) == SECTIONS
    assert sections[0].offset == container.HEADER_LENGTH
    for section, after in pairwise(sections):
        assert section.offset + section.length == after.offset
    assert sections[-1].offset + sections[-1].length == len(raw)
    assert sum(s.beats for s in sections) == len(image.memory())
    start = sections[0].offset
    assert raw[start:start + image.memory().size] == image.memory().tobytes()


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_flipped_bit_is_refused_naming_the_section(image, section, where):
    raw = bytearray(image.to_bytes())
    found = next(s for s in image.sections() if s.name == section)
    raw[found.offset + (0 if where == "first" else found.length - 1)] ^= 0x10
    with pytest.raises(ImageError) as error:
        Image.from_bytes(bytes(raw), "model.tfi")
    crc = int(str(error.value)[-8:], 16)
    assert crc != found.crc
    assert str(error.value) == (f"image 'model.tfi' is corrupt in section '{section}' at byte "
                                f"{found.offset}: CRC-32 must be {found.crc:08x}, not {crc:08x}")


def test_every_flipped_header_bit_is_refused(image):
    raw = image.to_bytes()
    for byte in range(container.HEADER_LENGTH):
        broken = bytearray(raw)
        broken[byte] ^= 1 << byte % 8
        with pytest.raises(ImageError, match="header"):
            Image.from_bytes(bytes(broken), "model.tfi")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_truncated_file_is_refused_naming_the_section(image, section):
    raw = image.to_bytes()
    found = next(s for s in image.sections() if s.name == section)
    end = found.offset + found.length
    for size in (found.offset, found.offset + found.length // 2, end - 1):
        with pytest.raises(ImageError) as error:
            Image.from_bytes(raw[:size], "model.tfi")
        assert str(error.value) == (
            f"image 'model.tfi' is truncated in section '{section}': it must reach from byte "
            f"{found.offset} to {end}, but the file ends at byte {size}")


@pytest.mark.parametrize("size", [1, 8, 9, 10, 100, container.HEADER_LENGTH - 1])
def test_a_truncated_header_is_refused(image, size):
    with pytest.raises(ImageError) as error:
        Image.from_bytes(image.to_bytes()[:size], "model.tfi")
    assert str(error.value) == (
        f"image 'model.tfi' is truncated in its header: it must have "
        f"{container.HEADER_LENGTH} bytes, but the file ends at byte {size}")


@pytest.mark.parametrize("raw", [b"", b"\x7fELF and so on", b"TERNFORK"])
def test_a_foreign_file_is_refused(raw):
    with pytest.raises(ImageError) as error:
        Image.from_bytes(raw, "a.out")
    assert str(error.value) == ("'a.out' is not a ternforge image: the header at byte 0 must start "
                                f"with b'TERNFORG', not {raw[:8]!r}")


def test_a_newer_file_is_refused(image, monkeypatch):
    ours = container.FORMAT_VERSION
    monkeypatch.setattr(container, "FORMAT_VERSION", ours + 1)
    raw = image.to_bytes()
    monkeypatch.undo()
    with pytest.raises(ImageError) as error:
        Image.from_bytes(raw, "new.tfi")
    assert str(error.value) == (f"image 'new.tfi' has format version {ours + 1} in its header at "
                                f"byte 8: this program reads version {ours}")


def test_what_follows_the_last_section_is_refused(image):
    raw = image.to_bytes()
    with pytest.raises(ImageError) as error:
        Image.from_bytes(raw + b"xyz", "model.tfi")
    assert str(error.value) == (f"image 'model.tfi' must end after section 'metadata' at byte "
                                f"{len(raw)}, but 3 bytes follow")


def forge(section, change) -> bytes:
    """An image with valid sums and one section changed."""
    raw = tiny().to_bytes()
    header, sections = container.parse_table(raw[:container.HEADER_LENGTH], len(raw), "tiny")
    changed, body, end = [], b"", container.HEADER_LENGTH
    for place in sections:
        content = raw[place.offset:place.offset + place.length]
        content = change(content) if place.name == section else content
        changed.append(replace(place, offset=end, length=len(content), crc=zlib.crc32(content)))
        body, end = body + content, end + len(content)
    return container.pack_table(header, changed) + body


def set_byte(at, value):
    return lambda content: content[:at] + bytes([value]) + content[at + 1:]


@pytest.mark.parametrize(("section", "change", "message"), [
    ("directory", set_byte(2, 3),
     ("is malformed in section 'directory' at byte 312: it must agree with the embedding and "
      "program sections")),
    ("directory", set_byte(16, 9),
     "is malformed in section 'directory' at byte 312: packet opcode must be one of 0 to 3, not 9"),
    ("directory", lambda content: content[:16],
     ("is malformed in section 'directory' at byte 312: a header of 2 beats must fit, but 0 are "
      "left")),
    ("directory", lambda content: content[:16] + bytes(16),
     ("is malformed in section 'embedding' at byte 384: its packets must be LOADs of at least one "
      "constant, not END")),
    ("embedding", lambda content: b"",
     "is malformed in section 'embedding' at byte 384: embedding must have at least one row"),
    ("embedding", set_byte(8 + 5, 1),
     ("is malformed in section 'embedding' at byte 384: row 1 at beat 1: the padding after the "
      "constants of LOAD must be 0")),
    ("program", set_byte(1, 0xFF),
     ("is malformed in section 'program' at byte 344: packet 0 at beat 0: the payload of LOAD must "
      "fit, but it takes 511 beats and 3 are left")),
    ("program", lambda content: content[:-16],
     ("is malformed in section 'program' at byte 344: program must have one END packet, at its "
      "end")),
    ("program", lambda content: content[:-1],
     ("is malformed in section 'program' at byte 344: its length must be a multiple of lanes=8, "
      "not 39")),
    ("tokenizer", lambda content: b"{",
     ("is malformed in section 'tokenizer' at byte 400: it must hold JSON: Expecting property name "
      "enclosed in double quotes: line 1 column 2 (char 1)")),
    ("metadata", lambda content: b"[]",
     ("is malformed in section 'metadata' at byte 402: metadata must be a JSON object, not []")),
    ("metadata", lambda content: b'{"a":NaN}',
     "is malformed in section 'metadata' at byte 402: it must hold JSON: NaN is not JSON"),
    ("metadata", lambda content: b'{"a":' + b"[" * 100_000,
     "is malformed in section 'metadata' at byte 402: it must hold JSON: it is nested too deeply"),
])
def test_malformed_sections_are_refused_with_valid_sums(section, change, message):
    raw = forge(section, change)
    with pytest.raises(ImageError) as error:
        Image.from_bytes(raw, "model.tfi")
    assert str(error.value) == f"image 'model.tfi' {message}"


@pytest.mark.parametrize(("at", "message"), [
    (16, "is malformed in its header at byte 16: the counts must agree with the sections"),
    (20, "is malformed in its header at byte 16: the counts must agree with the sections"),
    (24, "is malformed in its header at byte 16: the counts must agree with the sections"),
    (28, ("is malformed in its header at byte 10: the sections must be directory, program, "
          "embedding, tokenizer, metadata")),
    (12, ("is malformed in section 'directory' at byte 312: its length must be a multiple of "
          "lanes=9, not 32")),
    (14, ("is malformed in its header: CoreConfig.elements must be a power of two that divides "
          "lanes/2=4, not 3")),
    (128 + 36 + 16, ("is malformed in its header: section 'program' must start at byte 344, not "
                     "345")),
])
def test_a_wrong_header_is_refused_with_a_valid_sum(at, message):
    raw = bytearray(tiny(elements=2).to_bytes())
    raw[at] += 1
    raw[container.HEADER_LENGTH - 4:container.HEADER_LENGTH] = \
        zlib.crc32(raw[:container.HEADER_LENGTH - 4]).to_bytes(4, "little")
    with pytest.raises(ImageError) as error:
        Image.from_bytes(bytes(raw), "model.tfi")
    assert str(error.value) == f"image 'model.tfi' {message}"


@pytest.mark.parametrize(("changes", "message"), [
    *[({"model": name},
       f"model name must be 1 to 64 printable bytes without space around, not {name!r}")
      for name in ("", "ä" * 33, "a ", "a\n")],
    ({"model_hash": "AB" * 32}, f"model hash must be 64 hexadecimal digits, not {'AB' * 32!r}"),
    ({"lanes": 7}, "CoreConfig.lanes must be even, not 7"),
    ({"embedding": ()}, "embedding must have at least one row"),
    ({"embedding": (Packet(Opcode.END),)}, "embedding rows must be LOAD packets with one header"),
    ({"program": ()}, "program must have one END packet, at its end"),
    ({"program": (Packet(Opcode.END),) * 2}, "program must have one END packet, at its end"),
])
def test_packets_that_form_no_image_are_refused(changes, message):
    with pytest.raises(ValueError) as error:
        tiny(**changes)
    assert str(error.value) == message


def test_an_endless_foreign_file_is_refused():
    with pytest.raises(ImageError, match=r"^'/dev/zero' is not a ternforge image: "):
        read("/dev/zero")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ImageError) as error:
        read(tmp_path / "no.tfi")
    assert str(error.value) == f"image '{tmp_path}/no.tfi' must exist, but there is no such file"
    with pytest.raises(ImageError) as error:
        read(tmp_path)
    assert str(error.value) == f"image '{tmp_path}' must be a file, but it is a folder"


def test_another_core_is_refused(image, core, tmp_path):
    path = image.write(tmp_path / "model.tfi")
    assert read(path, core) == image
    with pytest.raises(ImageError) as error:
        read(path, CoreConfig(lanes=40, elements=4))
    assert str(error.value) == (f"image '{path}' is packed for a core with lanes=8 and elements=2, "
                                "not lanes=40 and elements=4; it would fit orangecrab-85f or "
                                "butterstick-85f or ecpix5-85f or versa-ecp5-45f")


@pytest.mark.parametrize("what", ["vector_depth", "state_depth", "max_rows", "max_fan_in",
                                  "memory_beats"])
def test_a_core_that_is_too_small_is_refused(image, core, what):
    need = image.needs[what]
    assert need > 8
    image.check_core(replace(core, **image.needs))
    with pytest.raises(ImageError) as error:
        image.check_core(replace(core, **{what: need - 2}), "model.tfi")
    assert str(error.value) == (f"image 'model.tfi' needs {what}={need}, 2 more than the core's "
                                f"{need - 2}; it would fit orangecrab-85f or "
                                "butterstick-85f or ecpix5-85f or versa-ecp5-45f")


def test_a_board_that_would_do_is_named(program):
    image = lower(program, core_preset("icebreaker"))
    with pytest.raises(ImageError) as error:
        image.check_core(core_preset("ulx3s-85f"))
    assert str(error.value) == ("image 'image' is packed for a core with lanes=8 and elements=1, "
                                "not lanes=40 and elements=4; it would fit icebreaker")
    with pytest.raises(ImageError) as error:
        image.check_core(replace(core_preset("icebreaker"), memory_beats=8, single_port_beats=0))
    beats = len(image.memory())
    assert str(error.value) == (f"image 'image' needs memory_beats={beats}, {beats - 8} more than "
                                "the core's 8; it would fit icebreaker")


def test_failed_write_leaves_the_old_file(image, tmp_path, monkeypatch):
    path = tmp_path / "model.tfi"
    path.write_bytes(b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        image.write(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.tfi"]


def test_json_sections_are_plain_ascii(image):
    raw = tiny(tokenizer={"ä": "\u2028"}).to_bytes()
    assert json.loads(raw[-len('{"\\u00e4":"\\u2028"}{}'):-2]) == {"ä": "\u2028"}
