"""What the integer contract cannot represent, measured: the table of docs/decisions/0007.

    .venv/bin/python bench/limits.py

Each row changes shakespeare-up5k and compares the changed float model with its integer one on text
that the model writes: both without the eps of the norms (`FloatPass`), and with it.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from ternforge_model.catalog import open_model
from ternforge_model.compare import Comparison
from ternforge_model.config import ModelConfig
from ternforge_model.convert import convert
from ternforge_model.floatpass import FloatPass
from ternforge_model.integer import IntegerModel
from ternforge_model.reference import ReferenceModel
from ternforge_model.sampling import generate
from ternforge_model.skeleton import skeleton
from ternforge_model.stress import wide_range

Tensors = dict[str, np.ndarray]


def reference(config: ModelConfig, tensors: Tensors) -> ReferenceModel:
    """The float model with eps."""
    import torch

    model = ReferenceModel(config)
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in tensors.items()})
    return model


def divided(tensors: Tensors, part: str, factor: float) -> Tensors:
    """Rows of one kind of matrix made smaller."""
    return {name: value / np.float32(factor) if name.endswith(f"{part}.weight") else value
            for name, value in tensors.items()}


def bounded(tensors: Tensors, steps: float) -> Tensors:
    """Lower bounds of the last layer that leave ``steps`` of 2**-15 between them and one."""
    raw = np.zeros_like(tensors["model.lower_bounds"])
    raw[0] = np.log(steps / 32768)  # one less the share of layer 0 is the bound of the last
    return {**tensors, "model.lower_bounds": raw - np.log(raw.shape[0] - 1)
            * (np.arange(len(raw)) > 0)[:, None].astype(np.float32)}


def cases(config: ModelConfig, tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Changed models, by what was changed."""
    yield "as trained", tensors
    for factor in (16, 256):
        yield f"rows of i divided by {factor}", divided(tensors, "i_proj", factor)
    for factor in (16, 256):
        yield f"rows of the MLP's gate divided by {factor}", divided(tensors, "gate_proj", factor)
    for factor in (10, 50, 250, 1000):
        yield (f"residual channels times {factor}",
               wide_range(config, tensors, outlier=1, massive=factor))
    for steps in (256, 16):
        yield f"lower bound {steps} of 32768 below one", bounded(tensors, steps)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Limits of the integer contract.")
    parser.add_argument("--tokens", type=int, default=3000)
    options = parser.parse_args()
    model = open_model("shakespeare-up5k")
    config, tensors = model.config, dict(model.checkpoint)
    prompt = model.tokenizer.encode("ROMEO:\n")
    ids = np.array(generate(IntegerModel(model.program), prompt, options.tokens + 1,
                            temperature=1.0, seed=1))
    table = Table(title=f"shakespeare-up5k, {options.tokens} tokens")
    for title in ("change", "agreement without eps", "with eps", "KL with eps", "saturations"):
        table.add_column(title, justify="left" if title == "change" else "right")
    for name, changed in cases(config, tensors):
        integer = IntegerModel(convert(config, changed))
        exact = FloatPass(skeleton(config, changed)).run(ids[None, :-1])[0][0].argmax(-1)
        same = float((exact == integer.forward(ids[:-1]).tokens).mean())
        with Comparison(reference(config, changed), integer) as run:
            run.advance(ids[:-1], ids[1:])
        found = run.figures()
        table.add_row(name, f"{100 * same:.2f} %", f"{100 * found['argmax_agreement']:.2f} %",
                      f"{found['kl_divergence']:.1e}", str(sum(found["saturations"].values())))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
