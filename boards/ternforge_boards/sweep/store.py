"""Finished points on disk: one file each, in the sweep's folder and in the cache."""

from pathlib import Path

from pydantic import ValidationError

from ternforge.cache import cache_dir
from ternforge.output import write_text

from .point import Point, Result, point_key

__all__ = ["Store", "find_in_cache", "keep_in_cache"]


class Store:
    """The points of one sweep.

    Parameters
    ----------
    folder : Path
        Its subfolder ``points`` holds a file per finished point, named by the content that the
        point depends on. They are written whole or not at all.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, point: Point) -> Path:
        """The file of a point, whether it exists or not."""
        return self.folder / "points" / f"{point_key(point)}.json"

    def find(self, point: Point) -> Result | None:
        """A point that was finished, in this folder or by another sweep; None if there is none."""
        found = _read(self.path(point))
        if found is None and (found := find_in_cache(point_key(point))) is not None:
            self.keep(found)
        return found

    def keep(self, result: Result) -> None:
        """Write a finished point, unless another try may give another result."""
        if result.lasting:
            write_text(self.path(result.point), result.model_dump_json(indent=2) + "\n")


def find_in_cache(key: str) -> Result | None:
    """The finished point that this machine's cache has under a key."""
    return _read(_cache_path(key))


def keep_in_cache(result: Result, key: str) -> None:
    """Write a finished point to the cache of this machine, under the key that it has."""
    if result.lasting:
        write_text(_cache_path(key), result.model_dump_json(indent=2) + "\n")


def _cache_path(key: str) -> Path:
    return cache_dir("sweep") / f"{key}.json"


def _read(path: Path) -> Result | None:
    """None for a file that is missing or spoilt: its point is done again."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
