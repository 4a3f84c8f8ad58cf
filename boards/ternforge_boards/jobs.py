"""The tools that a build runs, some side by side: progress of all, and a stop for all."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ternforge.process import ToolError, kill_group, run_tool

__all__ = ["Jobs", "Progress", "console_progress"]

#: Called with the name of a step and its latest line; an empty line means that it has ended.
Progress = Callable[[str, str], object]


class Jobs:
    """Runs tools and can stop those that still run, from any thread.

    Parameters
    ----------
    progress : callable
        Told about each step and each line of its output.
    """

    def __init__(self, progress: Progress | None = None):
        self.progress: Progress = progress or (lambda step, line: None)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, step: str, argv: Sequence[str | Path], *, cwd: Path, log: Path | None = None,
            check: bool = True) -> tuple[int, str]:
        """As :func:`ternforge.process.run_tool`, told to ``progress`` as ``step``."""
        started: list[subprocess.Popen[str]] = []

        def register(process: subprocess.Popen[str]) -> None:
            started.append(process)
            with self._lock:
                if self._stopped:
                    raise ToolError(f"{step} was stopped")
                self._running.add(process)

        self.progress(step, "starts")
        try:
            return run_tool(argv, cwd=cwd, log=log, check=check, on_start=register,
                            on_line=lambda line: self.progress(step, line) if line else None)
        finally:
            with self._lock:
                self._running.difference_update(started)
            self.progress(step, "")

    def stop(self) -> None:
        """Kill what runs, and refuse what would start."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            with contextlib.suppress(OSError):
                kill_group(process)


@contextmanager
def console_progress(console: Console | None = None) -> Iterator[Progress]:
    """Show the running steps with their time and latest line, on standard error.

    Without a terminal, each step is one line when it starts and one when it has ended.
    """
    console = console or Console(stderr=True)
    steps: dict[str, tuple[float, str]] = {}
    lock = threading.Lock()
    spinner = Spinner("dots")

    def table() -> Table:
        grid = Table.grid(padding=(0, 1))
        with lock:
            for step, (start, line) in steps.items():
                seconds = f"{time.monotonic() - start:.0f} s"
                grid.add_row(spinner, step, Text(seconds, style="dim"),
                             Text(line, style="dim", overflow="ellipsis", no_wrap=True))
        return grid

    def update(step: str, line: str) -> None:
        with lock:
            start = steps.get(step, (time.monotonic(), ""))[0]
            if line:
                first = step not in steps
                steps[step] = (start, line)
            else:
                first = False
                steps.pop(step, None)
        seconds = time.monotonic() - start
        if not console.is_terminal:
            if first:
                sys.stderr.write(f"{step} ...\n")
            elif not line:
                sys.stderr.write(f"{step} took {seconds:.0f} s\n")
        elif not line:
            console.print(Text(f"{step} took {seconds:.0f} s", style="dim"))

    if not console.is_terminal:
        yield update
        return
    with Live(get_renderable=table, console=console, refresh_per_second=4, transient=True):
        yield update
