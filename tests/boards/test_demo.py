"""``ternforge demo`` on a toy core and model."""

import json
import re
from pathlib import Path

import pytest

from ternforge.cli import run
from ternforge_boards.board import board
from ternforge_boards.commands import demo
from ternforge_boards.report.files import plain
from ternforge_model.catalog import open_model

from .builds import build_report

pytestmark = [pytest.mark.usefixtures("toy_cores"), pytest.mark.xdist_group("toy-simulator")]


@pytest.fixture
def call(toy_model, capsys, tmp_path, monkeypatch):
    """Runs the demo in an empty folder; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "MODEL", str(toy_model))

    def invoke(*arguments):
        code = run(["demo", "--prompt", "abc", "--tokens", "5", *arguments])
        return code, *capsys.readouterr()

    return invoke


def report(folder, model_hash):
    """A ``report.json`` of the demo's board, its other figures those of a build by hand."""
    told = plain(build_report(folder, lut=20910))
    told["design"] |= {"board": "ulx3s-85f", "model_hash": model_hash, "core_mhz": 93.75}
    told["area"]["available"]["lut"] = 83640
    told["clocks"][0] |= {"achieved_mhz": 97.25, "constrained_mhz": 93.75}
    return json.dumps(told)


def check_speed(out, mhz, source):
    """Tokens per second are the clock over the cycles per token, which are shown rounded."""
    cycles = int(re.findall(r"\n cycles per token +(\d+) ", out)[0])
    speed = int(re.findall(rf"\n tokens/s +(\d+) at {mhz} MHz, {source}\s", out)[0])
    assert speed == pytest.approx(float(mhz) * 1e6 / cycles, abs=1 + speed / cycles)


def test_demo_shows_text_and_verdict(call):
    code, out, _ = call()
    assert code == 0
    assert out.startswith("abc")
    assert out.endswith("bit-exact: 7/7 tokens\n")
    check_speed(out, f"{board(demo.DEFAULT_BOARD).core_mhz:g}", "the board's clock")
    assert "no build here yet" in out
    assert call()[1].partition("\n")[0] == out.partition("\n")[0]  # the seed is fixed
    assert call("--seed", "5")[1].partition("\n")[0] != out.partition("\n")[0]


def test_demo_shows_the_area_of_a_build(call, toy_model, tmp_path):
    folder = Path("build/ulx3s-85f-toy")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(report(tmp_path, open_model(toy_model).program.digest))
    code, out, _ = call()
    assert code == 0
    assert "97.2 MHz (constraint 93.8 MHz), nextpnr" in out
    assert "20,910 of 83,640 (25%)" in out
    check_speed(out, 93.75, "the build's clock")


@pytest.mark.parametrize(("text", "reason"), [
    ("{", "is not a report"), ("", "another model"), ('{"format": 1}', "not a report of format 2"),
])
def test_demo_goes_on_past_a_bad_report(call, text, reason, tmp_path):
    folder = Path("build/ulx3s-85f-toy")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(text or report(tmp_path, "0" * 64))
    code, out, _ = call()
    assert code == 0
    told = " ".join(out.split())
    assert "left out: " in told
    assert reason in told
    assert "LUT4" not in out
    assert out.endswith("bit-exact: 7/7 tokens\n")
