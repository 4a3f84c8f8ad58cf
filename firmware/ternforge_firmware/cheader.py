"""The C header of the host protocol, of packets and of image files, from their definitions."""

import struct
from collections.abc import Iterable, Iterator, Sequence

from ternforge.host.crc import CRC16
from ternforge.host.protocol import (
    COUNTERS,
    EXTERNAL_COUNTERS,
    EXTERNAL_VERSION,
    INFO,
    NO_TOKEN,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    SYNC,
    TOKENS_PER_FRAME,
    VERSION,
    BootState,
    Command,
    ExternalCommand,
    MemoryState,
    Reason,
    capacity,
)
from ternforge.isa import DIRECTORY, HEADERS, MAGIC, Function, Opcode
from ternforge.system import BAUD

from . import container

__all__ = ["c_header"]

#: A line of the header: name without prefix, value, what it is.
Line = tuple[str, str, str]


def _number(value: int) -> str:
    return str(value) if value < 10 else f"0x{value:X}"


def _names(prefix: str, members: Iterable[tuple[str, int]]) -> Iterator[Line]:
    for name, value in members:
        yield f"{prefix}_{name}", _number(value), ""


def _bytes(prefix: str, fields: dict[str, int], what: str) -> Iterator[Line]:
    """Place of each field of a payload, little-endian, in bytes."""
    start = 0
    for name, size in fields.items():
        yield f"{prefix}_{name.upper()}", str(start), f"{size} byte{'s' if size > 1 else ''}"
        start += size
    yield f"{prefix}_LENGTH", str(start), what


def _bits(prefix: str, layout: Iterable[tuple[str, object]]) -> Iterator[Line]:
    """Lowest bit and width of each field of a 128-bit little-endian word."""
    for name, field in layout:
        offset, width = field.offset, field.width  # type: ignore[attr-defined]
        yield f"{prefix}_{name.upper()}_SHIFT", str(offset), ""
        yield f"{prefix}_{name.upper()}_BITS", str(width), ""


def _structure(prefix: str, layout: struct.Struct, names: Sequence[str], what: str,
               ) -> Iterator[Line]:
    """Place of each field of a packed structure of :mod:`struct`."""
    order, codes = layout.format[0], _codes(layout.format[1:])
    start = 0
    for name, code in zip(names, codes, strict=True):
        size = struct.calcsize(order + code)
        yield f"{prefix}_{name.upper()}", str(start), f"{size} byte{'s' if size > 1 else ''}"
        start += size
    yield f"{prefix}_LENGTH", str(start), what


def _codes(text: str) -> list[str]:
    codes, count = [], ""
    for letter in text:
        if letter.isdigit():
            count += letter
        elif letter == "s":
            codes, count = [*codes, f"{count}s"], ""
        else:
            codes, count = [*codes, *[letter] * int(count or 1)], ""
    return codes


def _sections() -> Iterator[tuple[str, list[Line]]]:
    yield ("Frames: sync, length, sequence, code, payload, check sum. Numbers are little-endian,\n"
           "but the check sum, of all bytes from the length on, goes with its high byte first."), [
        ("BAUD", f"{BAUD}L", "symbols per second, 8N1"),
        ("SYNC", _number(SYNC), "first byte of a frame"),
        ("FRAME_LENGTH", "1", "place of the length of the payload"),
        ("FRAME_SEQUENCE", "2", "place of what the reply repeats"),
        ("FRAME_CODE", "3", "place of the command"),
        ("FRAME_PAYLOAD", "4", "place of the payload"),
        ("FRAME_OVERHEAD", "6", "bytes of a frame beside its payload"),
        ("REPLY", _number(REPLY), "set in the code of a reply"),
        ("REFUSED", _number(REFUSED), "set in a refusal; low bits: reason"),
        ("REASON_MASK", "7", ""),
        ("CRC_POLYNOMIAL", _number(CRC16.algorithm.polynomial), "of x^16; high bit first"),
        ("CRC_START", _number(CRC16.algorithm.initial_crc), ""),
        ("VERSION", str(VERSION), "image memory on the chip"),
        ("EXTERNAL_VERSION", str(EXTERNAL_VERSION), "image memory off the chip"),
        ("WRITE_ADDRESS", "3", "bytes; the beat follows, or several"),
        ("WRITE_MOST", str(capacity(1, external=True) - 3),
         f"bytes of beats; version {EXTERNAL_VERSION} alone"),
        ("TOKENS_PER_FRAME", str(TOKENS_PER_FRAME), "most tokens in one GENERATE reply"),
        ("NO_TOKEN", _number(NO_TOKEN), "a token that could not be computed"),
        ("PEEK_BLOCK", _number(PEEK_BLOCK), "4-byte elements in a PEEK reply"),
    ]
    yield "Commands", list(_names("COMMAND", (
        (member.name, member.value) for kind in (Command, ExternalCommand) for member in kind)))
    yield "Reasons of a refusal", list(_names("REASON", ((m.name, m.value) for m in Reason)))
    yield "States of an image memory off the chip", list(
        _names("MEMORY", ((m.name, m.value) for m in MemoryState)))
    yield "What came of filling the image memory from flash", list(
        _names("BOOT", ((m.name, m.value) for m in BootState)))
    yield "INFO reply: places in the payload", list(_bytes("INFO", INFO, "of the payload"))
    yield "COUNTERS reply", [
        *_bytes("COUNTERS", COUNTERS, "of the payload, version 1"),
        ("COUNTERS_BOOT", str(sum(COUNTERS.values())),
         "1 byte, where a board boots from flash; version 3: behind the next"),
        ("COUNTERS_MEMORY", str(sum(COUNTERS.values())),
         f"1 byte, version {EXTERNAL_VERSION} alone"),
        ("COUNTERS_EXTERNAL_LENGTH", str(sum(EXTERNAL_COUNTERS.values())),
         f"of the payload, version {EXTERNAL_VERSION}")]
    yield "CHECK request and reply", [
        ("CHECK_ADDRESS", "0", "3 bytes"), ("CHECK_BEATS", "3", "3 bytes"),
        ("CHECK_LENGTH", "6", "of the payload"),
        ("CHECK_REPLY_LENGTH", "4", "CRC-32 as of zlib")]
    yield "Directory: bits of the first 16 bytes of the image memory", [
        ("DIRECTORY_MAGIC", _number(MAGIC), "value of the first field"),
        *_bits("DIRECTORY", DIRECTORY)]
    yield "Packets: opcodes", list(_names("OPCODE", ((m.name, m.value) for m in Opcode)))
    yield "Packets: what a MATVEC does with its rows", list(
        _names("FUNCTION", ((m.name, m.value) for m in Function)))
    for op, layout in HEADERS.items():
        fields = [(name, field) for name, field in layout if name != "reserved"]
        yield f"Packets: bits of a {op.name} header", list(_bits(op.name, fields))
    yield "Image files (.tfi): header, then a table of sections, then their contents", [
        ("IMAGE_STARTS_WITH", f'"{container.MAGIC.decode()}"', "first bytes"),
        ("IMAGE_VERSION_NUMBER", str(container.FORMAT_VERSION), ""),
        *_structure("IMAGE", container.HEADER,
                    ("magic", "version", "table_end", "lanes", "elements", "vocab_size", "packets",
                     "beats", "sections", "cores", "model", "hash"), "of the header"),
        *_structure("SECTION", container.ENTRY, ("name", "offset", "size", "crc"),
                    "of one entry of the table"),
        ("IMAGE_MEMORY_SECTIONS", "3", "these, joined, are the memory")]


def c_header() -> str:
    """Text of ``ternforge.h``: C99, macros alone, the same for the same version."""
    lines = ["/* ternforge: host protocol, packets and image files.",
             " * Generated by `ternforge image --header FILE`; see docs/host-protocol.md. */",
             "#ifndef TERNFORGE_H", "#define TERNFORGE_H"]
    for title, entries in _sections():
        first, *more = title.split("\n")
        text = "\n * ".join([f"/* {first}", *more]) + " */"
        lines += ["", text]
        for name, value, what in entries:
            line = f"#define TERNFORGE_{name} {value}"
            lines.append(f"{line:<52} /* {what} */" if what else line)
    return "\n".join([*lines, "", "#endif", ""])
