"""Compiled scalar functions against the plain Python of ``ternforge.numerics``."""

from math import isqrt

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ternforge import numerics as n
from ternforge_firmware.cpu import scalars

#: The first example of a function compiles it.
patient = settings(deadline=None)

MANTISSAS = st.integers(1 << 15, (1 << 16) - 1)
SIGNED_16 = st.integers(-(1 << 15), (1 << 15) - 1)


@patient
@given(st.integers(-(1 << 55), 1 << 55), st.integers(0, 62))
@example(-1, 1)
@example(-3, 1)
def test_rnd(value, shift):
    assert scalars.rnd(value, shift) == n.rnd(value, shift)


@patient
@given(st.integers(-(1 << 40), 1 << 40), st.sampled_from([16, 24]))
@example(1 << 15, 16)
@example(-(1 << 23) - 1, 24)
def test_saturate(value, bits):
    assert scalars.saturate(value, bits) == n.saturate(value, bits)


@patient
@given(st.integers(0, (1 << 62) - 1))
@example(0)
def test_bit_length(value):
    assert scalars.bit_length(value) == value.bit_length()


@patient
@given(st.integers(0, (1 << 32) - 1))
@example((1 << 32) - 1)
@example((65535 ** 2) - 1)
@example(65535 ** 2)
def test_isqrt(value):
    assert scalars.isqrt(value) == isqrt(value)


@patient
@given(st.integers(-(1 << 23), (1 << 23) - 1), st.integers(1, 1 << 23))
@example(0, 1)
@example(-(1 << 23), 1 << 23)
def test_code(v, largest):
    largest = max(largest, abs(v))
    form = n.normalise(largest)
    assert scalars.normalise(largest) == (form.mantissa, form.exponent)
    assert scalars.reciprocal(form.mantissa) == n.reciprocal(form)
    assert scalars.code(v, form.exponent, scalars.reciprocal(form.mantissa)) == \
        n.code(v, form, n.reciprocal(form))


@patient
@given(st.integers(0, 1 << 23), st.integers(0, 1 << 46))
@example(0, 1)
@example(1, 0)
@example(1, 1)
@example(1 << 23, 1 << 46)
def test_ratio(largest, squares):
    form = n.normalise(largest)
    expected = n.ratio(form, squares)
    assert scalars.ratio(form.mantissa, form.exponent, squares) == \
        (expected.mantissa, expected.exponent)


@patient
@given(MANTISSAS, st.integers(-128, 127), st.integers(0, 1 << 17), st.integers(-60, 60))
def test_scale(mantissa, exponent, row_mantissa, row_exponent):
    expected = n.scale(mantissa, exponent, n.Ratio(row_mantissa, row_exponent))
    assert scalars.scale(mantissa, exponent, row_mantissa, row_exponent) == \
        (expected.mantissa, expected.shift)


def test_sigmoid_everywhere():
    assert all(scalars.sigmoid(t) == n.sigmoid(t) for t in range(-(1 << 15), 1 << 15))


@patient
@given(SIGNED_16, st.integers(0, 7))
@example(-(1 << 15), 7)
def test_silu(a, shift):
    assert scalars.silu(a, shift) == n.silu(a, shift)
