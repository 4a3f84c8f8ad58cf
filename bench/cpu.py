"""CPU inference from a packet image against the float32 PyTorch reference, at batch 1.

    make bench-cpu
    .venv/bin/python bench/cpu.py --layers 4 --tokens 16

Both run the shapes of the released 370M model with random weights, token by token, one after the
other in processes of their own. Memory is what the model adds to the resident memory of a process
that has imported everything and run a toy. The reference holds float32 parameters and, from the
first token on, the ternary codes of them in float32; the ratio counts the parameters alone. Speeds
depend on the machine and on what else it does, so they are not kept in the repository: the table
shows the fastest token and the median, and the ratio of each. Exits with 1 if a ratio of fastest
tokens or of memory is below ``--least-speed`` or ``--least-memory``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ternforge_firmware.cpu.engine import CHUNK, Engine
from ternforge_firmware.cpu.jit import thread_limit
from ternforge_firmware.generate import HOST_CORE
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.lower import lower
from ternforge_model.toy import random_program, wide_program

#: Shapes of the released model of 370M parameters.
WIDTH, LAYERS, MLP, VOCAB = 1024, 24, 2816, 32000
WARM = 3  #: tokens that are not timed


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """The most that was ever resident, in bytes; ``ru_maxrss`` would be that of the parent too."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) * 1024


def timed(step: Callable[[int], object], tokens: int) -> list[float]:
    """Seconds of each token after the first :data:`WARM`."""
    seconds = []
    for n in range(WARM + tokens):
        started = time.perf_counter()
        step(n * 7919 % VOCAB)
        seconds.append(time.perf_counter() - started)
    return seconds[WARM:]


def measure_image(path: str, layers: int, tokens: int, threads: int) -> dict[str, Any]:
    """The engine, on an image file."""
    engine = Engine(lower(random_program(1), HOST_CORE), threads=threads)
    engine.step(1)
    before, state = resident(), None
    started = time.perf_counter()
    engine = Engine(ImageFile(path), threads=threads)
    loaded = time.perf_counter() - started

    def step(token: int) -> None:
        nonlocal state
        state = engine.step(token, state).state

    seconds = timed(step, tokens)
    started = time.perf_counter()
    engine.forward(np.arange(4 * CHUNK))
    prompt = (time.perf_counter() - started) / (4 * CHUNK)
    return {"seconds": seconds, "load_seconds": loaded, "prompt_seconds": prompt,
            "memory": resident() - before, "peak": peak() - before, "process": resident()}


def measure_torch(path: str, layers: int, tokens: int, threads: int) -> dict[str, Any]:
    """The float reference of the same shapes."""
    import torch

    from ternforge_model.config import ModelConfig
    from ternforge_model.reference import ReferenceModel

    def reference(depth: int, width: int, mlp: int, vocab: int) -> ReferenceModel:
        return ReferenceModel(ModelConfig(
            vocab_size=vocab, hidden_size=width, num_hidden_layers=depth, intermediate_size=mlp,
            bos_token_id=None, eos_token_id=None))

    torch.set_num_threads(threads)
    toy = reference(1, 64, 128, 64)
    with torch.inference_mode():
        toy(torch.tensor([[1]]))
    before, state = resident(), None
    model = reference(layers, WIDTH, MLP, VOCAB)
    parameters = resident() - before

    def step(token: int) -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = model(torch.tensor([[token]]), state, return_state=True)

    seconds = timed(step, tokens)
    return {"seconds": seconds, "memory": parameters, "with_codes": resident() - before,
            "process": resident()}


def in_process(what: str, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    # Threads that wait do not spin for long, so that a busy machine hurts both alike.
    environment = {**os.environ, "GOMP_SPINCOUNT": "200"}
    arguments = [what, path, options.layers, options.tokens, options.threads]
    done = subprocess.run([sys.executable, __file__, "--measure", *map(str, arguments)],
                          stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    """Command line."""
    if sys.argv[1:2] == ["--measure"]:
        what, path, *numbers = sys.argv[2:]
        measure = {"image": measure_image, "torch": measure_torch}[what]
        print(json.dumps(measure(path, *map(int, numbers))))
        return
    parser = argparse.ArgumentParser(description="CPU inference against the PyTorch reference.")
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer make it quick")
    parser.add_argument("--tokens", type=int, default=30, help="tokens to time")
    parser.add_argument("--threads", type=int, default=thread_limit(), help="of both")
    parser.add_argument("--image", type=Path, help="keep the image there, or use what is there")
    parser.add_argument("--least-speed", type=float, default=0.0, help="ratio that must be reached")
    parser.add_argument("--least-memory", type=float, default=0.0, help="the same of memory")
    options = parser.parse_args()
    for name in ("layers", "tokens"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be positive, not {getattr(options, name)}")
    if options.threads not in range(1, thread_limit() + 1):
        parser.error(f"--threads must be in 1..{thread_limit()}, not {options.threads}")
    load = os.getloadavg()[0]
    with (tempfile.TemporaryDirectory() as folder,
          Console(stderr=True).status("writing the image ...") as status):
        path = options.image or Path(folder) / "synthetic.tfi"
        if not path.exists():
            program = wide_program(0, d=WIDTH, layers=options.layers, m=MLP, vocab=VOCAB)
            lower(program, HOST_CORE).write(path)
            del program
        size = path.stat().st_size
        status.update("running the image ...")
        ours = in_process("image", path, options)
        status.update("running the PyTorch reference ...")
        theirs = in_process("torch", path, options)
    speeds = {name: pick(theirs["seconds"]) / pick(ours["seconds"])
              for name, pick in (("fastest", min), ("median", median))}
    memory = theirs["memory"] / ours["memory"]
    table = Table("", "image", "PyTorch", "ratio", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, pick in (("fastest", min), ("median", median)):
        table.add_row(f"{name} token, ms", f"{pick(ours['seconds']) * 1e3:.1f}",
                      f"{pick(theirs['seconds']) * 1e3:.1f}", f"{speeds[name]:.1f}")
    table.add_row("memory of the model, MB", f"{ours['memory'] / 1e6:.0f}",
                  f"{theirs['memory'] / 1e6:.0f}", f"{memory:.1f}")
    table.add_row("largest, or with codes, MB", f"{ours['peak'] / 1e6:.0f}",
                  f"{theirs['with_codes'] / 1e6:.0f}",
                  f"{theirs['with_codes'] / ours['peak']:.1f}")
    table.add_row("whole process, MB", f"{ours['process'] / 1e6:.0f}",
                  f"{theirs['process'] / 1e6:.0f}", f"{theirs['process'] / ours['process']:.1f}")
    table.add_row("prompt, ms per token", f"{ours['prompt_seconds'] * 1e3:.1f}", "", "")
    table.add_row("load, s", f"{ours['load_seconds']:.1f}", "", "")
    console = Console()
    console.print(table)
    console.print(f"{options.layers} layers, {options.threads} threads, image of "
                  f"{size / 1e6:.1f} MB; load {load:.1f} on {os.cpu_count()} CPUs")
    missed = speeds["fastest"] < options.least_speed or memory < options.least_memory
    parser.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
