"""Checkpoints in upstream's layout: ``config.json`` plus safetensors (spec section 2). No torch.

The files that we write also hold a CRC-32 of each tensor, as JSON under ``crc32`` in the metadata,
where other readers of safetensors ignore it. Files of others have none and cannot be checked.
"""

import contextlib
import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from .config import ModelConfig

__all__ = ["atomic_write", "load_tensors", "read_safetensors", "save_tensors"]

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
METADATA = "__metadata__"  #: key in the header of a safetensors file
SUMS = "crc32"  #: key in the metadata
#: Bytes per element of the accepted safetensors types.
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
#: Longest header a safetensors file may have.
_HEADER_LIMIT = 100_000_000


def atomic_write(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it to ``path``.

    When ``write`` raises, the temporary file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read every tensor of one safetensors file as float32.

    Types F64, F32, F16 and BF16 are accepted; nothing but NumPy is needed.

    Raises
    ------
    ValueError
        The file is missing, truncated or damaged, or a tensor has another type or another
        CRC-32 than the file says; the message names the file, and the tensor or the offset.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} must be a readable file: {error.strerror}") from None
    if len(raw) < 8:
        raise ValueError(f"{path} must hold at least 8 bytes, not {len(raw)}: it is truncated")
    length = int.from_bytes(raw[:8], "little")
    if length > min(_HEADER_LIMIT, len(raw) - 8):
        raise ValueError(
            f"{path} must hold the {length} header bytes that offset 0 announces, "
            f"not {len(raw) - 8}: it is truncated or not a safetensors file"
        )
    try:
        header = json.loads(raw[8 : 8 + length])
        entries = {k: v for k, v in header.items() if k != METADATA}
        sums = json.loads(header.get(METADATA, {}).get(SUMS, "{}"))
        sums = dict.fromkeys(entries) | dict(sums) if sums else {}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} must hold a JSON object as header at offset 8") from None
    body = memoryview(raw)[8 + length :]
    for name in sums:
        if name not in entries:
            raise ValueError(f"{path}: tensor {name!r} must be present, as its CRC-32 is")
    return {name: _tensor(path, name, entry, body, sums) for name, entry in entries.items()}


def _tensor(path: Path, name: str, entry: Any, body: memoryview,
            sums: Mapping[str, Any]) -> np.ndarray:
    try:
        kind, (start, stop) = entry["dtype"], entry["data_offsets"]
        shape = tuple(int(n) for n in entry["shape"])
        count = math.prod(shape)
        if not 0 <= start <= stop or min(shape, default=1) < 0:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: tensor {name!r} must have a valid header entry") from None
    if kind not in _SIZES:
        raise ValueError(
            f"{path}: tensor {name!r} must have type {', '.join(_SIZES)}, not {kind!r}"
        )
    if stop - start != count * _SIZES[kind]:
        raise ValueError(
            f"{path}: tensor {name!r} must take {count * _SIZES[kind]} bytes, not {stop - start}"
        )
    if stop > len(body):
        raise ValueError(
            f"{path}: tensor {name!r} must end inside the file, but {stop - len(body)} bytes are "
            "missing: it is truncated"
        )
    data = body[start:stop]
    if name in sums and sums[name] != (found := _sum(data)):
        raise ValueError(f"{path}: tensor {name!r} is corrupt: its CRC-32 must be {sums[name]}, "
                         f"not {found}")
    if kind == "BF16":
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    types = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    with np.errstate(over="ignore"):  # an F64 beyond float32 becomes inf, refused by the caller
        return np.frombuffer(data, types[kind]).astype(np.float32).reshape(shape)


def _sum(content: bytes | memoryview) -> str:
    return f"{zlib.crc32(content):08x}"


def _with_sums(raw: bytes) -> bytes:
    """A safetensors file with the CRC-32 of each tensor; the same bytes on every run.

    The library writes several metadata in random order, so they are added here.
    """
    start = 8 + int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8:start]), memoryview(raw)[start:]
    header[METADATA][SUMS] = json.dumps(
        {name: _sum(body[slice(*entry["data_offsets"])]) for name, entry in header.items()
         if name != METADATA}, separators=(",", ":"))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
    return len(text).to_bytes(8, "little") + text + bytes(body)


def load_tensors(folder: str | Path) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Read a model folder, one tensor file or several with an index.

    Returns
    -------
    config : ModelConfig
        From ``config.json``.
    tensors : dict of str to numpy.ndarray
        Float32, upstream's names, exactly those of :meth:`ModelConfig.tensor_shapes`.

    Raises
    ------
    ValueError
        A file is missing or damaged, or a tensor is missing, unknown, of the wrong shape, or holds
        a NaN or an infinity; the message names the file and the tensor.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder with {CONFIG_FILE} and {TENSOR_FILE}")
    config = ModelConfig.from_json(folder / CONFIG_FILE)
    tensors: dict[str, np.ndarray] = {}
    source: dict[str, Path] = {}
    for path in _tensor_files(folder):
        for name, value in read_safetensors(path).items():
            if name in tensors:
                raise ValueError(f"{path}: tensor {name!r} must not also be in {source[name]}")
            tensors[name], source[name] = value, path
    check_tensors(config, tensors, source, folder / TENSOR_FILE)
    return config, tensors


def _tensor_files(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    if (folder / TENSOR_FILE).exists() or not index.exists():
        return [folder / TENSOR_FILE]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{index} must be a JSON object with a 'weight_map'") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{index} must name files of its own folder, not {name!r}")
    return [folder / name for name in names]


def check_tensors(
    config: ModelConfig,
    tensors: Mapping[str, np.ndarray],
    source: Mapping[str, Path],
    default: Path,
) -> None:
    """Refuse a set of tensors that does not fit ``config``; ``source`` names files in messages."""
    shapes = config.tensor_shapes()
    for name, shape in shapes.items():
        if name not in tensors:
            raise ValueError(f"{default}: tensor {name!r} must be present")
        value, path = tensors[name], source.get(name, default)
        if value.shape != shape:
            raise ValueError(
                f"{path}: tensor {name!r} must have shape {list(shape)}, not {list(value.shape)}"
            )
        finite = np.isfinite(value)
        if not finite.all():
            place = [int(n) for n in np.argwhere(~finite)[0]]
            raise ValueError(
                f"{path}: tensor {name!r} must be finite, but holds {value[tuple(place)]} "
                f"at index {place}"
            )
    for name in tensors:
        if name not in shapes:
            path = source.get(name, default)
            raise ValueError(f"{path}: tensor {name!r} must not be there; the config has no such")


def save_tensors(
    folder: str | Path, config: ModelConfig, tensors: Mapping[str, np.ndarray]
) -> None:
    """Write ``model.safetensors`` and ``config.json``, each atomically, in that order.

    Parameters
    ----------
    folder : str or Path
        Made when missing.
    config : ModelConfig
        Shape of the model.
    tensors : mapping of str to numpy.ndarray
        Float16 or float32; stored in the type they have.

    Raises
    ------
    ValueError
        The tensors do not fit ``config``, or are not finite.
    """
    folder = Path(folder)
    check_tensors(config, tensors, {}, folder / TENSOR_FILE)
    raw = _with_sums(save({k: np.ascontiguousarray(v) for k, v in tensors.items()},
                          {"format": "pt"}))
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / TENSOR_FILE, lambda path: path.write_bytes(raw))
    atomic_write(folder / CONFIG_FILE, lambda path: path.write_text(config.to_json()))
