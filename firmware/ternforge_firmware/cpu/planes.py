"""Ternary weights and int8 codes as bit planes, and their exact dot product.

A row of weights is two rows of 64-bit words: which weights are not zero, and which are negative.
Bit k of word w is column ``64 * w + k``. Codes are eight rows of words, one for each bit of their
two's complement. Because ``-a`` is ``~a + 1``, and bits past the fan-in are zero among the weights,

    dot = sum over planes b of weight(b) * popcount((codes[b] ^ negative) & nonzero)
          + popcount(negative),        weight(b) = 2**b, but -2**7 for the sign.

Two bits per weight instead of the 1.6 of the packed bytes, but no decoding: 512 weights at a time
where the CPU counts bits of vectors.
"""

import numpy as np
from numpy.typing import NDArray

from ternforge.trits import DECODE, TRITS_PER_BYTE

from ..packet import Beats
from .jit import inner, kernel, popcount

__all__ = ["PLANES", "WORD", "dot", "repack", "split", "words"]

WORD = 64  #: columns of one word
PLANES = 8  #: bits of a code

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


@kernel(parallel=False)
def _repack(beats, rows, fan_in, out):
    lanes = beats.shape[1]
    tiles = beats.shape[0] // rows
    width = (fan_in + WORD - 1) // WORD
    for row in range(rows):
        at = row * 2 * width
        out[at:at + 2 * width] = _ZERO
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
                if word < width:
                    out[at + word] |= nonzero << np.uint64(bit)
                    out[at + width + word] |= negative << np.uint64(bit)
                if bit > WORD - TRITS_PER_BYTE and word + 1 < width:
                    out[at + word + 1] |= nonzero >> np.uint64(WORD - bit)
                    out[at + width + word + 1] |= negative >> np.uint64(WORD - bit)
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
        Filled, uint64 ``[rows * 2 * words(fan_in)]``: for each row nonzero, then negative.

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


@inner
def dot(weights, at, planes, t, width):
    """Dot product of the row at word ``at`` of ``weights`` with the codes of token t.

    ``planes`` is ``uint64 [T, 8, words]``; a view of it would be counted by all threads.
    """
    # An unsigned index is no place from the end: reads stay in order, and become vectors.
    at, width, total = np.uint64(at), np.uint64(width), _ZERO
    for w in range(width):
        some, sign = weights[at + w], weights[at + width + w]
        part = _ZERO - popcount((planes[t, 7, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 6, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 5, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 4, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 3, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 2, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 1, w] ^ sign) & some)
        part = part + part + popcount((planes[t, 0, w] ^ sign) & some)
        total += part + popcount(sign)
    return np.int64(total)
