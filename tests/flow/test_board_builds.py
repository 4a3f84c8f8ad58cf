"""From a shipped model to a bitstream that meets every clock, for each board; minutes each."""

import json

import pytest

from ternforge.cli import run
from ternforge_boards.board import boards

#: The largest shipped model that each holds.
MODELS = {name: "shakespeare-up5k" if name == "icebreaker" else "shakespeare-85f"
          for name in boards()}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), MODELS.items())
def test_bitstream_meets_its_clocks(name, model, tmp_path, capsys):
    assert run(["build", "--board", name, "--model", model, "-o", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["met"]
    assert report["bit_exact"]
    assert report["tokens_per_second"] > 0
    for what in ("lut", "ff", "block_ram", "dsp"):
        assert report[what] <= getattr(boards()[name].resources, what)
    assert (tmp_path / "report.json").is_file()
    assert [path for path in tmp_path.iterdir() if path.suffix in (".bit", ".bin", ".fs")]
