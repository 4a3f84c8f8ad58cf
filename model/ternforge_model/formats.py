"""How the formats of a program are chosen: fraction bits from the largest values, and head room.

A format is the number of fraction bits of a vector or constant. What calibration has not seen may
exceed it by the factor of HEADROOM (each rounded up to the next power of two in effect); larger
values clip, and every clip is counted at its site (docs/numerics.md).
"""

from math import floor, frexp, log2

import numpy as np

from ternforge.numerics import CODE_MAX, CONSTANT_BITS

__all__ = ["HEADROOM", "LOAD_SHIFT_MAX", "SHIFT_MAX", "SPLIT_ABOVE", "code_error",
           "embedding_format", "fraction_bits", "mantissa", "rounded_weights", "split_weights"]

#: Room above the calibrated maximum, as a factor, by site.
HEADROOM = {"x": 4.0, "product": 4.0, "square": 2.0, "rescale": 1.5, "gate": 4.0}
#: Longest right shift of a gate and before a square: more than any value there ever needs.
SHIFT_MAX = 15
#: Longest left shift of a LOAD, and most fraction bits of a 16-bit embedding.
LOAD_SHIFT_MAX, _EMBEDDING_FRACTION = 15, 30
#: Most by which rounded norm weights may move an int8 code, in steps; beyond, they are split.
SPLIT_ABOVE = 1 / 16


def fraction_bits(largest: float, bits: int, headroom: float = 1.0) -> int:
    """Most fraction bits with which ``largest * headroom`` fits a signed number of ``bits``.

    A value that was never anything but zero has no fraction bits.
    """
    if largest == 0:
        return 0
    top = (1 << (bits - 1)) - 1
    fraction = floor(log2(top / (largest * headroom)))
    return fraction + (largest * headroom * 2.0 ** (fraction + 1) <= top)


def mantissa(value: float) -> tuple[int, int]:
    """``value`` > 0 as 16-bit mantissa in [2**15, 2**16) and exponent, rounded to nearest."""
    fraction, exponent = frexp(value)
    whole = round(fraction * (1 << 16))
    if whole == 1 << 16:
        return 1 << 15, exponent - 15
    return whole, exponent - 16


def embedding_format(table: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Table as int8 if that is exact, else as int16, with at most ``most`` fraction bits."""
    largest = float(np.abs(table).max())
    narrow = min(most, fraction_bits(largest, 8))
    scaled = table * 2.0**narrow
    if bool((scaled == np.rint(scaled)).all()):
        return scaled.astype(np.int8), narrow
    wide = min(most, fraction_bits(largest, 16), _EMBEDDING_FRACTION)
    return np.rint(table * 2.0**wide).astype(np.int16), wide


def rounded_weights(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Norm weights as int16 and their fraction bits."""
    fraction = fraction_bits(float(np.abs(weights).max()), CONSTANT_BITS)
    return np.rint(weights * 2.0**fraction).astype(np.int16), fraction


def code_error(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Largest error of an int8 code, in steps, that :func:`rounded_weights` causes.

    Parameters
    ----------
    x : numpy.ndarray
        Vectors before the weights, ``[..., K]``.
    weights : numpy.ndarray
        ``[K]``.

    Returns
    -------
    numpy.ndarray
        ``[...]``.
    """
    whole, fraction = rounded_weights(weights)
    error = np.abs(x * (weights - whole * 2.0**-fraction)).max(-1)
    top = np.abs(x * weights).max(-1)
    return error * CODE_MAX / np.maximum(top, 1e-300)


def split_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two factors of norm weights, for two passes one after the other.

    The first is a power of two, at least 2**-14 of the largest, and exact in 16 bits; the second is
    in (1/2, 1] where the first could follow the weight, and carries its sign.
    """
    magnitude = np.abs(weights)
    top = np.ceil(np.log2(magnitude.max()))
    power = np.ceil(np.log2(np.maximum(magnitude, 2.0 ** (top - 14))))
    first = 2.0**power
    return first, weights / first
