"""Builds a bench's Verilog for a simulator, once per content, and runs its cocotb tests."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Icarus, Runner, VerilatorControlFile
from cocotb_tools.runner import Verilator as _Verilator

from ternforge.cache import cached, content_key
from ternforge.verilog import VerilogDesign, generate
from ternforge_sim.runner import generator_key
from ternforge_sim.verilator import verilator_root, verilator_version

from .units import BENCHES, Together

__all__ = ["BenchFailure", "bench_verilog", "run_bench"]

TOP = "bench"

#: Compiling takes longer than these benches run.
OPTIMISE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")


class BenchFailure(AssertionError):
    """A cocotb test failed; the text is the end of the simulator's log."""


class _OnlyPorts(_Verilator):
    """Verilator with access to the ports alone, which keeps its optimisations.

    The runner would make every signal public.
    """

    def _build_command(self):
        return [[part for part in command if part != "--public-flat-rw"]
                for command in super()._build_command()]


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


def _runner(simulator: str) -> Runner:
    kinds = {"verilator": _OnlyPorts, "icarus": Icarus}
    if simulator not in kinds:
        raise ValueError(f"run_bench simulator must be one of {', '.join(kinds)}, "
                         f"not {simulator!r}")
    return kinds[simulator]()


def _build(runner: Runner, simulator: str, source: Path, folder: Path, ports: list[str]):
    sources: list = [source]
    arguments = ["-g2005"]
    if simulator == "verilator":
        control = folder / "ports.vlt"
        control.write_text("`verilator_config\n" + "".join(
            f'public_flat_rw -module "{TOP}" -var "{port}"\n' for port in ports))
        sources.insert(0, VerilatorControlFile(control))
        arguments = ["-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "fast", "--x-initial", "fast"]
    runner.build(sources=sources, hdl_toplevel=TOP, build_args=arguments, build_dir=folder,
                 timescale=("1ns", "1ps"), always=True, log_file=folder / "build.log")


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
        runner = _runner(simulator)
        if simulator == "verilator":
            key = content_key(simulator, verilator_version(), sys.version, source, Path(__file__))
            folder = cached("cocotb", key, lambda folder: _build(runner, simulator, source, folder,
                                                                 ports))
        else:
            folder = scratch / "build"
            folder.mkdir(exist_ok=True)
            _build(runner, simulator, source, folder, ports)
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
