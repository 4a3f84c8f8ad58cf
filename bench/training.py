"""Benchmark of training: the fused BitLinears against the plain ones, memory and time of a step.

    make bench-training
    .venv/bin/python bench/training.py --preset 10m --batch 4 --steps 3

Memory: each form in a process of its own. "peak" is the most resident memory during the steps, less
what the process held before the first one (Linux, VmHWM of /proc/self/status); gradients and the
optimiser's state are in it. "saved" is what autograd keeps between forward and backward pass,
parameters left out, counted by torch.autograd.graph.saved_tensors_hooks. Time: both forms in one
process, step by step in turn; medians of the processor time, which others on the machine disturb
less, and of the wall time.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ternforge.output import print_json
from ternforge_model.recipe import PRECISIONS, PRESETS, Recipe
from ternforge_model.run import Run

FORMS = ("unfused", "fused")


def make_run(recipe: Recipe, form: str) -> Run:
    """A run on random tokens."""
    recipe = replace(recipe, fused=form == "fused", compile=False)
    size = recipe.batch * recipe.window * 4
    tokens = np.random.default_rng(1).integers(0, recipe.config.vocab_size, size)
    return Run(recipe, tokens, "", torch.device("cpu"))


def resident(key: str) -> int:
    """Bytes of this process: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def memory(recipe: Recipe, form: str, steps: int) -> dict[str, int]:
    """Peak of ``steps`` steps in this process, then the saved tensors of one more."""
    run = make_run(recipe, form)
    before = resident("VmRSS")
    for _ in range(steps):
        run.advance()
    peak = resident("VmHWM") - before
    parameters = {p.untyped_storage().data_ptr() for p in run.model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        text = torch.from_numpy(run.streams.next(run.step)[0][: recipe.batch // recipe.accumulate])
        state = run.model.initial_state(len(text))
        with run.precision():
            loss, _ = run.loss(text[:, :-1].contiguous(), text[:, 1:].contiguous(), state)
    del loss
    return {"peak_bytes": peak, "saved_bytes": sum(saved.values())}


def timing(recipe: Recipe, steps: int) -> dict[str, dict[str, float]]:
    """Median step of each form; the first step of each only warms up."""
    runs = {form: make_run(recipe, form) for form in FORMS}
    seconds: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
    for turn in range(steps + 1):
        for form in FORMS if turn % 2 else FORMS[::-1]:
            wall, processor = time.perf_counter(), time.process_time()
            runs[form].advance()
            spent = (time.perf_counter() - wall, time.process_time() - processor)
            if turn:
                seconds[form].append(spent)
    return {form: {"wall_seconds": median(wall for wall, _ in spent),
                   "processor_seconds": median(processor for _, processor in spent)}
            for form, spent in seconds.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fused against unfused training steps.")
    parser.add_argument("--preset", choices=PRESETS, default="10m")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--batch", type=int, help="streams, instead of the preset's")
    parser.add_argument("--steps", type=int, default=5, help="steps of each form to time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--memory", choices=FORMS, help=argparse.SUPPRESS)  # in a child process
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = replace(PRESETS[options.preset], precision=options.precision)
    recipe = replace(recipe, batch=options.batch or recipe.batch)
    if options.memory:
        print(json.dumps(memory(recipe, options.memory, 2)))
        return
    measured: dict[str, dict[str, Any]] = {}
    for form in FORMS:
        child = subprocess.run([sys.executable, *sys.argv, "--memory", form], check=True,
                               stdout=subprocess.PIPE)
        measured[form] = json.loads(child.stdout)
    for form, seconds in timing(recipe, options.steps).items():
        measured[form] |= seconds
    show(recipe, measured, options)


def show(recipe: Recipe, measured: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Print both forms and their ratio."""
    ratio = {key: measured["fused"][key] / measured["unfused"][key] for key in measured["fused"]}
    if options.json:
        print_json({"preset": options.preset, "precision": recipe.precision, "batch": recipe.batch,
                    "accumulate": recipe.accumulate, "window": recipe.window,
                    "threads": options.threads, "steps": options.steps, **measured,
                    "ratio": ratio})
        return
    part = recipe.batch // recipe.accumulate
    table = Table(title=f"{options.preset}, {recipe.precision}, {part} x {recipe.window} tokens, "
                        f"{options.threads} thread(s), median of {options.steps} steps")
    for title in ("what", *FORMS, "fused / unfused"):
        table.add_column(title, justify="left" if title == "what" else "right")
    for key, unit, scale in (("peak_bytes", "MB", 1e-6), ("saved_bytes", "MB", 1e-6),
                             ("processor_seconds", "s", 1.0), ("wall_seconds", "s", 1.0)):
        digits = 0 if unit == "MB" else 2
        table.add_row(f"{key.split('_')[0]} {unit}",
                      *(f"{measured[form][key] * scale:.{digits}f}" for form in FORMS),
                      f"{ratio[key]:.2f} ({100 * (ratio[key] - 1):+.0f} %)")
    Console().print(table)


if __name__ == "__main__":
    main()
