import pytest

from ternforge.errors import UserError, suggestion, unknown


@pytest.mark.parametrize(("value", "message"), [
    ("ulx3s-85", "unknown board 'ulx3s-85': did you mean 'ulx3s-85f'?"),
    ("ULX3S-85F", "unknown board 'ULX3S-85F': did you mean 'ulx3s-85f'?"),
    ("zynq", "unknown board 'zynq': choose from icebreaker, ulx3s-85f"),
    ("", "unknown board '': choose from icebreaker, ulx3s-85f"),
])
def test_unknown_offers_the_nearest(value, message):
    error = unknown("board", value, ["ulx3s-85f", "icebreaker"])
    assert isinstance(error, UserError)
    assert str(error) == message
    assert error.exit_code == 2


def test_suggestion_names_the_two_nearest():
    assert suggestion("abcd", ["abcx", "xyz", "abce"]) == "did you mean 'abcx' or 'abce'?"


def test_suggestion_of_nothing():
    assert suggestion("x", []) == "there is none"
