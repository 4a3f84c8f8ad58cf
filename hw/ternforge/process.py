"""Run the tools of the flow: output to a log, nothing left running after Ctrl-C."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ternforge.errors import UserError

__all__ = ["TERNFORGE", "ToolError", "find_tool", "kill_group", "run_tool"]

#: The console script, run by this Python.
TERNFORGE = (sys.executable, "-c", "from ternforge.cli import main; main()")


class ToolError(UserError):
    """A tool of the flow failed; ``output`` holds everything that it printed."""

    exit_code = 1

    def __init__(self, message: str, output: str = ""):
        super().__init__(message)
        self.output = output


def find_tool(name: str, install: str) -> str:
    """Full path of an executable: beside this Python first, then on ``PATH``.

    Parameters
    ----------
    name : str
        File name of the executable.
    install : str
        What to install to get it, for the message when it is missing.
    """
    beside = Path(sys.executable).parent / name
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise UserError(f"the tool {name} is not installed: install {install}")
    return found


def run_tool(
    argv: Sequence[str | Path],
    *,
    cwd: Path,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], object] | None = None,
    on_start: Callable[[subprocess.Popen[str]], object] | None = None,
    check: bool = True,
) -> tuple[int, str]:
    """Run one tool to its end and return its exit status and output (both streams together).

    The tool runs in a process group of its own, which is killed on any exception here, such as
    Ctrl-C, so that no grandchild (a compiler under ``make``) goes on writing.

    Parameters
    ----------
    argv : sequence
        Program and arguments.
    cwd : Path
        Folder to run in.
    log : Path
        Also write the output to this file.
    env : mapping
        Variables set on top of the current environment.
    on_line : callable
        Called with each line of output as it appears.
    on_start : callable
        Called with the process, for callers that stop it from another thread.
    check : bool
        Raise :class:`ToolError` with the last error line if the status is not zero.
    """
    name = Path(argv[0]).name
    lines: list[str] = []
    process = subprocess.Popen(
        [str(arg) for arg in argv], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
        errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )
    try:
        if on_start is not None:
            on_start(process)
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                lines.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))
        status = process.wait()
    except BaseException:
        kill_group(process)
        raise
    output = "".join(lines)
    if log is not None:
        log.write_text(output)
    if check and status != 0:
        raise ToolError(f"{name} failed: {_reason(lines, status)}", output)
    return status, output


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process that :func:`run_tool` started, with all its children, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(lines: list[str], status: int) -> str:
    """The line that says why: the first error, else the last line."""
    told = [line.strip() for line in lines if line.strip()]
    for line in told:
        if ("error" in line.lower() and not line.startswith("make")) or "***" in line:
            return line
    if status < 0:
        return f"killed by signal {-status}"
    return told[-1] if told else f"exit status {status} and no output"
