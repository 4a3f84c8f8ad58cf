"""Compiled kernels: how they are made, and where they are kept between processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic

from ternforge import numerics
from ternforge.cache import cache_dir, content_key

__all__ = ["inner", "kernel", "popcount"]

_F = TypeVar("_F", bound=Callable[..., Any])

#: A kernel contains what it calls, so the key is over all of their sources. Numba by itself looks
#: only at time and size of one file, and keeps the results beside it.
_SOURCES = (*sorted(Path(__file__).parent.glob("*.py")), Path(numerics.__file__))


def inner(function: _F) -> _F:
    """Compile a function that kernels call."""
    return numba.njit(function, nogil=True)


def kernel(function: _F) -> _F:
    """Compile a function that Python calls, with its ``prange`` loops on several threads.

    The machine code is kept in the user's cache folder (:func:`ternforge.cache.cache_dir`), which
    is writable wherever the package is installed. Numba adds the kind of CPU to the key.
    """
    key = content_key(numba.__version__, llvmlite.__version__, *_SOURCES)
    before, config.CACHE_DIR = config.CACHE_DIR, str(cache_dir("kernels") / key)
    try:
        return numba.njit(function, nogil=True, parallel=True, cache=True)
    finally:
        config.CACHE_DIR = before


@intrinsic
def popcount(typing: Any, value: Any) -> Any:  # numba has no numpy.bitwise_count
    """Number of bits set in a ``uint64``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return (value(value), generate) if value == types.uint64 else None
