"""Compiled scalar functions of the integer contract, on int64.

The definitions are those of :mod:`ternforge.numerics`; what numba cannot compile from there
(dataclasses, ``int.bit_length``, ``math.isqrt``) is written out here, and compared with it by
``tests/firmware/test_engine_scalars.py``.
"""

import numpy as np

from ternforge import numerics
from ternforge.numerics import (
    ACTIVATION_BITS,
    CODE_MAX,
    SCALE_BITS,
    SCALE_SHIFT_MAX,
    SIGMOID_FRACTION,
    SIGMOID_ONE,
    sigmoid_table,
)

from .jit import inner

__all__ = ["bit_length", "code", "isqrt", "normalise", "ratio", "rnd", "saturate", "scale",
           "shifted", "sigmoid", "silu"]

rnd = inner(numerics.rnd)
saturate = inner(numerics.saturate)

_TABLE = np.array(sigmoid_table(), np.int64)


@inner
def bit_length(value: int) -> int:
    """``value.bit_length()`` of ``value`` >= 0."""
    bits = 0
    while value:
        value >>= 1
        bits += 1
    return bits


@inner
def isqrt(value: int) -> int:
    """Floor of the square root of ``value`` in 0..2**32."""
    root = 0
    for bit in range(16, -1, -1):
        more = root | 1 << bit
        if more * more <= value:
            root = more
    return root


@inner
def shifted(value: int, right: int) -> int:
    """``value >> right``, to the left if ``right`` is negative."""
    return value >> right if right >= 0 else value << -right


@inner
def normalise(value: int) -> tuple[int, int]:
    """Mantissa and exponent of ``value`` >= 0, as :func:`ternforge.numerics.normalise`."""
    if value == 0:
        return 0, 0
    exponent = bit_length(value) - 16
    return shifted(value, exponent), exponent


@inner
def code(v: int, exponent: int, recip: int) -> int:
    """Code of one element, as :func:`ternforge.numerics.code`."""
    q = (shifted(abs(v), exponent) * recip + (1 << 23)) >> 24
    return -q if v < 0 else q


@inner
def reciprocal(mantissa: int) -> int:
    """As :func:`ternforge.numerics.reciprocal`."""
    return (CODE_MAX << 24) // mantissa if mantissa else 0


@inner
def ratio(mantissa: int, exponent: int, square_sum: int) -> tuple[int, int]:
    """Mantissa and exponent of ``max|v| / sqrt(square_sum)``."""
    if mantissa == 0 or square_sum == 0:
        return 0, 0
    half = (bit_length(square_sum) - 31) // 2
    root = isqrt(shifted(square_sum, 2 * half))
    return (mantissa << 15) // root, exponent - half - 15


@inner
def scale(mantissa: int, exponent: int, row_mantissa: int, row_exponent: int) -> tuple[int, int]:
    """Mantissa and shift of the rescale stage."""
    product = mantissa * row_mantissa
    if product == 0:
        return 0, 0
    drop = bit_length(product) - SCALE_BITS
    return product >> drop, max(0, min(SCALE_SHIFT_MAX, -(exponent + row_exponent + drop)))


@inner
def sigmoid(t: int) -> int:
    """Sigmoid of a Q4.11 integer of 16 bits in Q0.15."""
    magnitude = min(abs(t), (1 << 15) - 1)
    segment = magnitude >> 7
    s = _TABLE[segment, 0] + rnd(_TABLE[segment, 1] * (magnitude & 127), 7)
    return SIGMOID_ONE - s if t < 0 else s


@inner
def silu(a: int, activation_shift: int) -> int:
    """``rnd(a * sigmoid(a), 15)``."""
    t = saturate(a << activation_shift, ACTIVATION_BITS)
    return rnd(a * sigmoid(t), SIGMOID_FRACTION)
