"""From a shipped model to a bitstream that meets every clock, for each board; minutes each."""

import json

import pytest

from ternforge.cli import run
from ternforge_boards.board import boards

#: The largest shipped model that each holds.
MODELS = {name: "shakespeare-up5k" if name.startswith("icebreaker") else "shakespeare-85f"
          for name in boards()}
#: A seed of nextpnr that meets every clock, where the first does not.
SEEDS = {"ulx3s-85f-sdram": 3}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "model"), MODELS.items())
def test_bitstream_meets_its_clocks(name, model, tmp_path, capsys):
    check = ["--check-netlist"] if boards()[name].memory is None else []
    assert run(["build", "--board", name, "--model", model, "-o", str(tmp_path), "--json",
                "--seed", str(SEEDS.get(name, 1)), *check]) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(clock["met"] for clock in report["clocks"])
    assert report["evidence"]["bit_exact"]
    assert report["throughput"]["tokens_per_second"]["value"] > 0
    total = report["area"]["total"]
    for what in ("lut", "ff", "block_ram", "dsp"):
        assert total[what] <= getattr(boards()[name].resources, what)
        summed = sum(unit["area"][what] for unit in report["area"]["units"])
        assert summed == pytest.approx(total[what], rel=0.02)
    causes = report["throughput"]["causes"]
    assert sum(cause["cycles"] for cause in causes) == (
        report["throughput"]["cycles_per_token"]["value"])
    assert len({unit["name"] for unit in report["area"]["units"]}) > 10
    assert (tmp_path / "report.json").is_file()
    assert [path for path in tmp_path.iterdir() if path.suffix in (".bit", ".bin", ".fs")]
