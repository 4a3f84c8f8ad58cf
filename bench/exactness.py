"""Tokens of the shipped models on the generated Verilog, compared with the integer model.

    make exactness
    .venv/bin/python bench/exactness.py --model shakespeare-up5k --tokens 64

Each model runs on the core of its board with three prompts, greedy and sampled. A token counts as
checked if every write of it, its result, and the token chosen from it are those of the integer
model, which takes the same steps and, once more, writes the same text by itself. Prints a table;
exits with 1 if anything differs.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.presets import MODELS, core_preset
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model
from ternforge_model.program import Program
from ternforge_model.sampling import generate
from ternforge_sim.runner import build_simulator
from ternforge_sim.simulate import Simulation, simulate

PROMPTS = ("A", "ROMEO:\nBut, soft!",
           ("First Citizen:\nBefore we proceed any further, hear me speak.\n\n"
            "All:\nSpeak, speak.\n\nFirst Citizen:\n"))

#: 0 is greedy.
TEMPERATURES = (0.0, 0.8)


@dataclass(frozen=True)
class Checked:
    """A run, and the text that the integer model writes by itself."""

    run: Simulation
    expected: list[int]

    @property
    def count(self) -> int:
        """Tokens without any difference, from the first on."""
        prompt = self.run.fed_tokens - len(self.run.tokens)  # results that only follow the prompt
        for index, pair in enumerate(zip(self.run.tokens, self.expected, strict=False)):
            if pair[0] != pair[1]:
                return min(prompt + index, self.run.checked_tokens)
        return self.run.checked_tokens

    @property
    def difference(self) -> str:
        """What differs first; empty if nothing does."""
        if self.run.first_divergence is not None:
            return str(self.run.first_divergence)
        if self.run.tokens != self.expected:
            return f"token {self.count}: another one is chosen than by the integer model"
        return ""


def check(library: Path, core: CoreConfig, program: Program, image: Image, prompt: list[int],
          steps: int, temperature: float, seed: int,
          on_token: Callable[[object], object] | None = None) -> Checked:
    """Feed ``steps`` tokens, those of ``prompt`` first and then those that are chosen."""
    count = steps - len(prompt) + 1
    run = simulate(library, core, image, prompt, count, temperature=temperature, seed=seed,
                   reference=program, on_token=on_token)
    return Checked(run, generate(program, prompt, count, temperature=temperature, seed=seed))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Tokens of the Verilog and of the integer model.")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one")
    parser.add_argument("--tokens", type=int, default=256, help="tokens to check in each run")
    options = parser.parse_args()
    if options.tokens < (least := max(map(len, PROMPTS))):
        parser.error(f"--tokens must be at least {least}, which the longest prompt has, "
                     f"not {options.tokens}")

    names = options.model or list(MODELS)
    table = Table("model", "prompt", "choice", "identical", "cycles/token", "share", box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    differences = []
    columns = (TextColumn("{task.description}"), BarColumn(),
               TextColumn("{task.completed}/{task.total} tokens"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        total = len(names) * len(PROMPTS) * len(TEMPERATURES) * options.tokens
        task = bar.add_task("", total=total)
        try:
            for name in names:
                board, model = MODELS[name], open_model(name)
                core, image = core_preset(board), lower_for(model.program, board, model.tokenizer)
                library = build_simulator(core, progress=lambda step: bar.update(
                    task, description=step))
                bar.update(task, description=name)
                for seed, text in enumerate(PROMPTS):
                    for temperature in TEMPERATURES:
                        ids = model.tokenizer.encode(text.encode())
                        shown = f"{len(ids)} tokens" if len(ids) > 1 else "1 token"
                        choice = f"sampled {temperature:g}" if temperature else "greedy"
                        found = check(library, core, model.program, image, ids, options.tokens,
                                      temperature, seed, lambda _: bar.advance(task))
                        table.add_row(
                            name, shown, choice, f"{found.count}/{options.tokens}",
                            f"{found.run.cycles_per_token:.0f}",
                            f"{found.run.weight_stream_share:.1%}")
                        if found.difference:
                            differences.append(
                                f"{name}, prompt of {shown}, {choice}: {found.difference}")
        except UserError as error:
            parser.exit(2, f"{error}\n")
    console = Console()
    console.print(table)
    for line in differences:
        console.print(line, markup=False, soft_wrap=True)
    parser.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
