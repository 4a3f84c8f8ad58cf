"""Builds a bench's Verilog for a simulator, once per content, and runs its cocotb tests."""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from unittest import mock

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Icarus, Runner, Verilator, VerilatorControlFile

from ternforge.cache import cached, content_key
from ternforge.verilog import VerilogDesign, generate
from ternforge_sim.runner import generator_key
from ternforge_sim.verilator import verilator_root, verilator_version

from .units import BENCHES, Together

__all__ = ["BenchFailure", "bench_verilog", "run_bench"]

TOP = "bench"
TIMESCALE = ("1ns", "1ps")

#: Smallest design there is, to compile what all designs need.
EMPTY = f"module {TOP} (input clk);\nendmodule\n"

#: Compiling takes longer than these benches run.
OPTIMISE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")


class BenchFailure(AssertionError):
    """A cocotb test failed; the text is the end of the simulator's log."""


class _Ports(Verilator):
    """Verilator with access to the ports alone, which keeps its optimisations.

    The runner would make every signal public, and compile Verilator's own code each time.
    """

    def _build_command(self):
        verilate, make = super()._build_command()
        old = [option for ready in sorted(self.build_dir.glob("verilated*.o"))
               for option in ("-o", ready.name)]
        return [[part for part in verilate if part != "--public-flat-rw"], [*make, *old]]


#: What can run the benches, by name.
SIMULATORS: dict[str, type[Runner]] = {"verilator": _Ports, "icarus": Icarus}


@contextmanager
def _tools_on_path() -> Iterator[None]:
    """The repaired Verilator first on ``PATH``; compilers without a ``make`` above them."""
    path = f"{verilator_root() / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    tools = {"PATH": path, "MAKEFLAGS": " ".join(OPTIMISE),
             "OBJCACHE": shutil.which("ccache") or ""}
    with mock.patch.dict(os.environ, tools):
        yield


def bench_verilog(name: str) -> VerilogDesign:
    """Generated Verilog of the units of bench ``name``."""
    return generate(Together(BENCHES[name]()), TOP)


def _verilate(source: Path, ports: Sequence[str], folder: Path) -> None:
    control = folder / "ports.vlt"
    control.write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{TOP}" -var "{port}"\n' for port in ports))
    _Ports().build(
        sources=[VerilatorControlFile(control), source], hdl_toplevel=TOP, build_dir=folder,
        build_args=["-Wno-fatal", "-Wno-lint", "--x-assign", "fast", "--x-initial", "fast"],
        timescale=TIMESCALE, log_file=folder / "build.log")


def _verilated(source: Path, ports: Sequence[str]) -> Path:
    """Folder of the simulator made from ``source``; Verilator's own code is compiled once."""
    base = ("verilator", verilator_version(), metadata.version("cocotb"), sys.prefix, OPTIMISE,
            Path(__file__))

    def compile_runtime(folder: Path) -> None:
        empty = folder / f"{TOP}.v"
        empty.write_text(EMPTY)
        _verilate(empty, ["clk"], folder)

    def compile_all(folder: Path) -> None:
        for ready in runtime.glob("verilated*.o"):
            shutil.copyfile(ready, folder / ready.name)
        _verilate(source, ports, folder)

    runtime = cached("cocotb", content_key(*base), compile_runtime)
    return cached("cocotb", content_key(*base, source, list(ports)), compile_all)


def _icarus(source: Path, folder: Path) -> Path:
    Icarus().build(sources=[source], hdl_toplevel=TOP, build_args=["-g2005"], build_dir=folder,
                   timescale=TIMESCALE, always=True)
    return folder


def run_bench(name: str, scratch: Path, *, simulator: str = "verilator",
              verilog: str | None = None, seed: int = 1) -> int:
    """Run the cocotb tests of ``bench_<name>`` on generated Verilog.

    Parameters
    ----------
    name : str
        One of :data:`~ternforge_sim.cocotb.units.BENCHES`.
    scratch : Path
        Folder for results and log.
    simulator : "verilator" or "icarus"
        What runs the Verilog. Verilator's builds are cached by content.
    verilog : str, optional
        Other text than the generated one, with the same ports.
    seed : int
        For the benches' random numbers.

    Returns
    -------
    int
        How many tests passed.

    Raises
    ------
    BenchFailure
        If a test failed, the simulation broke off, or there was no test.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"run_bench simulator must be one of {', '.join(SIMULATORS)}, "
                         f"not {simulator!r}")
    scratch.mkdir(parents=True, exist_ok=True)

    def write(folder: Path) -> None:
        design = bench_verilog(name)
        design.write(folder)
        (folder / "ports.txt").write_text("\n".join(port.name for port in design.ports))

    made = cached("verilog", content_key("bench", name, generator_key(), Path(__file__),
                                         Path(__file__).with_name("units.py")), write)
    source = made / f"{TOP}.v"
    if verilog is not None:
        source = scratch / f"{TOP}.v"
        source.write_text(verilog)
    ports = (made / "ports.txt").read_text().split()
    with _tools_on_path():
        runner = SIMULATORS[simulator]()
        folder = (_icarus(source, scratch / "build") if simulator == "icarus"
                  else _verilated(source, ports))
        log, results = scratch / "log.txt", scratch / "results.xml"
        status: int | str | None = 0
        try:
            runner.test(test_module=f"ternforge_sim.cocotb.bench_{name}", hdl_toplevel=TOP,
                        hdl_toplevel_lang="verilog", build_dir=folder, test_dir=scratch,
                        results_xml=str(results), seed=seed, log_file=log)
        except (SystemExit, RuntimeError) as error:
            status = str(error) or "failed"
    count, failed = get_results(results) if results.is_file() else (0, 0)
    if status or failed or not count:
        raise BenchFailure(f"{failed} of {count} cocotb tests of bench_{name} failed:\n"
                           + log.read_text()[-4000:])
    return count
