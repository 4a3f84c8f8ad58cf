"""Benchmarks: cycles of a token, and the speed of simulator and integer model.

    make bench
    .venv/bin/python bench/run.py --model shakespeare-up5k --tokens 100

Prints a table and writes ``bench/results.json``. Cycles depend on nothing but the design; speeds
depend on the machine and on what else it does, so results are not kept in the repository.
"""

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.output import to_json, write_text
from ternforge.presets import MODELS, core_preset
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower_for, raise_
from ternforge_model.catalog import open_model
from ternforge_model.integer import IntegerModel
from ternforge_sim.runner import build_simulator
from ternforge_sim.simulate import simulate

#: Titles and formats of the table's rows.
ROWS = {
    "cycles_per_token": ("cycles per token", "{:.0f}"),
    "ideal_cycles_per_token": ("weights alone", "{:.0f}"),
    "weight_stream_share": ("share", "{:.1%}"),
    "simulator_cycles_per_second": ("RTL cycles/s", "{:,.0f}"),
    "simulator_tokens_per_second": ("RTL tokens/s", "{:.1f}"),
    "integer_tokens_per_second": ("integer model tokens/s", "{:.0f}"),
}


def measure(core: CoreConfig, image: Image, tokens: int) -> dict[str, Any]:
    """Run ``tokens`` tokens on the Verilated core, a few of them checked, and on the integer model.

    Raises
    ------
    RuntimeError
        If hardware and integer model part: figures of a broken core say nothing.
    """
    library, prompt = build_simulator(core), [0]
    checked = simulate(library, core, image, prompt, min(tokens, 4))
    if not checked.bit_exact:
        raise RuntimeError(f"not bit-exact: {checked.first_divergence}")
    run = simulate(library, core, image, prompt, tokens, check=False)
    model, state = IntegerModel(raise_(image)), None
    started = time.perf_counter()
    for token in [*prompt, *run.tokens[:-1]]:
        state = model.step(token, state).state
    seconds = time.perf_counter() - started
    return {
        "tokens": run.fed_tokens,
        "cycles_per_token": run.cycles_per_token,
        "ideal_cycles_per_token": run.ideal_cycles,
        "weight_stream_share": run.weight_stream_share,
        "simulator_cycles_per_second": run.simulator_cycles_per_second,
        "simulator_tokens_per_second": run.fed_tokens / run.simulator_seconds,
        "integer_tokens_per_second": run.fed_tokens / seconds,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Cycles of a token, speed of the simulators.")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one")
    parser.add_argument("--tokens", type=int, default=200, help="tokens to time")
    parser.add_argument("-o", "--output", type=Path,
                        default=Path(__file__).with_name("results.json"))
    options = parser.parse_args()
    if options.tokens < 1:
        parser.error(f"--tokens must be positive, not {options.tokens}")

    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    console, results = Console(), []
    try:
        for name in options.model or MODELS:
            board, model = MODELS[name], open_model(name)
            image = lower_for(model.program, board, model.tokenizer)
            with console.status(f"{name} on {board}"):
                results.append({"model": name, "board": board,
                                **measure(core_preset(board), image, options.tokens)})
    except UserError as error:
        parser.exit(2, f"{error}\n")
    write_text(options.output, to_json({
        "machine": {"processor": platform.processor() or platform.machine(), "cores": cores,
                    "load": load, "python": platform.python_version()},
        "results": results}) + "\n")
    table = Table("", *(f"{row['model']}\non {row['board']}" for row in results))
    for column in table.columns[1:]:
        column.justify = "right"
    for key, (title, form) in ROWS.items():
        table.add_row(title, *(form.format(row[key]) for row in results))
    console.print(table)
    if load > cores / 2:
        console.print(f"the load was {load:.1f} on {cores} cores: speeds are too low")
    console.print(f"written: {options.output}", soft_wrap=True)


if __name__ == "__main__":
    main()
