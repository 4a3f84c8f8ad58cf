"""The bounds that docs/numerics.md states of each rounding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ternforge_model import fixed
from ternforge_model.integer import recur


def test_sigmoid_is_within_three_steps_of_its_sixteen_bits():
    t = np.arange(-(1 << 15), 1 << 15)
    exact = 1 / (1 + np.exp(-t / 2048))
    assert np.abs(fixed.sigmoid(t) - exact * (1 << 15)).max() < 2.2


@pytest.mark.parametrize("shift", [0, 1, 4, 7])
def test_silu_is_within_a_step_of_its_argument(shift):
    a = np.arange(-(1 << 15), 1 << 15)
    x = a * 2.0 ** (shift - 11)
    exact = x / (1 + np.exp(-np.maximum(x, -700)))
    assert np.abs(fixed.silu(a, shift) - exact * 2.0 ** (11 - shift)).max() <= 1


@given(st.lists(st.integers(-(1 << 23), (1 << 23) - 1), min_size=1, max_size=40))
def test_code_is_within_a_hundredth_of_the_nearest(values):
    v = np.array(values)
    top = np.abs(v).max()
    mantissa, exponent = fixed.normalise(top)
    codes = fixed.code(v, exponent, fixed.reciprocal(mantissa))
    assert np.abs(codes - 127 * v / max(top, 1)).max() < 0.51


@given(st.integers(1, 1 << 23), st.integers(1, 1 << 45), st.integers(1 << 15, (1 << 16) - 1),
       st.integers(-40, -10))
def test_ratio_and_scale_are_within_a_few_parts_of_ten_thousand(top, squares, mantissa, exponent):
    found, place = fixed.ratio(*fixed.normalise(top), np.array(squares))
    exact = top / np.sqrt(squares)
    assert -(2.0**-13) < found * 2.0**place / exact - 1 < 2.0**-14
    multiplier, shift = fixed.scale(mantissa, exponent, found[None], place[None])
    if 0 < shift[0] < 47:
        scaled = multiplier[0] * 2.0 ** -float(shift[0])
        assert -(2.0**-12) < scaled / (mantissa * 2.0**exponent * exact) - 1 < 2.0**-14


@given(st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 15), (1 << 15) - 1),
       st.integers(1, 1 << 15), st.integers(1, 300))
def test_state_stays_between_what_it_blends(start, new, gate, steps):
    """The step is a blend: no overflow, and within half a step per token of the exact one."""
    c = np.full((steps, 1), new)
    h = recur(np.full((steps, 1), gate), c, np.array([start]))[:, 0]
    low, high = min(start, new), max(start, new)
    assert low <= h.min()
    assert h.max() <= high
    before = np.array([start, *h[:-1]])
    exact = new + gate / (1 << 15) * (before - new)
    assert np.abs(h - exact).max() <= 0.5


def test_the_longest_shift_of_a_scale_leaves_nothing():
    """So clipping a longer one to it changes no value: acc has 24 bits, the mantissa 15."""
    assert fixed.rnd((1 << 23) * ((1 << 15) - 1), 47) == 0
