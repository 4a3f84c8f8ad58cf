import pytest

from ternforge.errors import UserError
from ternforge_boards.board import board
from ternforge_boards.pll import pll_settings


@pytest.mark.parametrize("mhz", [25, 50, 80, 90, 100, 125, 133.333, 12.5, 200])
def test_ecp5_frequencies(mhz):
    settings = pll_settings(board("ulx3s-85f"), mhz)
    p = settings.parameters
    output = 25 * int(p["CLKFB_DIV"]) / int(p["CLKI_DIV"])  # the feedback is CLKOP itself
    assert settings.output_mhz == output == pytest.approx(mhz, rel=0.005)
    assert 400 <= output * int(p["CLKOP_DIV"]) <= 800
    assert 25 / int(p["CLKI_DIV"]) >= 3.125


@pytest.mark.parametrize("mhz", [16.5, 20, 24, 30, 36, 39.75, 40, 48, 60])
def test_ice40_frequencies(mhz):
    settings = pll_settings(board("icebreaker"), mhz)
    p = settings.parameters
    output = 12 * (int(p["DIVF"]) + 1) / (int(p["DIVR"]) + 1) / 2 ** int(p["DIVQ"])
    assert settings.output_mhz == output == pytest.approx(mhz, rel=0.01)
    assert 533 <= settings.vco_mhz <= 1066
    assert p["FILTER_RANGE"] == 1


def test_settings_agree_with_the_vendor_tools():
    # icepll -i 12 -o 30; ecppll -i 25 -o 90
    assert pll_settings(board("icebreaker"), 30).parameters == {
        "FEEDBACK_PATH": "SIMPLE", "DIVR": 0, "DIVF": 79, "DIVQ": 5, "FILTER_RANGE": 1,
    }
    p = pll_settings(board("ulx3s-85f"), 90).parameters
    assert [p["CLKI_DIV"], p["CLKFB_DIV"], p["CLKOP_DIV"]] == [5, 18, 7]


def test_instance_arguments():
    arguments = pll_settings(board("ulx3s-85f"), 100).instance_arguments
    assert arguments["p_CLKI_DIV"] == 1
    assert arguments["p_FEEDBK_PATH"] == "CLKOP"
    assert arguments["a_FREQUENCY_PIN_CLKOP"] == "100"


@pytest.mark.parametrize(("name", "mhz", "nearest"), [
    ("icebreaker", 5, "16.12"), ("icebreaker", 500, "270"), ("ulx3s-85f", 1000, "400"),
    ("ulx3s-85f", 1, "3.125"),
])
def test_impossible_frequency_names_the_nearest(name, mhz, nearest):
    with pytest.raises(UserError, match=f"^the clock of {name} cannot be {mhz} MHz: the nearest "
                                        f"that its PLL makes is {nearest} MHz$"):
        pll_settings(board(name), mhz)


@pytest.mark.parametrize("mhz", [0, -1, float("nan")])
def test_frequency_must_be_positive(mhz):
    with pytest.raises(UserError, match=f"^the clock must be a positive frequency in MHz, "
                                        f"not {mhz}$"):
        pll_settings(board("ulx3s-85f"), mhz)
