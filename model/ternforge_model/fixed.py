"""Vectorised twins of ``ternforge.numerics``: the same integers, element by element.

Arrays are int64 throughout. Every function is exact for the ranges of the integer contract;
``tests/model/test_fixed.py`` compares each with its scalar definition.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ternforge.numerics import (
    ACTIVATION_BITS,
    CODE_MAX,
    SCALE_BITS,
    SCALE_SHIFT_MAX,
    SIGMOID_FRACTION,
    SIGMOID_ONE,
    sigmoid_table,
)

__all__ = ["Ints", "bit_length", "code", "isqrt", "normalise", "ratio", "reciprocal", "rnd",
           "saturate", "scale", "sigmoid", "silu"]

Ints = NDArray[np.int64]

_BASE, _SLOPE = np.array(sigmoid_table(), dtype=np.int64).T.copy()


def rnd(value: ArrayLike, shift: ArrayLike) -> Ints:
    """Shift right by ``shift`` in 0..62 and round half up."""
    value, shift = np.asarray(value, np.int64), np.asarray(shift, np.int64)
    return (value + (np.int64(1) << shift >> 1)) >> shift


def saturate(value: Ints, bits: int) -> Ints:
    """Clip to the range of a signed number of ``bits`` bits."""
    top = 1 << (bits - 1)
    return np.minimum(np.maximum(value, -top), top - 1)


def bit_length(value: ArrayLike) -> Ints:
    """Bits of each integer in 0..2**53, as ``int.bit_length``."""
    # frexp is exact: a float64 holds every such integer.
    return np.frexp(np.asarray(value, np.float64))[1].astype(np.int64)


def isqrt(value: ArrayLike) -> Ints:
    """Floor of the square root of each integer in 0..2**52, as ``math.isqrt``."""
    # A correctly rounded root of such an integer never reaches the next whole number: r*r - 1 is
    # at least 2**-27 below r < 2**26, half a unit in its last place is at most 2**-28.
    return np.sqrt(np.asarray(value, np.float64)).astype(np.int64)


def _shift(value: Ints, right: Ints) -> Ints:
    """``value >> right``, or ``value << -right`` where ``right`` is negative."""
    return np.where(right >= 0, value >> np.maximum(right, 0), value << np.maximum(-right, 0))


def normalise(value: ArrayLike) -> tuple[Ints, Ints]:
    """Mantissa in [2**15, 2**16) and exponent of each positive integer; 0 gives (0, 0)."""
    value = np.asarray(value, np.int64)
    exponent = np.where(value == 0, 0, bit_length(value) - 16)
    return _shift(value, exponent), exponent


def reciprocal(mantissa: ArrayLike) -> Ints:
    """``floor(127 * 2**24 / mantissa)``; 0 for mantissa 0."""
    mantissa = np.asarray(mantissa, np.int64)
    return np.where(mantissa == 0, 0, (CODE_MAX << 24) // np.maximum(mantissa, 1))


def code(v: Ints, exponent: ArrayLike, recip: ArrayLike) -> Ints:
    """The int8 codes of ``v``, given the exponent and reciprocal of its largest magnitude."""
    aligned = _shift(np.abs(v), np.asarray(exponent, np.int64))
    q = (aligned * np.asarray(recip, np.int64) + (1 << 23)) >> 24
    return np.where(v < 0, -q, q)


def ratio(mantissa: ArrayLike, exponent: ArrayLike, square_sum: ArrayLike) -> tuple[Ints, Ints]:
    """``max|v| / sqrt(square_sum)`` as mantissa and exponent; (0, 0) where either is 0."""
    mantissa, square_sum = np.asarray(mantissa, np.int64), np.asarray(square_sum, np.int64)
    half = (bit_length(square_sum) - 31) // 2
    root = isqrt(_shift(square_sum, 2 * half))
    defined = (mantissa != 0) & (square_sum != 0)
    quotient = (mantissa << 15) // np.maximum(root, 1)
    return (np.where(defined, quotient, 0),
            np.where(defined, np.asarray(exponent, np.int64) - half - 15, 0))


def scale(
    mantissa: int, exponent: int, row_mantissa: ArrayLike, row_exponent: ArrayLike
) -> tuple[Ints, Ints]:
    """Multiplier and shift of the rescale stage, per row; (0, 0) where the ratio is 0."""
    product = mantissa * np.asarray(row_mantissa, np.int64)
    drop = np.maximum(bit_length(product) - SCALE_BITS, 0)
    shift = np.clip(-(exponent + np.asarray(row_exponent, np.int64) + drop), 0, SCALE_SHIFT_MAX)
    return product >> drop, np.where(product == 0, 0, shift)


def sigmoid(t: Ints) -> Ints:
    """Sigmoid of Q4.11 integers of 16 bits in Q0.15, from 1 to 32767."""
    magnitude = np.minimum(np.abs(t), (1 << 15) - 1)
    segment = magnitude >> 7
    s = _BASE[segment] + ((_SLOPE[segment] * (magnitude & 127) + 64) >> 7)
    return np.where(t < 0, SIGMOID_ONE - s, s)


def silu(a: Ints, activation_shift: int) -> Ints:
    """``rnd(a * sigmoid(a), 15)`` for 16-bit ``a`` of 11 - ``activation_shift`` fraction bits."""
    return rnd(a * sigmoid(saturate(a << activation_shift, ACTIVATION_BITS)), SIGMOID_FRACTION)
