"""Time and memory of ``ternforge import`` and ``ternforge image --verify`` at released sizes.

Writes a synthetic checkpoint, imports it in a process of its own, checks the image, and prints what
both took. ``python bench/import.py --size 370m``; with 2.7b it needs 7 GB of disk.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command, run_function
from ternforge.errors import UserError
from ternforge.output import print_json

MAIN = "from ternforge.cli import main; main()"
#: Most memory, in bytes, and time, in seconds, that an import should take.
LIMITS = {"370m": (1.0e9, 180.0), "1.3b": (2.0e9, None), "2.7b": (2.0e9, None)}


def _run(*arguments: str) -> tuple[dict[str, Any], float, int]:
    """JSON output, seconds, and peak resident bytes of one command."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", MAIN, *arguments, "--json"],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"ternforge {arguments[0]} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(output), time.perf_counter() - started, usage.ru_maxrss * unit


@command(example="python bench/import.py --size 370m")
def bench(
    size: Annotated[str, typer.Option("--size", help=f"One of {', '.join(LIMITS)}.")] = "370m",
    folder: Annotated[Path | None, typer.Option(
        "--folder", metavar="DIR", help="Use this checkpoint instead of writing one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what an import takes."""
    if size not in LIMITS:
        raise UserError(f"--size must be one of {', '.join(LIMITS)}, not {size!r}")
    work = Path(tempfile.mkdtemp(prefix="ternforge-import-"))
    try:
        source = folder or work / size
        if folder is None:
            subprocess.run([sys.executable, "-m", "ternforge_model.synthetic", "--size", size,
                            "--dtype", "float16", "-o", str(source)], check=True,
                           stdout=subprocess.DEVNULL)
        image = work / "model.tfi"
        made, seconds, memory = _run("import", str(source), "-o", str(image))
        _, check_seconds, check_memory = _run("image", "--verify", str(image), "--core",
                                              made["core"])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    record = {"size": size, "core": made["core"], "image_bytes": made["bytes"],
              "import_seconds": seconds, "import_peak_bytes": memory,
              "verify_seconds": check_seconds, "verify_peak_bytes": check_memory,
              "calibration": made["calibration"], "cpus": os.cpu_count()}
    if as_json:
        print_json(record)
    else:
        table = Table(title=f"{size} for {made['core']}, image of {made['bytes'] / 1e6:,.1f} MB")
        for title in ("step", "seconds", "peak MB"):
            table.add_column(title, justify="left" if title == "step" else "right")
        for step in ("import", "verify"):
            table.add_row(step, f"{record[f'{step}_seconds']:.1f}",
                          f"{record[f'{step}_peak_bytes'] / 1e6:,.0f}")
        Console().print(table)
    most, longest = LIMITS[size]
    if memory > most or (longest is not None and seconds > longest):
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(run_function(bench, "python bench/import.py"))
