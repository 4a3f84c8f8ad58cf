"""The published currents of the UP5K, from netlists that are synthesised and simulated here."""

import pytest

from ternforge_boards.board import board
from ternforge_boards.power.coefficients import UNITS, coefficients_of
from ternforge_boards.power.designs import counter, counts_of, multiplier
from ternforge_boards.power.fit import TERMS, fit_published
from ternforge_boards.power.gates import Delays
from ternforge_boards.power.published import POINTS, VOLTS


@pytest.fixture(scope="module")
def fitted():
    return fit_published()


def test_each_published_point_is_within_five_per_cent(fitted):
    assert len(fitted.points) == len(POINTS) == 16 > len(TERMS)
    for point in fitted.points:
        assert abs(point.error) < 0.05, point


def test_points_left_out_are_predicted(fitted):
    """Each point that can be is predicted from the others within 8 %."""
    left_out = {point.name: point.left_out_error for point in fitted.points}
    alone = {name for name, error in left_out.items() if error is None}
    assert alone == {"low oscillator, 24 bits", "high oscillator 12 MHz, product in tables",
                     "high oscillator 12 MHz, product in a DSP"}
    assert max(abs(error) for error in left_out.values() if error is not None) < 0.08


def test_coefficients_are_the_fit(fitted):
    """Rows marked as measured say what is fitted here: uA per MHz is pJ over the voltage."""
    given = coefficients_of(board("icebreaker"))
    for name in ("static", "clock", "flip_flop_clock", "sink", "dsp", "pll"):
        row = given[name]
        scale, _ = UNITS[row.unit]
        fit = fitted.values[name] * 1e-6 * (1 if name == "static" else VOLTS * 1e-6)
        assert row.figure * scale == pytest.approx(fit, rel=5e-3), name


def test_functional_toggles_have_their_own_coefficient():
    counts, _ = counts_of(multiplier, "high")
    given = coefficients_of(board("icebreaker"))
    assert (given["sink_functional"].figure / given["sink"].figure == pytest.approx(
        counts.sink_toggles / counts.functional_sink_toggles, rel=1e-2))


@pytest.mark.parametrize(("make", "arguments", "dsp", "cells"), [
    (counter, ("pin", 28), False, 32), (counter, ("pin", 224), False, 228),
    (multiplier, ("high",), False, 208), (multiplier, ("high",), True, 72)])
def test_designs_have_the_published_size(make, arguments, dsp, cells):
    """Logic cells within 4 and 4 %; the published counters also join their inputs."""
    _, netlist = counts_of(make, *arguments, dsp=dsp)
    assert netlist.counts["lut"] == pytest.approx(cells, abs=4 + 0.04 * cells)
    assert netlist.counts["dsp"] == dsp


def test_unit_delays_tell_the_same(fitted):
    """The model of delays matters little: glitches of the multiplier are few in either."""
    unit = fit_published(Delays(table=1, carry=1, block=1))
    assert unit.worst < 0.05
    assert unit.values["sink"] == pytest.approx(fitted.values["sink"], rel=0.05)
