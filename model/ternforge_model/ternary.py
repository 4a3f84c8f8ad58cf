"""Ternary weights of a checkpoint, read matrix by matrix (spec section 3.3)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

import numpy as np

__all__ = ["StoredTrits", "TernaryMatrix", "TernarySource", "row_blocks", "ternarise"]

#: Smallest mean magnitude that the weight quantiser divides by (spec section 3.3).
_FLOOR = np.float32(1e-5)
#: Elements that are worked on at a time, so that temporary arrays stay small.
_BLOCK = 1 << 22


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the rows of a matrix, about four million elements each."""
    rows = max(1, _BLOCK // max(1, shape[1]))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


def ternarise(weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Trits (int8) and size a of one matrix, in float32 (spec section 3.3)."""
    weight = np.asarray(weight, np.float32)
    # The mean is the one sum of many terms here: float64, so that it does not depend on its order.
    total = sum(float(np.abs(weight[rows]).sum(dtype=np.float64))
                for rows in row_blocks(weight.shape))
    size = np.maximum(np.float32(total / weight.size), _FLOOR)
    trits = np.empty(weight.shape, np.int8)
    for rows in row_blocks(weight.shape):
        scaled = weight[rows] * (np.float32(1) / size)
        np.rint(scaled, out=scaled)
        trits[rows] = np.clip(scaled, -1, 1, out=scaled)
    return trits, float(size)


class TernarySource:
    """Ternarises the matrices of a checkpoint when they are asked for.

    Parameters
    ----------
    tensors : mapping
        Float arrays by name; of a :class:`~.checkpoint.Checkpoint` each access reads one.
    keep : iterable of str or None
        Matrices to ternarise now and to keep, after which ``tensors`` is no longer needed. None
        reads each when it is asked for and keeps the last one alone.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], keep: Iterable[str] | None = None):
        self._tensors = tensors
        self._sizes: dict[str, float] = {}
        self._trits: dict[str, np.ndarray] = {}
        self.lazy = keep is None
        for name in keep or ():
            self._read(name)
        if not self.lazy:
            self._tensors = {}

    def _read(self, name: str) -> None:
        if self.lazy:
            self._trits.clear()
        self._trits[name], self._sizes[name] = ternarise(self._tensors[name])

    def size(self, name: str) -> float:
        """Size a of one matrix (spec section 3.3)."""
        if name not in self._sizes:
            self._read(name)
        return self._sizes[name]

    def trits(self, name: str) -> np.ndarray:
        """Trits of one matrix, int8."""
        if name not in self._trits:
            self._read(name)
        return self._trits[name]


class TernaryMatrix:
    """Rows of a matrix of a :class:`TernarySource`; :func:`numpy.asarray` reads their trits.

    Parameters
    ----------
    source : TernarySource
        Where it is read from.
    name : str
        Tensor.
    shape : tuple of int
        Rows and columns of the tensor.
    rows : slice
        Which rows are meant.
    """

    def __init__(self, source: TernarySource, name: str, shape: tuple[int, int], rows: slice):
        self._source, self._name, self._rows = source, name, rows
        self.shape = len(range(*rows.indices(shape[0]))), shape[1]

    @property
    def lazy(self) -> bool:
        """Whether each reading goes back to the checkpoint."""
        return self._source.lazy

    @property
    def magnitude(self) -> float:
        """Size a of the whole tensor (spec section 3.3)."""
        return self._source.size(self._name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._source.trits(self._name)[self._rows], dtype, copy=copy)


class StoredTrits:
    """Field of a dataclass that holds trits or a :class:`TernaryMatrix`, and gives trits."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "StoredTrits": ...
    @overload
    def __get__(self, instance: object, owner: type) -> np.ndarray: ...
    def __get__(self, instance: object | None, owner: type) -> "np.ndarray | StoredTrits":
        if instance is None:
            raise AttributeError(self._name)  # a dataclass field without a default
        return np.asarray(vars(instance)[self._name])

    def __set__(self, instance: object, value: np.ndarray | TernaryMatrix) -> None:
        vars(instance)[self._name] = value
