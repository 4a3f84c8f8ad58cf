"""Ternary weights as beats: five trits to a byte (:mod:`ternforge.trits`), tile by tile."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ternforge.numerics import CODE_MAX
from ternforge.trits import DECODE, ENCODE, TRITS_PER_BYTE

from .packet import Beats

__all__ = ["check_accumulators", "pack", "tiles", "unpack"]

_INVALID = -128
_ENCODE = np.array(ENCODE, np.uint8)
_DECODE = np.array([(_INVALID,) * TRITS_PER_BYTE if group is None else group for group in DECODE],
                   np.int8)


def tiles(fan_in: int, lanes: int) -> int:
    """Tiles of a row of ``fan_in`` weights."""
    return -(-fan_in // (TRITS_PER_BYTE * lanes))


def check_accumulators(weights: NDArray[Any], acc_bits: int) -> None:
    """Check that no row can overflow its accumulator, whatever the codes are.

    Raises
    ------
    ValueError
        If 127 times the number of nonzero weights of a row does not fit ``acc_bits`` signed bits.
    """
    bounds = CODE_MAX * np.count_nonzero(weights, axis=1)
    row = int(bounds.argmax())
    if bounds[row] >= 1 << (acc_bits - 1):
        raise ValueError(f"row {row} must stay below 2**{acc_bits - 1} in an accumulator of "
                         f"{acc_bits} bits, not reach {bounds[row]}")


def pack(weights: NDArray[Any], lanes: int) -> Beats:
    """Pack trits ``[rows, fan_in]`` to beats ``uint8 [tiles * rows, lanes]``.

    All rows of tile 0 come first, then tile 1 and so on; columns past the fan-in are zero trits.

    Raises
    ------
    ValueError
        If a weight is not -1, 0 or 1.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2 or not weights.size:
        raise ValueError(f"weights must have two dimensions and elements, not {weights.shape}")
    if not ((weights >= -1) & (weights <= 1)).all() or weights.dtype.kind not in "iu":
        raise ValueError("weights must be integers in -1..1")
    rows, fan_in = weights.shape
    count = tiles(fan_in, lanes)
    padded = np.ones((rows, count * TRITS_PER_BYTE * lanes), np.uint8)
    padded[:, :fan_in] = weights + 1
    groups = padded.reshape(rows, count, lanes, TRITS_PER_BYTE)
    index = groups[..., 0].copy()  # 0..242 fits a byte
    for j in range(1, TRITS_PER_BYTE):
        index += groups[..., j] * np.uint8(3**j)
    return _ENCODE[index].transpose(1, 0, 2).reshape(count * rows, lanes)


def unpack(beats: Beats, rows: int, fan_in: int) -> NDArray[np.int8]:
    """The inverse of :func:`pack`: trits ``int8 [rows, fan_in]``.

    Raises
    ------
    ValueError
        If a byte is not a code, the size is wrong, or a column past the fan-in is not zero.
    """
    lanes = beats.shape[1]
    count = tiles(fan_in, lanes)
    if len(beats) != count * rows:
        raise ValueError(f"weights of {rows} x {fan_in} must take {count * rows} beats, not "
                         f"{len(beats)}")
    decoded = _DECODE[beats]
    bad = np.argwhere(decoded[..., 0] == _INVALID)
    if len(bad):
        beat, byte = bad[0]
        raise ValueError(f"byte {byte} of weight beat {beat} must be a code of five trits, not "
                         f"0x{beats[beat, byte]:02x}")
    groups = decoded.reshape(count, rows, -1).transpose(1, 0, 2).reshape(rows, -1)
    if groups[:, fan_in:].any():
        row = int(np.flatnonzero(groups[:, fan_in:].any(axis=1))[0])
        raise ValueError(f"row {row} must be zero past its {fan_in} columns")
    return groups[:, :fan_in].copy()
