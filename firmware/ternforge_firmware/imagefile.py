"""An image file that stays on disk: packets are read one by one, embedding rows are mapped."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ternforge.config import CoreConfig
from ternforge.isa import Opcode

from .container import (
    HEADER_LENGTH,
    MAGIC,
    SECTIONS,
    ImageError,
    Section,
    check_crc,
    load_json,
    parse_table,
)
from .image import core_needs, refuse_misfit
from .packet import Beats, Packet, header_beats, parse_header, parse_payload, payload_beats

__all__ = ["ImageFile"]

_BLOCK = 1 << 20  #: bytes that are read at a time


class ImageFile:
    """What :class:`~.image.Image` holds, read from the file when asked for.

    Opening checks the header and the CRC of every section, with one pass over the file.

    Parameters
    ----------
    path : str or Path
        Image file.

    Raises
    ------
    ImageError
        If the file is missing, foreign, too new, truncated or corrupt. What is read later raises
        it too.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                raw = file.read(HEADER_LENGTH)
                size = os.fstat(file.fileno()).st_size if raw.startswith(MAGIC) else len(raw)
                header, sections = parse_table(raw, size, str(path))
                for section in sections:
                    check_crc(section, _crc(file, section), str(path))
        except FileNotFoundError:
            raise ImageError(f"image {str(path)!r} must exist, but there is no such file") from None
        except IsADirectoryError:
            raise ImageError(f"image {str(path)!r} must be a file, but it is a folder") from None
        self.model: str = header["model"]
        self.model_hash: str = header["hash"]
        self.lanes: int = header["lanes"]
        self.elements: int = header["elements"]
        self.cores: int = header["cores"]
        self.vocab_size: int
        self.packets: int
        self.counted_beats: int
        self.vocab_size, self.packets, self.counted_beats = header["counts"]
        self.sections = {section.name: replace(section, beats=section.length // self.lanes
                                               if section.name in SECTIONS[:3] else 0)
                         for section in sections}
        for name in SECTIONS[:3]:
            if self.sections[name].length % self.lanes:
                raise self.bad(name, f"its length must be a multiple of lanes={self.lanes}, not "
                                      f"{self.sections[name].length}")
        self.tokenizer = self._json("tokenizer")
        self.metadata = self._json("metadata")
        self.row_fields = self._row_fields()
        self.stride = payload_beats(Opcode.LOAD, self.row_fields, self.lanes) * self.lanes
        if self.stride * self.vocab_size != self.sections["embedding"].length or not self.stride:
            raise self.bad("embedding", f"its length must be that of {self.vocab_size} rows of "
                                         f"{self.stride} bytes, not "
                                         f"{self.sections['embedding'].length}")

    def bad(self, section: str, rule: str) -> ImageError:
        """The error for a section that breaks a rule."""
        return ImageError(f"image {str(self.path)!r} is malformed in section {section!r} at byte "
                          f"{self.sections[section].offset}: {rule}")

    def read_section(self, section: str) -> bytes:
        """Content of one section."""
        place = self.sections[section]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.length)

    def _row_fields(self) -> dict[str, int]:
        beats = np.frombuffer(self.read_section("directory"), np.uint8).reshape(-1, self.lanes)
        try:
            op, fields, end = parse_header(beats, header_beats(self.lanes))
            if op is not Opcode.LOAD or end != len(beats):
                raise ValueError("it must end with the header of a LOAD")
        except ValueError as error:
            raise self.bad("directory", str(error)) from None
        return fields

    @property
    def table(self) -> NDArray[Any]:
        """The embedding, int8 or int16 ``[V, d]``, mapped: rows are read when they are used."""
        section = self.sections["embedding"]
        raw = np.memmap(self.path, np.uint8, "r", section.offset, (self.vocab_size, self.stride))
        return raw.view("<i2" if self.row_fields["wide"] else np.int8)[:, :self.row_fields["count"]]

    @property
    def program(self) -> Iterator[Packet]:
        """The packets of a token in execution order, END last; read anew each time."""
        section = self.sections["program"]
        at, number, left, packet = 0, 0, section.length // self.lanes, None
        with self.path.open("rb") as file:
            file.seek(section.offset)
            while left:
                try:
                    head = self._beats(file, min(left, header_beats(self.lanes)))
                    op, fields, _ = parse_header(head, 0)
                    count = payload_beats(op, fields, self.lanes)
                    body = self._beats(file, min(left - len(head), count))
                    packet, _ = parse_payload(op, fields, body, 0)
                except ValueError as error:
                    raise self.bad("program",
                                    f"packet {number} at beat {at}: {error}") from None
                read = len(head) + len(body)
                at, number, left = at + read, number + 1, left - read
                if (packet.op is Opcode.END) != (left == 0):
                    raise self.bad("program", "program must have one END packet, at its end")
                yield packet

    def headers(self) -> Iterator[tuple[int, Opcode, dict[str, int]]]:
        """Beat, opcode and fields of each packet; payloads are not read.

        The beat counts from the start of the program section.
        """
        section = self.sections["program"]
        mapped = np.memmap(self.path, np.uint8, "r", section.offset,
                           (section.length // self.lanes, self.lanes))
        at = number = 0
        while at < len(mapped):
            try:
                op, fields, start = parse_header(mapped, at)
            except ValueError as error:
                raise self.bad("program", f"packet {number} at beat {at}: {error}") from None
            yield at, op, fields
            at, number = start + payload_beats(op, fields, self.lanes), number + 1

    @cached_property
    def needs(self) -> dict[str, int]:
        """The least value of each field of :class:`CoreConfig` that bounds a program."""
        headers = ((op, fields) for _, op, fields in self.headers())
        return core_needs(chain([(Opcode.LOAD, self.row_fields)], headers), self.elements,
                          self.memory_beats, self.cores)

    @property
    def memory_beats(self) -> int:
        """Beats of the image memory."""
        return sum(self.sections[name].length for name in SECTIONS[:3]) // self.lanes

    def memory(self) -> Beats:
        """The image memory as the core sees it, ``uint8 [beats, lanes]``, mapped."""
        return np.memmap(self.path, np.uint8, "r", self.sections[SECTIONS[0]].offset,
                         (self.memory_beats, self.lanes))

    def check_core(self, core: CoreConfig, name: str | None = None) -> None:
        """Refuse a core that cannot run this image; see :func:`~.image.refuse_misfit`."""
        refuse_misfit(core, self, name or str(self.path))

    def _beats(self, file: BinaryIO, count: int) -> Beats:
        raw = file.read(count * self.lanes)
        if len(raw) != count * self.lanes:
            raise self.bad("program", "the file was cut while it was read")
        return np.frombuffer(raw, np.uint8).reshape(-1, self.lanes)

    def _json(self, section: str) -> dict[str, Any]:
        try:
            value = load_json(self.read_section(section))
        except ValueError as error:
            raise self.bad(section, f"it must hold JSON: {error}") from None
        if not isinstance(value, dict):
            raise self.bad(section, f"{section} must be a JSON object, not {value!r}")
        return value


def _crc(file: BinaryIO, section: Section) -> int:
    file.seek(section.offset)
    found, left = 0, section.length
    while left and (block := file.read(min(left, _BLOCK))):
        found = zlib.crc32(block, found)
        left -= len(block)
    return found
