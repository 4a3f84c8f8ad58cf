"""What a report holds: by hand on a netlist of two units."""

import json
from pathlib import Path

import jsonschema
import pytest

from ternforge.output import to_json
from ternforge_boards.report.files import plain, schema_text
from ternforge_boards.report.paths import merged
from ternforge_boards.report.schema import Area, Report, UnitArea
from ternforge_boards.report.text import shown
from ternforge_boards.report.value import Status, Value

from .builds import build_report

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


@pytest.fixture
def report(tmp_path) -> Report:
    return build_report(tmp_path)


def test_schema_in_the_documents_is_that_of_the_code():
    assert json.loads(SCHEMA.read_text()) == Report.model_json_schema()
    assert SCHEMA.read_text() == schema_text()


def test_report_obeys_the_schema_and_a_spoilt_one_does_not(report):
    schema = json.loads(SCHEMA.read_text())
    told = json.loads(to_json(plain(report)))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(told, schema)
    told["throughput"]["tokens_per_second"]["status"] = "guessed"
    with pytest.raises(jsonschema.ValidationError, match="'guessed'"):
        jsonschema.validate(told, schema)


def test_units_are_exact_on_a_netlist_by_hand(report):
    # The table that feeds a flip-flop of the lanes shares its cell; x drives only that table.
    assert report.area.units == (
        UnitArea(name="core.lanes", area=Area(lut=2, ff=1, block_ram=0, dsp=0)),
        UnitArea(name="core", area=Area(lut=1, ff=1, block_ram=1, dsp=0)),
        UnitArea(name="top", area=Area(lut=1, ff=0, block_ram=0, dsp=0)))
    assert report.area.total == Area(lut=5, ff=2, block_ram=1, dsp=0)
    assert (report.area.cells, report.area.indirect) == (6, 1)
    assert report.area.available.lut == 5280


def test_critical_path_is_told_in_units(report):
    [clock] = report.clocks
    assert (clock.net, clock.achieved_mhz, clock.constrained_mhz, clock.met) == (
        "core_clock", 33.25, 30.0, True)
    assert [(step.kind, step.delay_ns, step.unit) for step in clock.path] == [
        ("clk-to-q", 1.25, "core"), ("routing", 2.0, "core"), ("logic", 0.5, "core.lanes"),
        ("setup", 0.25, "core.lanes")]
    assert clock.path[1].cell == "y"
    assert merged(clock.path) == [("core", 0, 3.25, 2.0), ("core.lanes", 1, 0.75, 0.0)]


def test_throughput_follows_from_cycles_and_clock(report):
    told = report.throughput
    assert sum(cause.cycles for cause in told.causes) == told.cycles_per_token.value == 20000
    assert told.tokens_per_second.value == told.tokens_per_second_summed.value == 1500
    assert told.ideal_cycles_per_token.value == 600000 / 5 / 8
    assert told.bandwidth_share.value == 0.75
    assert report.design.memory_bytes_per_second == 240e6
    assert [v.status for v in (told.cycles_per_token, told.ideal_cycles_per_token,
                               told.bandwidth_share)] == ["simulated", "estimated", "simulated"]


def test_streams_share_a_step(tmp_path):
    told = build_report(tmp_path, {"streams": 3}).throughput
    assert told.tokens_per_second.value == 1500
    assert told.tokens_per_second_summed.value == 4500


def test_design_hash_is_of_what_is_built(tmp_path, report):
    again = build_report(tmp_path, {"cycles_per_token": 1.0}, lut=9)
    assert again.design.design_hash == report.design.design_hash


@pytest.mark.parametrize(("value", "text"), [
    (Value(value=6.1e-3, low=4.9e-3, high=7.6e-3, unit="W", status=Status.ESTIMATED, source="x"),
     "4.90 to 7.60 mW"),
    (Value(value=None, unit="W", status=Status.ESTIMATED, source="x"), "unknown"),
    (Value(value=None, low=1.0, high=2e3, unit="W", status=Status.ESTIMATED, source="x"),
     "0.00100 to 2 kW"),
    (Value(value=0.804, unit="1", status=Status.SIMULATED, source="x"), "80.4 %"),
    (Value(value=6144.3, unit="tok/s", status=Status.SIMULATED, source="x"), "6,144 tok/s"),
    (Value(value=2.2e-5, unit="J", status=Status.PUBLISHED, source="x"), "22 μJ"),
    (Value(value=0, unit="W", status=Status.MEASURED, source="x"), "0 W"),
])
def test_figures_as_text(value, text):
    assert shown(value) == text
