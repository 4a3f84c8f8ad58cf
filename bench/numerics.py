"""Quality of the integer model against the float reference: the table of docs/numerics.md.

    make numerics ARGS="--text tinyshakespeare.txt"
    .venv/bin/python bench/numerics.py --model deep --plot docs/numerics.svg

The shipped models and a deep one (bench/deep.py), each as trained and rescaled to a wide dynamic
range (`ternforge_model.stress`). Perplexities are of the last tenth of the text, at most `--limit`
tokens of it; without a text, of one that shakespeare-85f writes. Exits with 1 if a model misses
what docs/numerics.md promises.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ternforge.output import print_json
from ternforge_model.calibrate import calibrate
from ternforge_model.catalog import Model, open_model, shipped_names
from ternforge_model.checkpoint import load_tensors, save_tensors
from ternforge_model.data import load_text, split_text
from ternforge_model.errorplot import plot_errors
from ternforge_model.evalcommand import measure
from ternforge_model.integer import IntegerModel
from ternforge_model.layererror import LayerErrors
from ternforge_model.sampling import generate
from ternforge_model.skeleton import skeleton
from ternforge_model.stress import wide_range

DEEP = Path(__file__).parents[1] / "tests" / "model" / "deep"
#: Least argmax agreement, and most that the perplexity of a shipped model may differ.
AGREEMENT, PERPLEXITY = 0.97, 0.005


@dataclass(frozen=True)
class Row:
    """One model, measured."""

    name: str
    found: dict[str, Any]
    errors: LayerErrors
    span: float  #: largest of the residual stream in the last layer, over that in the first

    @property
    def perplexity(self) -> float:
        """Relative difference, integer to float."""
        return self.found["integer_perplexity"] / self.found["float_perplexity"] - 1

    @property
    def keeps(self) -> bool:
        """Whether the model keeps what is promised."""
        return (self.found["argmax_agreement"] >= AGREEMENT and abs(self.perplexity) <= PERPLEXITY
                and not sum(self.found["saturations"].values()))


def run(model: Model, name: str, ids: np.ndarray) -> Row:
    """Measure one model on a text."""
    found, errors = measure(model, ids)
    with model.checkpoint as checkpoint:
        source = skeleton(model.config, checkpoint)
    largest = calibrate(source, ids[:512])
    streams = [largest[op.name, "in"] for op in source.ops
               if (op.name, "in") in largest and getattr(op, "src", None) == "x"]
    return Row(name, found, errors, streams[-1] / streams[0])


def variants(folder: Path, scratch: Path) -> dict[str, Path]:
    """The model as it is, and rescaled, by what is added to its name."""
    config, tensors = load_tensors(folder)
    paths = {"": folder}
    for name, massive in ((", wide range", 1.0), (", and massive activations", 50.0)):
        paths[name] = scratch / f"{folder.name}{name.replace(' ', '-')}"
        save_tensors(paths[name], config, wide_range(config, tensors, massive=massive))
        shutil.copy(folder / "tokenizer.json", paths[name])
    return paths


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Quality of the integer model.")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--limit", type=int, default=20001, help="tokens of the text")
    parser.add_argument("--model", action="append", choices=[*shipped_names(), "deep"])
    parser.add_argument("--plot", type=Path, help="errors per layer of the last row measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    writer = open_model("shakespeare-85f")
    if options.text is None:
        prompt = writer.tokenizer.encode("ROMEO:\n")
        ids = np.array(generate(IntegerModel(writer.program), prompt, 4001, temperature=1.0,
                                seed=1))
    else:
        ids = split_text(load_text(options.text, writer.tokenizer)[0])[1]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.model or [*shipped_names(), "deep"]:
            folder = DEEP if name == "deep" else open_model(name).folder
            for kind, path in variants(folder, Path(scratch)).items():
                rows.append(run(open_model(path), name + kind, ids[:options.limit]))
    if options.plot is not None:
        last = rows[-1]
        plot_errors(options.plot, f"{last.name}: error of each layer", last.errors.table(),
                    last.errors.outlier())
    if options.json:
        print_json([{**row.found, "model": row.name, "residual_growth": row.span} for row in rows])
    else:
        _show(rows)
    return 0 if all(row.keeps for row in rows) else 1


def _show(rows: list[Row]) -> None:
    table = Table(title=f"{rows[0].found['tokens']} tokens")
    for title in ("model", "float perplexity", "integer", "difference", "argmax agreement",
                  "KL, nats", "saturations", "residual growth", "largest layer error"):
        table.add_column(title, justify="left" if title == "model" else "right")
    for row in rows:
        found = row.found
        worst = max((max(errors), tensor) for tensor, errors in found["layer_errors"].items())
        table.add_row(row.name, f"{found['float_perplexity']:.4f}",
                      f"{found['integer_perplexity']:.4f}", f"{100 * row.perplexity:+.3f} %",
                      f"{100 * found['argmax_agreement']:.2f} %", f"{found['kl_divergence']:.1e}",
                      str(sum(found["saturations"].values())), f"{row.span:.1f}",
                      f"{100 * worst[0]:.2f} %, {worst[1]}", style="" if row.keeps else "red")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
