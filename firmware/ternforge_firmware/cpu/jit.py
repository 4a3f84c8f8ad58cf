"""Compiled kernels: how they are made, and where they are kept between processes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import config

from ternforge import isa, numerics, trits
from ternforge.cache import cache_dir, content_key
from ternforge_model import integer

__all__ = ["inner", "kernel", "thread_limit"]

# A token of 24 layers has 97 parallel loops. GNU OpenMP lets threads that wait for each other spin
# for milliseconds: where another process has one of two CPUs, a token took 60 times as long as with
# a few microseconds. It reads this when the first loop starts.
os.environ.setdefault("GOMP_SPINCOUNT", "200")

#: A kernel contains what it calls and the constants that it names, so its key is over the sources
#: of all of them. Numba by itself looks at time and size of the kernel's own file.
_SOURCES = (*sorted(Path(__file__).parent.glob("*.py")),
            *(Path(str(module.__file__)) for module in (integer, isa, numerics, trits)))

_CONFIG: Any = config


def inner(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call."""
    return numba.njit(function, nogil=True)


def kernel(*, parallel: bool) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that Python calls; if ``parallel``, with its ``prange`` loops in threads.

    The machine code is kept in the user's cache folder (:func:`ternforge.cache.cache_dir`), which
    is writable wherever the package is installed. Numba adds the kind of CPU to the key.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        key = content_key(numba.__version__, llvmlite.__version__, *_SOURCES)
        before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(cache_dir("kernels") / key)
        try:
            return numba.njit(function, nogil=True, parallel=parallel, cache=True)
        finally:
            _CONFIG.CACHE_DIR = before

    return compiled


def thread_limit() -> int:
    """Most threads that a kernel may use: CPUs that this process may run on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, _CONFIG.NUMBA_NUM_THREADS))
