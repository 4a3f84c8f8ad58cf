"""What is taken of a build's report."""

from pathlib import Path

import pytest

from bench import systems
from ternforge_boards.report.files import write_report
from tests.boards.builds import build_report


def test_figures_of_a_build_are_those_of_its_report(tmp_path, monkeypatch):
    report = build_report(tmp_path)

    def build(words, **options):
        assert words[-7:-1] == ["--board", "icebreaker", "--model", "shakespeare-up5k",
                                "--allow-timing-fail", "-o"]
        write_report(report, Path(words[-1]) / "report.json")

    monkeypatch.setattr(systems, "run_tool", build)
    found = systems.measure("shakespeare-up5k", [1])
    assert found["checked_tokens"] >= 1
    assert found["bit_exact"] is True
    assert found["lut"] == report.area.total.lut
    for figure in systems.FIGURES:
        if figure.of == ("board.icebreaker",):
            assert figure.value(found) >= 0
    assert found["tokens_per_second"] == pytest.approx(
        report.throughput.tokens_per_second.value)
