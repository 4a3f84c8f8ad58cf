"""Build results on disk, found again by the content that they were built from."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cache_dir", "cached", "content_key", "locked"]


def cache_dir(kind: str) -> Path:
    """Folder for one kind of build result, below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Parameters
    ----------
    kind : str
        Subfolder, such as ``"verilator"``; made when missing.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    base = Path(root) if Path(root).is_absolute() else Path.home() / ".cache"
    folder = base / "ternforge" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def content_key(*parts: object) -> str:
    """Hash (32 hex digits of SHA-256) over ``parts``, each framed by its kind and length.

    A :class:`~pathlib.Path` stands for the bytes of that file, without its name; anything but
    ``bytes``, ``str`` and paths is hashed as JSON with sorted keys.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            kind, content = b"b", part.read_bytes()
        elif isinstance(part, bytes):
            kind, content = b"b", part
        elif isinstance(part, str):
            kind, content = b"s", part.encode()
        else:
            kind, content = b"j", json.dumps(part, sort_keys=True).encode()
        digest.update(kind + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path`` (made when missing) against other processes."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file releases the lock


def cached(kind: str, key: str, fill: Callable[[Path], object]) -> Path:
    """Folder ``cache_dir(kind)/key``, filled once.

    ``fill`` gets an empty temporary folder, which takes its final name only after ``fill``
    returns: an exception, Ctrl-C or a killed process leaves nothing half-built. Concurrent
    callers with the same key wait for the first.

    Parameters
    ----------
    kind : str
        Kind of result, a subfolder of the cache.
    key : str
        From :func:`content_key`, over everything that the result depends on.
    fill : callable
        Builds the result in the folder that it is given.
    """
    folder = cache_dir(kind)
    final, staged = folder / key, folder / f".{key}.partial"
    if final.is_dir():
        return final
    with locked(folder / f".{key}.lock"):
        if final.is_dir():  # another process was faster
            return final
        shutil.rmtree(staged, ignore_errors=True)  # left by a process that was killed
        staged.mkdir()
        try:
            fill(staged)
            staged.rename(final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return final
