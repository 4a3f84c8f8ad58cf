"""Every verb on a checkpoint of a released size: what it takes, and what it finds.

Writes a synthetic checkpoint, then runs ``import``, ``image --verify``, ``generate``, ``simulate``
(a prompt of three tokens on the RTL) and ``eval``, each in a process of its own. ``python
bench/released.py --size 370m``; 2.7b needs 7 GB of disk, and ``eval`` 15 bytes of memory for each
parameter.
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
from ternforge.presets import core_preset
from ternforge.process import TERNFORGE
from ternforge_sim.runner import build_simulator

TEXT = Path(__file__).parents[1] / "README.md"
#: Most peak memory in bytes, and longest time in seconds, of verbs by size.
LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "370m": {"import": (1.0e9, 180), "simulate": (float("inf"), 60)},
    "1.3b": {"import": (2.0e9, float("inf"))}, "2.7b": {"import": (2.0e9, float("inf"))},
}
VERBS = ("import", "verify", "generate", "simulate", "eval")


def _run(*arguments: object) -> dict[str, Any]:
    """JSON output of one command, its seconds and its peak resident bytes."""
    started = time.perf_counter()
    process = subprocess.Popen([*TERNFORGE, *map(str, arguments), "--json"],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"ternforge {arguments[0]} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": time.perf_counter() - started, "peak_bytes": usage.ru_maxrss * unit,
            "output": json.loads(output)}


def measure(source: Path, image: Path, verbs: list[str]) -> dict[str, dict[str, Any]]:
    """What each of ``verbs`` took and printed, on the checkpoint ``source``."""
    found = {"import": _run("import", source, "-o", image)}
    core = found["import"]["output"]["core"]
    rest = {"verify": ("image", "--verify", image, "--core", core),
            "generate": ("generate", "--image", image, "--prompt", "A", "--tokens", 32),
            "simulate": ("simulate", "--image", image, "--board", core, "--prompt", "A",
                         "--tokens", 1),
            "eval": ("eval", "--model", source, "--text", TEXT, "--limit", 65)}
    if "simulate" in verbs:
        build_simulator(core_preset(core))
    return found | {verb: _run(*rest[verb]) for verb in verbs if verb in rest}


def results(verb: str, output: dict[str, Any]) -> str:
    """What ``verb`` found, in a line."""
    match verb:
        case "import":
            return f"image of {output['bytes'] / 1e6:,.1f} MB for {output['core']}"
        case "verify":
            return ", ".join(f"{count} {name}" for name, count in output["packets"].items())
        case "generate":
            return f"{output['tokens_per_second']:.1f} tokens/s on {output['threads']} threads"
        case "simulate":
            return (f"{output['checked_tokens']} tokens, "
                    f"{'bit-exact' if output['bit_exact'] else 'NOT bit-exact'}, "
                    f"{output['cycles_per_token']:,.0f} cycles each, share "
                    f"{output['weight_stream_share']:.1%}")
    return (f"loss {output['float_loss']:.4f}, integer {output['integer_loss']:.4f}; "
            f"{sum(output['saturations'].values())} saturations in {output['tokens']} tokens")


def shortfalls(size: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """What did not reach its limit."""
    misses = [f"{verb}: {found[verb]['seconds']:.0f} s, {found[verb]['peak_bytes'] / 1e6:,.0f} MB, "
              f"more than {longest:g} s or {most / 1e6:,.0f} MB"
              for verb, (most, longest) in LIMITS[size].items() if verb in found
              and (found[verb]["seconds"] > longest or found[verb]["peak_bytes"] > most)]
    if "simulate" in found and not found["simulate"]["output"]["bit_exact"]:
        misses.append("simulate: not bit-exact")
    return misses


@command(example="python bench/released.py --size 370m\n"
                 "python bench/released.py --size 2.7b --only verify --only generate")
def bench(
    size: Annotated[str, typer.Option("--size", help=f"One of {', '.join(LIMITS)}.")] = "370m",
    folder: Annotated[Path | None, typer.Option(
        "--folder", metavar="DIR", help="Use this checkpoint instead of writing one.")] = None,
    only: Annotated[list[str] | None, typer.Option(
        "--only", metavar="VERB", help="Beside import, run only this; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure every verb on one checkpoint."""
    if size not in LIMITS:
        raise UserError(f"--size must be one of {', '.join(LIMITS)}, not {size!r}")
    verbs = list(VERBS if only is None else only)
    if wrong := [verb for verb in verbs if verb not in VERBS]:
        raise UserError(f"--only must be one of {', '.join(VERBS)}, not {wrong[0]!r}")
    work = Path(tempfile.mkdtemp(prefix="ternforge-released-"))
    try:
        if folder is None:
            subprocess.run([sys.executable, "-m", "ternforge_model.synthetic", "--size", size,
                            "--dtype", "float16", "-o", str(work / size)], check=True,
                           stdout=subprocess.DEVNULL)
        found = measure(folder or work / size, work / "model.tfi", verbs)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    misses = shortfalls(size, found)
    if as_json:
        print_json({"size": size, "cpus": os.cpu_count(), "verbs": found, "shortfalls": misses})
    else:
        table = Table("verb", title=f"{size}, {os.cpu_count()} CPUs")
        table.add_column("seconds", justify="right")
        table.add_column("peak MB", justify="right")
        table.add_column("result")
        for verb, row in found.items():
            table.add_row(verb, f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e6:,.0f}",
                          results(verb, row["output"]))
        console = Console()
        console.print(table)
        for miss in misses:
            console.print(miss, soft_wrap=True)
    if misses:
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(run_function(bench, "python bench/released.py"))
