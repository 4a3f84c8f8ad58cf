"""Checkpoints in upstream's layout: ``config.json`` plus safetensors (spec section 2). No torch.

The files that we write also hold a CRC-32 of each tensor, as JSON under ``crc32`` in the metadata,
where other readers of safetensors ignore it. Files of others have none and cannot be checked.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from .config import ModelConfig
from .tensorfile import Stamp, TensorFile, with_sums

__all__ = ["Checkpoint", "atomic_write", "check_tensors", "load_tensors", "open_checkpoint",
           "save_tensors"]

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"  #: names that upstream's writer gives to shards


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


class Checkpoint(Mapping[str, np.ndarray]):
    """A model folder of which one tensor at a time is in memory.

    A mapping from upstream's tensor names to float32 arrays: exactly the names and shapes of
    :meth:`ModelConfig.tensor_shapes`. Each access reads the tensor again and checks its values.
    In a ``with`` block it also checks, at the end, that no file of it has changed meanwhile.

    Parameters
    ----------
    folder : str or Path
        Folder with ``config.json``, and ``model.safetensors`` or an index and its shards. Only
        ``config.json``, the index and the headers are read.

    Attributes
    ----------
    folder : Path
        The folder.
    config : ModelConfig
        Of ``config.json``.
    shapes : dict of str to tuple of int
        By tensor name.
    dtypes : dict of str to str
        Type in the file by tensor name: ``F64``, ``F32``, ``F16`` or ``BF16``.

    Raises
    ------
    ValueError
        A file is missing or damaged, the index and the shards disagree, or a tensor is missing,
        unknown or of the wrong shape; when a tensor is read: it holds a NaN or an infinity, a
        matrix is all zeros, or the file has changed. The message names the file and the tensor.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} must be a folder with {CONFIG_FILE} and {TENSOR_FILE}")
        config, whole, index = (self.folder / name for name in (CONFIG_FILE, TENSOR_FILE,
                                                                INDEX_FILE))
        self._stamps = [Stamp.of(config)] if config.exists() else []
        self.config = ModelConfig.from_json(config)
        self._files: dict[str, TensorFile] = {}
        if whole.exists() or not index.exists():
            self._add(TensorFile(whole))
            where = whole
        else:
            self._stamps.append(Stamp.of(index))
            self._add_shards(index)
            where = index
        entries = {name: file.entries[name] for name, file in self._files.items()}
        self.shapes = {name: entry.shape for name, entry in entries.items()}
        self.dtypes = {name: entry.dtype for name, entry in entries.items()}
        _check_shapes(self.config, self.shapes, {n: f.path for n, f in self._files.items()}, where)

    def _add(self, file: TensorFile) -> None:
        self._stamps.append(file.stamp)
        for name in file.entries:
            if name in self._files:
                raise ValueError(f"{file.path}: tensor {name!r} must not also be in "
                                 f"{self._files[name].path}")
            self._files[name] = file

    def _add_shards(self, index: Path) -> None:
        place = _read_index(index)
        shards = sorted(set(place.values()))
        for path in sorted(self.folder.glob(SHARDS)):
            if path.name not in shards:
                raise ValueError(f"{index} must name every shard of the folder, but not "
                                 f"{path.name!r}")
        for shard in shards:
            if not (self.folder / shard).is_file():
                raise ValueError(f"{index} must name files of its own folder, but {shard!r} is "
                                 "missing")
            self._add(TensorFile(self.folder / shard))
        for name, file in self._files.items():
            if place.get(name) != file.path.name:
                there = f"for {place[name]!r}, not" if name in place else "for"
                raise ValueError(f"{index} must list tensor {name!r} {there} {file.path.name!r}, "
                                 "which holds it")
        for name, shard in place.items():
            if name not in self._files:
                raise ValueError(f"{self.folder / shard}: tensor {name!r} must be present, as "
                                 f"{index.name} says")

    def __getitem__(self, name: str) -> np.ndarray:
        file = self._files[name]
        value = file.read(name)
        _check_values(name, value, file.path)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:  # of Mapping, it would read the tensor
        return name in self._files

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.check_unchanged()

    def check_unchanged(self) -> None:
        """Raise :exc:`ValueError` if a file of the checkpoint has changed since it was opened."""
        for stamp in self._stamps:
            stamp.check()


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """The checkpoint in ``folder``, validated but for its values; see :class:`Checkpoint`."""
    return Checkpoint(folder)


def load_tensors(folder: str | Path) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Configuration and all tensors, float32, of a model that fits in memory.

    Raises what :class:`Checkpoint` raises.
    """
    with open_checkpoint(folder) as checkpoint:
        return checkpoint.config, dict(checkpoint)


def _read_index(index: Path) -> dict[str, str]:
    """Name of the shard that holds each tensor."""
    try:
        place = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(place, dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{index} must be a JSON object with a 'weight_map'") from None
    for shard in place.values():
        if not isinstance(shard, str) or not shard or Path(shard).name != shard:
            raise ValueError(f"{index} must name files of its own folder, not {shard!r}")
    return place


def _check_shapes(config: ModelConfig, found: Mapping[str, tuple[int, ...]],
                  source: Mapping[str, Path], default: Path | None) -> None:
    """Refuse names and shapes that do not fit ``config``; ``source`` names files in messages."""

    def at(name: str) -> str:
        path = source.get(name, default)
        return "" if path is None else f"{path}: "

    def more(names: list[str]) -> str:
        return f" (and {len(names) - 1} more)" if len(names) > 1 else ""

    shapes = config.tensor_shapes()
    if missing := [name for name in shapes if name not in found]:
        raise ValueError(f"{at(missing[0])}tensor {missing[0]!r} must be present{more(missing)}")
    if extra := [name for name in found if name not in shapes]:
        raise ValueError(f"{at(extra[0])}tensor {extra[0]!r} must not be there{more(extra)}; the "
                         "config has no such")
    for name, shape in shapes.items():
        if tuple(found[name]) != shape:
            raise ValueError(f"{at(name)}tensor {name!r} must have shape {list(shape)}, not "
                             f"{list(found[name])}")


def _check_values(name: str, value: np.ndarray, path: Path | None) -> None:
    """Refuse NaN and infinity, and a matrix without any weight."""
    at = "" if path is None else f"{path}: "
    finite = np.isfinite(value)
    if not finite.all():
        place = [int(n) for n in np.unravel_index(int(finite.argmin()), value.shape)]
        raise ValueError(f"{at}tensor {name!r} must be finite, but holds {value[tuple(place)]} "
                         f"at index {place}")
    if value.ndim == 2 and name != "model.lower_bounds" and not value.any():
        raise ValueError(f"{at}tensor {name!r} must not be all zeros")


def check_tensors(config: ModelConfig, tensors: Mapping[str, np.ndarray],
                  path: Path | None = None) -> None:
    """Refuse tensors in memory for the reasons that :class:`Checkpoint` has.

    A :class:`Checkpoint` passes at once: its names and shapes were checked when it was opened, and
    its values are when they are read. ``path`` begins the messages.
    """
    if isinstance(tensors, Checkpoint):
        return
    shapes = {name: np.shape(value) for name, value in tensors.items()}
    _check_shapes(config, shapes, {}, path)
    for name, value in tensors.items():
        _check_values(name, value, path)


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
        The tensors do not fit ``config``, are not finite, or a matrix is all zeros.
    """
    folder = Path(folder)
    check_tensors(config, tensors, folder / TENSOR_FILE)
    raw = with_sums(save({k: np.ascontiguousarray(v) for k, v in tensors.items()},
                         {"format": "pt"}))
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / TENSOR_FILE, lambda path: path.write_bytes(raw))
    atomic_write(folder / CONFIG_FILE, lambda path: path.write_text(config.to_json()))
