"""The integer contract in plain Python integers; hardware and integer model follow it exactly.

Source: ``docs/integer-contract.md``. Nothing here imports numpy, so that generating Verilog
needs only Amaranth. The vectorised twins live in ``ternforge_model.integer``.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import exp, isqrt

__all__ = ["ACTIVATION_BITS", "CODE_MAX", "CONSTANT_BITS", "SCALE_BITS", "SCALE_SHIFT_MAX",
           "SIGMOID_FRACTION", "SIGMOID_INPUT_FRACTION", "SIGMOID_ONE", "STATE_BITS", "VECTOR_BITS",
           "Normalised", "Ratio", "Scale", "code", "normalise", "ratio", "reciprocal", "rnd",
           "saturate", "scale", "sigmoid", "sigmoid_table", "silu"]

VECTOR_BITS = 24  #: one element of the vector RAM (residual stream, products), signed
STATE_BITS = 16  #: one element of the recurrent state, signed
ACTIVATION_BITS = 16  #: a rescaled row before its nonlinearity, signed
CONSTANT_BITS = 16  #: a merged norm weight or a lower bound, signed
CODE_MAX = 127  #: largest magnitude of an int8 activation code
SIGMOID_INPUT_FRACTION = 11  #: sigmoid reads Q4.11
SIGMOID_FRACTION = 15  #: and gives Q0.15, from 1 to 32767
SIGMOID_ONE = 1 << SIGMOID_FRACTION
SCALE_BITS = 15  #: mantissa of the rescale stage, unsigned
SCALE_SHIFT_MAX = 47  #: largest right shift of the rescale stage


def rnd(value: int, shift: int) -> int:
    """Shift right by ``shift`` >= 0 and round half up: ``(value + 2**(shift-1)) >> shift``."""
    return (value + (1 << shift >> 1)) >> shift


def saturate(value: int, bits: int) -> int:
    """Clip to the range of a signed number of ``bits`` bits."""
    top = 1 << (bits - 1)
    return max(-top, min(top - 1, value))


@dataclass(frozen=True)
class Normalised:
    """A positive integer as 16-bit mantissa in [2**15, 2**16) and exponent (mantissa truncated)."""

    mantissa: int
    exponent: int


@dataclass(frozen=True)
class Ratio:
    """``max|v| / sqrt(sum of squares)`` as ``mantissa * 2**exponent``; mantissa 0 if undefined."""

    mantissa: int
    exponent: int


@dataclass(frozen=True)
class Scale:
    """Multiplier of the rescale stage: ``y = rnd(acc * mantissa, shift)``."""

    mantissa: int
    shift: int


def normalise(value: int) -> Normalised:
    """Mantissa and exponent of ``value`` > 0; ``value == 0`` gives ``(0, 0)``."""
    if value == 0:
        return Normalised(0, 0)
    exponent = value.bit_length() - 16
    return Normalised(value >> exponent if exponent >= 0 else value << -exponent, exponent)


def reciprocal(largest: Normalised) -> int:
    """``floor(127 * 2**24 / mantissa)``, 16 bits; 0 for mantissa 0."""
    return (CODE_MAX << 24) // largest.mantissa if largest.mantissa else 0


def code(v: int, largest: Normalised, recip: int) -> int:
    """The int8 code of ``v``: magnitude aligned by the exponent, times reciprocal, half away."""
    magnitude = abs(v)
    exponent = largest.exponent
    aligned = magnitude >> exponent if exponent >= 0 else magnitude << -exponent
    q = (aligned * recip + (1 << 23)) >> 24
    return -q if v < 0 else q


def ratio(largest: Normalised, square_sum: int) -> Ratio:
    """``max|v| / sqrt(square_sum)``: integer square root, then integer divide, both floor."""
    if largest.mantissa == 0 or square_sum == 0:
        return Ratio(0, 0)
    half = (square_sum.bit_length() - 31) // 2  # floor: leaves 31 or 32 bits
    sigma = square_sum >> 2 * half if half >= 0 else square_sum << -2 * half
    return Ratio((largest.mantissa << 15) // isqrt(sigma), largest.exponent - half - 15)


def scale(mantissa: int, exponent: int, row: Ratio) -> Scale:
    """Product of a matrix's constant scale (``mantissa`` in [2**15, 2**16)) and ``row``.

    The mantissa is normalised to 15 bits, so that it is a positive number of 16 signed bits, and
    truncated; the shift is clipped to 0..``SCALE_SHIFT_MAX``.
    """
    product = mantissa * row.mantissa
    if product == 0:
        return Scale(0, 0)
    drop = product.bit_length() - SCALE_BITS
    shift = -(exponent + row.exponent + drop)
    return Scale(product >> drop, max(0, min(SCALE_SHIFT_MAX, shift)))


@lru_cache
def sigmoid_table() -> tuple[tuple[int, int], ...]:
    """256 segments ``(base, slope)`` of sigmoid on [0, 16): value at the left end, rise over it.

    ``base`` is Q0.15 in [16384, 32767]; ``slope`` is in [0, 512].
    """
    ends = [min(SIGMOID_ONE - 1, int(SIGMOID_ONE / (1 + exp(-k / 16)) + 0.5)) for k in range(257)]
    return tuple((low, high - low) for low, high in pairwise(ends))


def sigmoid(t: int) -> int:
    """Sigmoid of a Q4.11 integer in Q0.15, from 1 to 32767; odd about one half."""
    magnitude = min(abs(t), (1 << 15) - 1)
    base, slope = sigmoid_table()[magnitude >> 7]
    s = base + rnd(slope * (magnitude & 127), 7)
    return SIGMOID_ONE - s if t < 0 else s


def silu(a: int, activation_shift: int) -> int:
    """``rnd(a * sigmoid(a), 15)`` for a 16-bit ``a`` of 11 - ``activation_shift`` fraction bits."""
    return rnd(a * sigmoid(saturate(a << activation_shift, ACTIVATION_BITS)), SIGMOID_FRACTION)
