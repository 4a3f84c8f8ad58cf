"""One of something, or several side by side: ports of cores and streams."""

from typing import Any

from amaranth.hdl import ShapeLike
from amaranth.lib import data

__all__ = ["part", "parts", "several"]


def several(shape: ShapeLike, count: int) -> Any:
    """Shape of ``count`` values; of one, the shape itself, so that its port is a plain one."""
    return shape if count == 1 else data.ArrayLayout(shape, count)


def part(value: Any, index: int, count: int) -> Any:
    """Value ``index`` of ``count`` in a signal of shape :func:`several`."""
    return value if count == 1 else value[index]


def parts(value: Any, count: int) -> list[Any]:
    """All values in a signal of shape :func:`several`."""
    return [part(value, index, count) for index in range(count)]
