"""Ternary weights and int8 codes as bit planes, and their exact dot product.

A row of weights is two rows of 64-bit words: which weights are not zero, and which are negative.
Bit k of word w is column ``64 * w + k``. Eight rows stand together, ``uint64 [words, 2, 8]``; rows
past the last are zero. Codes are eight rows of words, one for each bit of their two's complement.
Because ``-a`` is ``~a + 1``, and bits past the fan-in are zero among the weights,

    dot = sum over planes b of weight(b) * popcount((codes[b] ^ negative) & nonzero)
          + popcount(negative),        weight(b) = 2**b, but -2**7 for the sign.

Two bits per weight instead of the 1.6 of the packed bytes, but no decoding (:mod:`.vector`).
"""

import numpy as np
from numpy.typing import NDArray

from ternforge.trits import DECODE, TRITS_PER_BYTE

from ..packet import Beats
from .jit import inner, kernel
from .vector import PLANES, ROWS

__all__ = ["WORD", "plane_words", "repack", "split", "words"]

WORD = 64  #: columns of one word

_INVALID = 0xFF
_NONZERO = np.array([_INVALID if group is None else
                     sum((trit != 0) << k for k, trit in enumerate(group)) for group in DECODE],
                    np.uint64)
_NEGATIVE = np.array([0 if group is None else
                      sum((trit < 0) << k for k, trit in enumerate(group)) for group in DECODE],
                     np.uint64)

# Numba adds unsigned and signed integers as floats: every constant that meets a word is a word.
_ZERO, _BYTE = np.uint64(0), np.uint64(0xFF)
_SWAPS = tuple((np.uint64(shift), np.uint64(mask)) for shift, mask in (
    (7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)))


def words(fan_in: int) -> int:
    """Words of a row of ``fan_in`` columns."""
    return -(-fan_in // WORD)


def plane_words(rows: int, fan_in: int) -> int:
    """Words of a whole matrix."""
    return -(-rows // ROWS) * ROWS * 2 * words(fan_in)


@kernel(parallel=False)
def _repack(beats, rows, fan_in, out):
    lanes = beats.shape[1]
    tiles = beats.shape[0] // rows
    width = (fan_in + WORD - 1) // WORD
    out[:] = _ZERO
    for row in range(rows):
        at = row // ROWS * ROWS * 2 * width + row % ROWS
        column = 0
        for tile in range(tiles):
            for lane in range(lanes):
                byte = beats[tile * rows + row, lane]
                nonzero, negative = _NONZERO[byte], _NEGATIVE[byte]
                if nonzero == _INVALID:
                    return tile * rows + row, lane
                left = fan_in - column
                if left < TRITS_PER_BYTE and nonzero >> np.uint64(max(left, 0)):
                    return -1, row
                word, bit = column // WORD, column % WORD
                place = at + word * 2 * ROWS
                if word < width:
                    out[place] |= nonzero << np.uint64(bit)
                    out[place + ROWS] |= negative << np.uint64(bit)
                if bit > WORD - TRITS_PER_BYTE and word + 1 < width:
                    out[place + 2 * ROWS] |= nonzero >> np.uint64(WORD - bit)
                    out[place + 3 * ROWS] |= negative >> np.uint64(WORD - bit)
                column += TRITS_PER_BYTE
    return -1, -1


def repack(beats: Beats, rows: int, fan_in: int, out: NDArray[np.uint64]) -> None:
    """Turn packed weights into bit planes.

    Parameters
    ----------
    beats : numpy.ndarray
        As :func:`ternforge_firmware.pack.pack` makes them, uint8 ``[tiles * rows, lanes]``.
    rows, fan_in : int
        Shape of the matrix.
    out : numpy.ndarray
        Filled, uint64 ``[plane_words(rows, fan_in)]``.

    Raises
    ------
    ValueError
        If a byte is not a code, or a column past the fan-in is not zero.
    """
    beat, place = _repack(np.ascontiguousarray(beats), rows, fan_in, out)
    if beat >= 0:
        raise ValueError(f"byte {place} of weight beat {beat} must be a code of five trits, not "
                         f"0x{beats[beat, place]:02x}")
    if place >= 0:
        raise ValueError(f"row {place} must be zero past its {fan_in} columns")


@inner
def split(codes, planes):
    """Bit planes ``uint64 [8, words]`` of the codes ``int8 [64 * words]``."""
    for word in range(planes.shape[1]):
        for b in range(PLANES):
            planes[b, word] = _ZERO
        for group in range(WORD // 8):
            x = _ZERO
            for k in range(8):
                value = np.uint64(np.uint8(codes[word * WORD + group * 8 + k]))
                x |= value << np.uint64(8 * k)
            for shift, mask in _SWAPS:  # transposes 8 x 8 bits (Warren, Hacker's Delight, 7-3)
                t = (x ^ (x >> shift)) & mask
                x ^= t ^ (t << shift)
            for b in range(PLANES):
                planes[b, word] |= ((x >> np.uint64(8 * b)) & _BYTE) << np.uint64(8 * group)
