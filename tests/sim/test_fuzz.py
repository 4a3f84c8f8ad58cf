"""The host link under damage; `python -m bench.fuzz` does the same a million times."""

import json
import sys

import pytest

from bench import fuzz as bench
from ternforge_sim.fuzz import KINDS, fuzz


@pytest.fixture(scope="module", params=[False, True], ids=["on chip", "off chip"])
def report(request):
    return fuzz(20_000, seed=5, outside=request.param)


def test_nothing_hangs_and_no_spoilt_frame_is_carried_out(report):
    assert report.first == ""
    assert (report.hangs, report.wrong, report.accepted, report.replies_accepted) == (0, 0, 0, 0)
    assert report.sound


def test_all_kinds_of_damage_came(report):
    assert set(report.sent) == set(KINDS)
    assert report.frames >= 20_000
    assert min(report.sent.values()) > 400
    assert report.detected > 7_000
    assert report.replies > 5_000
    assert report.tokens > 1_500  # so that a wrong state would have been seen


def test_runs_are_repeatable():
    first, second = fuzz(300, seed=9), fuzz(300, seed=9)
    assert (first.sent, first.cycles, first.tokens) == (second.sent, second.cycles, second.tokens)
    assert fuzz(300, seed=10).sent != first.sent


def test_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz", "--frames", "400", "--seed", "7"])
    assert bench.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sound"], told["seed"], told["hangs"]) == (True, 7, 0)
    assert sum(told["sent"].values()) + told["sent"]["behind"] == told["frames"] >= 400
