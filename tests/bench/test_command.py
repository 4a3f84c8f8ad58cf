"""``python -m bench`` on figures of its own: results, tables, exit codes."""

import json

import pytest

import bench.__main__ as command
from bench.figures import Figure, Measurement, Reach
from ternforge.cli import run_function

SCHEMA = {"name": str, "value": float | int | None, "unit": str, "reach": str,
          "reached": bool | None, "command": str, "group": str, "title": str, "reason": str}


def broken(seeds):
    raise RuntimeError("no such luck")


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def measured(seeds):
        return {"value": len(seeds)}

    depends = ("bench/figures.py",)
    monkeypatch.setattr(command, "MEASUREMENTS", (
        Measurement(name="sound", run=measured, depends=depends, seeded=True),
        Measurement(name="broken", run=broken, depends=depends)))

    def figure(name, of, reach, quick=False):
        return Figure(name=name, title=f"title of {name}", unit="MHz", of=(of,),
                      value=lambda data: data["value"], reach=Reach(reach), quick=quick)

    monkeypatch.setattr(command, "FIGURES", (
        figure("a.seeds", "sound", ">= 5", quick=True), figure("a.more", "sound", ">= 6"),
        figure("b.lost", "broken", "<= 1")))


@pytest.fixture
def call(tmp_path, capsys):
    def invoke(*words):
        code = run_function(command.bench, "python -m bench", [
            *words, "--jobs", "1", "-o", str(tmp_path / "r.json"),
            "--plots", str(tmp_path / "plots")])
        return code, *capsys.readouterr()
    return invoke


def test_results_and_table(call, tmp_path):
    code, told, _ = call()
    assert code == 1
    assert "a.seeds" in told
    assert "failed: broken: RuntimeError: no such luck" in " ".join(
        told.replace("│", " ").split())
    assert "1 of 3 figures with a rule reach it; 1 figures could not be measured" in told
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["format"], found["quick"], found["seeds"]) == (1, False, 5)
    for row in found["figures"]:
        assert row.keys() == SCHEMA.keys()
        assert all(isinstance(row[key], kind) for key, kind in SCHEMA.items())
    assert [(row["name"], row["value"], row["reached"]) for row in found["figures"]] == [
        ("a.seeds", 5, True), ("a.more", 5, False), ("b.lost", None, False)]
    assert found["measurements"].keys() == {"sound"}
    assert (tmp_path / "plots" / "reach.svg").read_text().count("title of") == 2
    assert found["not_run_here"]


def test_plots_are_the_same_for_the_same_figures(call, tmp_path):
    call()
    first = (tmp_path / "plots" / "reach.svg").read_bytes()
    call()
    assert (tmp_path / "plots" / "reach.svg").read_bytes() == first


def test_quick_run_is_marked(call, tmp_path):
    code, told, _ = call("--quick")
    found = json.loads((tmp_path / "r.json").read_text())
    assert (code, found["quick"], found["seeds"]) == (0, True, 1)
    assert [(row["name"], row["value"], row["reached"]) for row in found["figures"]] == [
        ("a.seeds", 1, False)]
    assert found["figures"][0]["command"] == "python -m bench --only a.seeds --quick"
    assert "a part of the figures, 1 seed of nextpnr" in told


def test_only_names_by_pattern_and_json_goes_to_standard_output(call):
    code, told, _ = call("--only", "a.*", "--seeds", "7", "--json")
    rows = json.loads(told)["figures"]
    assert (code, [row["value"] for row in rows]) == (0, [7, 7])


def test_listing_measures_nothing(call, tmp_path):
    code, told, _ = call("--list", "--only", "b.*")
    assert (code, told.split()) == (0, ["b.lost", "<=", "1", "title", "of", "b.lost"])
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(("words", "message"), [
    (("--only", "a.seed"), "error: unknown figure 'a.seed': did you mean 'a.seeds' or 'a.more'?\n"),
    (("--seeds", "0"), "error: --seeds must be positive, not 0\n"),
])
def test_bad_input_is_one_sentence(call, tmp_path, words, message):
    assert call(*words) == (2, "", message)
    assert not (tmp_path / "r.json").exists()
