"""One safetensors file: its header is read at once, its tensors one by one. No torch.

The library's ``safe_open`` is not used for reading: with NumPy it refuses BF16, in which upstream's
weights are stored, and it maps the whole file for as long as it is open, so that every page it
touched counts as resident memory. Here each tensor is mapped alone, and only while it is converted.
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DTYPE_BYTES", "Stamp", "TensorEntry", "TensorFile", "encode_header", "with_sums"]

METADATA = "__metadata__"  #: key in the header of a safetensors file
SUMS = "crc32"  #: key in the metadata
#: Bytes per element of the accepted safetensors types.
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
#: Longest header a safetensors file may have.
_HEADER_LIMIT = 100_000_000
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


@dataclass(frozen=True)
class Stamp:
    """Size and time of a file, to notice that it changes while it is read."""

    path: Path
    size: int  #: bytes
    time: int  #: of the last change, in nanoseconds

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Stamp of a file as it is now; :exc:`ValueError` if it cannot be read."""
        try:
            stat = Path(path).stat()
        except OSError as error:
            raise ValueError(f"{path} must be a readable file: {error.strerror}") from None
        return cls(path, stat.st_size, stat.st_mtime_ns)

    def check(self) -> None:
        """Raise :exc:`ValueError` if the file is no longer as it was."""
        try:
            same = Stamp.of(self.path) == self
        except ValueError:
            same = False
        if not same:
            raise ValueError(f"{self.path} must not change while it is read, but it did: "
                             "read it again when nothing writes to it")


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """Where one tensor stands in its file."""

    dtype: str  #: safetensors type, a key of :data:`DTYPE_BYTES`
    shape: tuple[int, ...]
    offset: int  #: of the first byte in the file
    length: int  #: bytes
    crc: str | None  #: CRC-32 as 8 hexadecimal digits, in files that we wrote


class TensorFile:
    """Header of a safetensors file, and its tensors on demand.

    Types F64, F32, F16 and BF16 are accepted; nothing but NumPy is needed.

    Parameters
    ----------
    path : str or Path
        The file; only its header is read.

    Attributes
    ----------
    entries : dict of str to TensorEntry
        By tensor name, in the order of the header.
    stamp : Stamp
        The file as it was opened.

    Raises
    ------
    ValueError
        The file is missing, truncated or damaged, or a tensor has another type; the message names
        the file, and the tensor or the offset.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.stamp = Stamp.of(self.path)
        header, start = self._header()
        sums = self._sums(header)
        self.entries = {name: self._entry(name, entry, start, sums.get(name))
                        for name, entry in header.items() if name != METADATA}
        for name in sums:
            if name not in self.entries:
                raise ValueError(
                    f"{self.path}: tensor {name!r} must be present, as its CRC-32 is")
        self._check_layout(start)

    def _header(self) -> tuple[dict[str, Any], int]:
        """Header, and the offset of the first tensor's first byte."""
        path, size = self.path, self.stamp.size
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                raw = file.read(length) if length <= min(_HEADER_LIMIT, size - 8) else b""
        except OSError as error:
            raise ValueError(f"{path} must be a readable file: {error.strerror}") from None
        if size < 8:
            raise ValueError(f"{path} must hold at least 8 bytes, not {size}: it is truncated")
        if length > min(_HEADER_LIMIT, size - 8):
            raise ValueError(
                f"{path} must hold the {length} header bytes that offset 0 announces, "
                f"not {size - 8}: it is truncated or not a safetensors file")
        try:
            header = json.loads(raw)
            if not isinstance(header, dict):
                raise ValueError
        except (ValueError, RecursionError):
            raise ValueError(f"{path} must hold a JSON object as header at offset 8") from None
        return header, 8 + length

    def _sums(self, header: Mapping[str, Any]) -> dict[str, Any]:
        try:
            sums = json.loads(header.get(METADATA, {}).get(SUMS, "{}"))
            # A file with sums has one for every tensor: what lost its own is refused too.
            return dict.fromkeys(set(header) - {METADATA}, "") | dict(sums) if sums else {}
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"{self.path} must hold a JSON object as header at offset 8") from None

    def _entry(self, name: str, entry: Any, body: int, crc: Any) -> TensorEntry:
        path = self.path
        try:
            kind, (start, stop) = entry["dtype"], entry["data_offsets"]
            shape = tuple(int(n) for n in entry["shape"])
            count = math.prod(shape)
            if not 0 <= start <= stop or min(shape, default=1) < 0:
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError(f"{path}: tensor {name!r} must have a valid header entry") from None
        if kind not in DTYPE_BYTES:
            raise ValueError(
                f"{path}: tensor {name!r} must have type {', '.join(DTYPE_BYTES)}, not {kind!r}")
        if stop - start != count * DTYPE_BYTES[kind]:
            raise ValueError(f"{path}: tensor {name!r} must take {count * DTYPE_BYTES[kind]} "
                             f"bytes, not {stop - start}")
        if (missing := body + stop - self.stamp.size) > 0:
            raise ValueError(f"{path}: tensor {name!r} must end inside the file, but {missing} "
                             "bytes are missing: it is truncated")
        return TensorEntry(dtype=kind, shape=shape, offset=body + start, length=stop - start,
                           crc=crc)

    def _check_layout(self, start: int) -> None:
        """Tensors follow one another without gaps, from the header to the end of the file."""
        place = start
        for name, entry in sorted(self.entries.items(), key=lambda item: item[1].offset):
            if entry.length and entry.offset != place:
                raise ValueError(f"{self.path}: tensor {name!r} must start at byte {place}, where "
                                 f"the one before it ends, not at {entry.offset}")
            place = max(place, entry.offset + entry.length)
        if place != self.stamp.size:
            raise ValueError(f"{self.path} must end with its last tensor at byte {place}, not at "
                             f"{self.stamp.size}")

    def read(self, name: str) -> np.ndarray:
        """One tensor, float32, in its own shape.

        Raises
        ------
        KeyError
            There is no such tensor.
        ValueError
            The file has changed since it was opened, or the tensor has another CRC-32 than the
            file says.
        """
        entry = self.entries[name]
        if not entry.length:
            return np.zeros(entry.shape, np.float32)
        self.stamp.check()  # before it is mapped: what lies beyond the end of a file cannot be read
        try:
            data = np.memmap(self.path, np.uint8, "r", offset=entry.offset, shape=entry.length)
        except (OSError, ValueError):
            self.stamp.check()
            raise
        if entry.crc is not None and entry.crc != (found := _sum(data.data)):
            self.stamp.check()
            raise ValueError(f"{self.path}: tensor {name!r} is corrupt: its CRC-32 must be "
                             f"{entry.crc}, not {found}")
        stored = data.view(np.ndarray).view(_NUMPY[entry.dtype]).reshape(entry.shape)
        if entry.dtype == "BF16":
            wide = stored.astype(np.uint32)
            wide <<= 16
            value = wide.view(np.float32)
        else:
            with np.errstate(over="ignore"):  # an F64 beyond float32 becomes inf
                value = stored.astype(np.float32)
        self.stamp.check()
        return value


def _sum(content: bytes | memoryview) -> str:
    return f"{zlib.crc32(content):08x}"


def encode_header(header: Mapping[str, Any]) -> bytes:
    """First bytes of a safetensors file: length and JSON, padded so that tensors are aligned."""
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def with_sums(raw: bytes) -> bytes:
    """A safetensors file with the CRC-32 of each tensor; the same bytes on every run.

    The library writes several metadata in random order, so they are added here.
    """
    start = 8 + int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8:start]), memoryview(raw)[start:]
    header[METADATA][SUMS] = json.dumps(
        {name: _sum(body[slice(*entry["data_offsets"])]) for name, entry in header.items()
         if name != METADATA}, separators=(",", ":"))
    return encode_header(header) + bytes(body)
