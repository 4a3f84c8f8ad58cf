"""The three calibration bitstreams through synthesis, place and route."""

import pytest

from ternforge_boards.board import board
from ternforge_boards.power.bitstreams import BITSTREAMS, write_bitstreams

pytestmark = pytest.mark.slow


def test_bitstreams_of_the_icebreaker(tmp_path):
    out = tmp_path / "power"
    files = write_bitstreams(board("icebreaker"), out)
    assert files == [*(f"{name}.bin" for name in sorted(BITSTREAMS[:2])), "measurements.csv",
                     "toggle.bin"]
    contents = [(out / f"{name}.bin").read_bytes() for name in BITSTREAMS]
    assert len(set(contents)) == 3
    assert all(len(content) > 100_000 for content in contents)  # the UP5K's size
