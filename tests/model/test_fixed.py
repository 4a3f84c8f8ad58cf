import math
import random

import numpy as np
import pytest

from ternforge import numerics
from ternforge_model import fixed

EDGES = [0, 1, 2, 3, 126, 127, 128, 129, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, (1 << 16) - 1,
         1 << 16, (1 << 23) - 1, 1 << 23]
SIGNED_16 = [-(1 << 15), -(1 << 15) + 1, -129, -128, -127, -1, 0, 1, 127, 128, 129, (1 << 15) - 1]


def magnitudes(seed: int, bits: int, count: int = 400) -> list[int]:
    """Integers of every length up to ``bits`` bits."""
    rng = random.Random(seed)
    return [rng.getrandbits(rng.randint(1, bits)) for _ in range(count)]


def test_rnd_equals_scalar():
    values = [s * v for v in magnitudes(1, 40) + EDGES for s in (1, -1)]
    for shift in (0, 1, 2, 15, 24, 39, 47):
        assert fixed.rnd(values, shift).tolist() == [numerics.rnd(v, shift) for v in values]


def test_rnd_rounds_halves_up():
    assert fixed.rnd([-3, -2, -1, 1, 2, 3, 5], 1).tolist() == [-1, -1, 0, 1, 1, 2, 3]


def test_rnd_takes_a_shift_per_element():
    assert fixed.rnd([5, 5, 5], [0, 1, 3]).tolist() == [5, 3, 1]


@pytest.mark.parametrize("bits", [16, 24])
def test_saturate_equals_scalar(bits):
    top = 1 << (bits - 1)
    values = [-top - 1, -top, -top + 1, -1, 0, 1, top - 2, top - 1, top, 1 << 40, -(1 << 40)]
    got = fixed.saturate(np.array(values, np.int64), bits).tolist()
    assert got == [numerics.saturate(v, bits) for v in values]


def test_bit_length_equals_int_method():
    values = magnitudes(2, 52) + EDGES + [(1 << k) - d for k in range(1, 53) for d in (0, 1)]
    assert fixed.bit_length(values).tolist() == [v.bit_length() for v in values]


def test_isqrt_equals_math_around_squares():
    roots = magnitudes(3, 26) + [(1 << 26) - 1, (1 << 16) - 1, 1 << 16]
    values = [max(0, r * r + d) for r in roots for d in (-1, 0, 1)]
    assert fixed.isqrt(values).tolist() == [math.isqrt(v) for v in values]


def test_normalise_and_reciprocal_equal_scalar():
    values = magnitudes(4, 24) + EDGES
    mantissas, exponents = fixed.normalise(values)
    expected = [numerics.normalise(v) for v in values]
    assert list(zip(mantissas.tolist(), exponents.tolist(), strict=True)) == [
        (n.mantissa, n.exponent) for n in expected]
    assert fixed.reciprocal(mantissas).tolist() == [numerics.reciprocal(n) for n in expected]


@pytest.mark.parametrize("largest", [0, 1, 3, 254, 127, 65535, 65536, 1 << 23, 5_000_001])
def test_code_equals_scalar(largest):
    rng = random.Random(largest)
    values = [0, largest, -largest, largest // 2, -(largest // 2)]
    values += [rng.randint(-largest, largest) for _ in range(300)]
    norm = numerics.normalise(largest)
    recip = numerics.reciprocal(norm)
    got = fixed.code(np.array(values, np.int64), norm.exponent, recip).tolist()
    assert got == [numerics.code(v, norm, recip) for v in values]
    assert max(map(abs, got)) == (127 if largest else 0)


def test_ratio_equals_scalar():
    rng = random.Random(5)
    largest = [rng.choice(magnitudes(6, 24) + EDGES) for _ in range(600)]
    sums = [rng.choice([*magnitudes(7, 44), 0, 1, (1 << 31) - 1, 1 << 31, 1 << 32])
            for _ in largest]
    norms = [numerics.normalise(v) for v in largest]
    expected = [numerics.ratio(n, s) for n, s in zip(norms, sums, strict=True)]
    got = fixed.ratio([n.mantissa for n in norms], [n.exponent for n in norms], sums)
    assert got[0].tolist() == [r.mantissa for r in expected]
    assert got[1].tolist() == [r.exponent for r in expected]


@pytest.mark.parametrize("constant", [(1 << 15, -30), (65535, -5), (40000, 20), (50001, -80)])
def test_scale_equals_scalar(constant: tuple[int, int]):
    rows = [numerics.Ratio(0, 0), numerics.Ratio(1 << 14, -12), numerics.Ratio(65535, -20)]
    rng = random.Random(8)
    rows += [numerics.Ratio(rng.getrandbits(16), rng.randint(-40, 10)) for _ in range(300)]
    expected = [numerics.scale(*constant, row) for row in rows]
    got = fixed.scale(*constant, [r.mantissa for r in rows], [r.exponent for r in rows])
    assert got[0].tolist() == [s.mantissa for s in expected]
    assert got[1].tolist() == [s.shift for s in expected]


def test_sigmoid_equals_scalar_on_all_of_its_range():
    t = np.arange(-(1 << 15), 1 << 15)
    s = fixed.sigmoid(t)
    assert s.tolist() == [numerics.sigmoid(int(v)) for v in t]
    assert (s.min(), s.max()) == (1, 32767)
    # One table step and one rounding: the table's chord lies within 6 LSB of the curve.
    assert np.abs(s - 32768 / (1 + np.exp(-t / 2048))).max() < 6


@pytest.mark.parametrize("activation_shift", [0, 1, 4, 7])
def test_silu_equals_scalar(activation_shift):
    rng = random.Random(9)
    values = SIGNED_16 + [rng.randint(-(1 << 15), (1 << 15) - 1) for _ in range(500)]
    got = fixed.silu(np.array(values, np.int64), activation_shift).tolist()
    assert got == [numerics.silu(v, activation_shift) for v in values]
