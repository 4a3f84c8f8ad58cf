"""The layout of an image file: header, table of sections, checksums. See :mod:`.image`."""

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from ternforge.errors import UserError

__all__ = ["FORMAT_VERSION", "HEADER_LENGTH", "MAGIC", "SECTIONS", "ImageError", "Section",
           "check_crc", "dump_json", "load_json", "pack_table", "parse_table"]

MAGIC = b"TERNFORG"
FORMAT_VERSION = 3
SECTIONS = ("directory", "program", "embedding", "tokenizer", "metadata")

#: magic, version, header bytes, lanes, elements, vocabulary, program packets, memory beats,
#: sections, cores, model name, model hash
HEADER = struct.Struct("<8sHHHHIIIHH64s32s")
ENTRY = struct.Struct("<16sQQI")  #: section name, offset, length, CRC-32
CRC = struct.Struct("<I")
HEADER_LENGTH = HEADER.size + len(SECTIONS) * ENTRY.size + CRC.size


class ImageError(UserError):
    """An image that is corrupt, foreign, too new, or not for this core."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Where one section stands in the file."""

    name: str
    offset: int  #: in bytes
    length: int  #: in bytes
    crc: int
    packets: int  #: 0 for sections that hold none
    beats: int  #: 0 for sections that the core does not see


def dump_json(value: dict[str, Any]) -> bytes:
    """JSON, always the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def load_json(text: str | bytes) -> Any:
    """Parse JSON; what is not JSON, NaN included, is a :exc:`ValueError`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def pack_table(header: dict[str, Any], sections: list[Section]) -> bytes:
    """The first :data:`HEADER_LENGTH` bytes of a file; the inverse of :func:`parse_table`."""
    table = HEADER.pack(MAGIC, FORMAT_VERSION, HEADER_LENGTH, header["lanes"], header["elements"],
                        *header["counts"], len(sections), header["cores"],
                        header["model"].encode(),
                        bytes.fromhex(header["hash"]))
    table += b"".join(ENTRY.pack(s.name.encode(), s.offset, s.length, s.crc) for s in sections)
    return table + CRC.pack(zlib.crc32(table))


def parse_table(raw: bytes, size: int, name: str) -> tuple[dict[str, Any], list[Section]]:
    """Header and sections of a file.

    Parameters
    ----------
    raw : bytes
        Its first :data:`HEADER_LENGTH` bytes, or all if there are fewer.
    size : int
        Its length.
    name : str
        Stands for it in error messages.

    Raises
    ------
    ImageError
        If it is foreign, too new, truncated, or its header corrupt; CRCs of sections are not
        looked at.
    """
    magic, least = raw[:len(MAGIC)], len(MAGIC) + 2
    if magic != MAGIC[:len(raw)] or not raw:
        raise ImageError(f"{name!r} is not a ternforge image: the header at byte 0 must start with "
                         f"{MAGIC!r}, not {magic!r}")
    version = int.from_bytes(raw[len(MAGIC):least], "little")
    if len(raw) >= least and version != FORMAT_VERSION:
        raise ImageError(f"image {name!r} has format version {version} in its header at byte 8: "
                         f"this program reads version {FORMAT_VERSION}")
    if len(raw) < HEADER_LENGTH:
        raise ImageError(f"image {name!r} is truncated in its header: it must have {HEADER_LENGTH} "
                         f"bytes, but the file ends at byte {len(raw)}")
    table = raw[:HEADER_LENGTH - CRC.size]
    found, stored = zlib.crc32(table), CRC.unpack_from(raw, len(table))[0]
    if found != stored:
        raise ImageError(f"image {name!r} is corrupt in its header at byte 0: CRC-32 must be "
                         f"{stored:08x}, not {found:08x}")
    (_, _, length, lanes, elements, vocab_size, packets, beats, count, cores, model,
     model_hash) = HEADER.unpack_from(raw)
    sections = [ENTRY.unpack_from(raw, HEADER.size + n * ENTRY.size) for n in range(len(SECTIONS))]
    names = tuple(entry[0].rstrip(b"\0").decode("ascii", "replace") for entry in sections)
    if length != HEADER_LENGTH or count != len(SECTIONS) or names != SECTIONS:
        raise ImageError(f"image {name!r} is malformed in its header at byte 10: the sections must "
                         f"be {', '.join(SECTIONS)}")
    if not lanes or not cores or lanes % cores:
        raise ImageError(f"image {name!r} is malformed in its header at byte 12: lanes must be "
                         f"positive and a multiple of cores, not {lanes} with cores={cores}")
    result, end = [], HEADER_LENGTH
    for section, (_, offset, content, crc) in zip(names, sections, strict=True):
        if offset != end:
            raise ImageError(f"image {name!r} is malformed in its header: section {section!r} must "
                             f"start at byte {end}, not {offset}")
        end = offset + content
        if size < end:
            raise ImageError(f"image {name!r} is truncated in section {section!r}: it must reach "
                             f"from byte {offset} to {end}, but the file ends at byte {size}")
        result.append(Section(name=section, offset=offset, length=content, crc=crc, packets=0,
                              beats=0))
    if size > end:
        raise ImageError(f"image {name!r} must end after section {names[-1]!r} at byte {end}, but "
                         f"{size - end} bytes follow")
    try:
        text = model.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise ImageError(f"image {name!r} is malformed in its header at byte 32: the model name "
                         "must be UTF-8") from None
    return {"lanes": lanes, "elements": elements, "cores": cores,
            "counts": (vocab_size, packets, beats), "model": text,
            "hash": model_hash.hex()}, result


def check_crc(section: Section, found: int, name: str) -> None:
    """Refuse a section whose CRC-32 ``found`` is not that of the header."""
    if found != section.crc:
        raise ImageError(f"image {name!r} is corrupt in section {section.name!r} at byte "
                         f"{section.offset}: CRC-32 must be {section.crc:08x}, not {found:08x}")
