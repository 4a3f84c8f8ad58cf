"""Writes an image section by section: nothing but a packet at a time need be in memory."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ternforge import isa

from .container import HEADER_LENGTH, SECTIONS, Section, dump_json, pack_table
from .packet import HEADER_BYTES, Beats, Packet, header_beats, pack_header, payload_beats

__all__ = ["ImageWriter", "directory_beats", "row_beats"]

#: Embedding rows that are written at a time.
_ROWS = 1024


def directory_beats(row: Packet, vocab_size: int, program_beats: int, lanes: int) -> Beats:
    """The directory section: where the rows stand, and the header of ``row``, one of them.

    Raises
    ------
    ValueError
        If a number does not fit its field; a core with more lanes has smaller addresses.
    """
    values = {"magic": isa.MAGIC, "vocab_size": vocab_size,
              "embedding": 2 * header_beats(lanes) + program_beats,
              "stride": payload_beats(row.op, row.fields, lanes)}
    word = 0
    for name, layout in isa.DIRECTORY:
        value = values.get(name, 0)
        if value not in range(1 << layout.width):
            raise ValueError(f"directory field {name} must fit in {layout.width} bits, not {value}")
        word |= value << layout.offset
    assert word < 1 << 8 * HEADER_BYTES
    return np.concatenate([pack_header(word, lanes), row.header_beats(lanes)])


def row_beats(row: Packet, table: NDArray[Any], lanes: int) -> Iterator[Beats]:
    """The embedding section in parts: rows of ``table`` as payloads of LOADs like ``row``."""
    kind = np.dtype("<i2") if row.fields["wide"] else np.dtype(np.int8)
    used = row.fields["count"] * kind.itemsize
    stride = payload_beats(row.op, row.fields, lanes) * lanes
    for start in range(0, len(table), _ROWS):
        rows = np.ascontiguousarray(table[start:start + _ROWS], kind)
        body = np.zeros((len(rows), stride), np.uint8)
        body[:, :used] = rows.view(np.uint8).reshape(len(rows), used)
        yield body.reshape(-1, lanes)


class ImageWriter:
    """Writes the sections of one image in order; header and directory come last.

    Call :meth:`program`, :meth:`embedding` and :meth:`finish`, in this order.

    Parameters
    ----------
    file : binary file
        Empty and seekable; what is in it is an image only after :meth:`finish`.
    lanes, elements, cores : int
        Of the core.
    """

    def __init__(self, file: BinaryIO, lanes: int, elements: int, cores: int = 1):
        self._file, self._lanes, self._elements, self._cores = file, lanes, elements, cores
        self._sections: dict[str, Section] = {}
        self._end = HEADER_LENGTH + 2 * header_beats(lanes) * lanes
        self._packets = 0
        file.seek(self._end)

    def _section(self, name: str, parts: Iterable[Any], offset: int | None = None,
                 core: bool = True) -> None:
        start = self._end if offset is None else offset
        length = crc = 0
        for part in parts:
            content = memoryview(part).cast("B")
            self._file.write(content)
            crc, length = zlib.crc32(content, crc), length + len(content)
        self._sections[name] = Section(name=name, offset=start, length=length, crc=crc, packets=0,
                                       beats=length // self._lanes if core else 0)
        self._end = max(self._end, start + length)

    def program(self, packets: Iterable[Packet]) -> None:
        """All packets of a token, END last."""
        def parts() -> Iterator[Beats]:
            for packet in packets:
                self._packets += 1
                yield packet.header_beats(self._lanes)
                if len(payload := packet.payload_beats(self._lanes)):
                    yield np.ascontiguousarray(payload)

        self._section("program", parts())

    def embedding(self, row: Packet, table: NDArray[Any]) -> None:
        """The embedding ``[V, d]``; ``row`` is the LOAD packet of any of its rows."""
        self._row, self._vocab_size = row, len(table)
        self._section("embedding", row_beats(row, table, self._lanes))

    def finish(self, *, model: str, model_hash: str, tokenizer: dict[str, Any],
               metadata: dict[str, Any]) -> list[Section]:
        """Everything else; returns the sections in file order."""
        self._section("tokenizer", [dump_json(tokenizer)], core=False)
        self._section("metadata", [dump_json(metadata)], core=False)
        self._file.seek(HEADER_LENGTH)
        program = self._sections["program"].beats
        self._section("directory", [directory_beats(self._row, self._vocab_size, program,
                                                    self._lanes)], HEADER_LENGTH)
        sections = [self._sections[name] for name in SECTIONS]
        counts = (self._vocab_size, self._packets, sum(s.beats for s in sections))
        self._file.seek(0)
        self._file.write(pack_table({
            "lanes": self._lanes, "elements": self._elements, "cores": self._cores,
            "model": model, "hash": model_hash, "counts": counts}, sections))
        return sections
