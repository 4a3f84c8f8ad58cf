"""Output for people, scripts and disks: JSON, files and folders that appear whole or not at all."""

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ternforge.errors import UserError

__all__ = ["atomic_file", "atomic_folder", "print_json", "to_json", "write_bytes", "write_text"]

#: Lists, in each folder that we wrote, which files are ours.
MANIFEST = ".ternforge-files"


def _jsonable(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    tolist = getattr(value, "tolist", None)  # a NumPy scalar or array, without importing NumPy
    if tolist is not None:
        return tolist()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"JSON output must be plain data, not {value!r}")


def to_json(value: Any) -> str:
    """``value`` as indented JSON; accepts dataclasses, paths, sets and NumPy values."""
    return json.dumps(value, indent=2, default=_jsonable, allow_nan=False, ensure_ascii=False)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output, without colours or wrapping."""
    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()


def _stage_parent(path: Path) -> Path:
    parent = path.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"cannot write {str(path)!r}: its parent is not a folder") from None
    return parent


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name to write; it becomes ``path`` only if the block succeeds.

    The parent folder is made when missing. On any exception, Ctrl-C included, ``path`` is as
    before and the temporary file is gone.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"cannot write the file {str(path)!r}: a folder has that name")
    parent = _stage_parent(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=parent)
    os.close(handle)
    staged = Path(name)
    try:
        yield staged
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        staged.chmod(mode)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` atomically; returns ``path``."""
    with atomic_file(path) as staged:
        staged.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write ``content`` as UTF-8 with Unix line ends to ``path`` atomically; returns ``path``."""
    return write_bytes(path, content.encode())


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill; it becomes ``path`` only if the block succeeds.

    If ``path`` exists, the files that an earlier run wrote there are replaced or removed (a list
    of them is kept in the folder), and files of others stay. On any exception, Ctrl-C included,
    ``path`` is as before.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"cannot write the folder {str(path)!r}: a file has that name")
    staged = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=_stage_parent(path)))
    try:
        yield staged
        staged.chmod(0o777 & ~_umask())
        names = sorted(p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file())
        (staged / MANIFEST).write_text("".join(f"{name}\n" for name in names))
        if not path.exists():
            staged.rename(path)
            return
        for name in _written_before(path) - set(names):
            (path / name).unlink(missing_ok=True)
        for name in [*names, MANIFEST]:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(path / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _written_before(path: Path) -> set[str]:
    try:
        names = (path / MANIFEST).read_text().splitlines()
    except FileNotFoundError:
        return set()
    # The list may have been edited: never follow it out of the folder.
    return {name for name in names if ".." not in Path(name).parts and not Path(name).is_absolute()}
