"""Random checkpoints (spec section 13) and programs, for tests, golden vectors and benchmarks."""

from dataclasses import replace
from typing import Any

import numpy as np

from .config import ModelConfig
from .convert import convert
from .program import Matvec, Op, Program, Quantise
from .ternary import TernaryMatrix, TernarySource

__all__ = ["narrowed", "random_checkpoint", "random_program", "wide_program"]


def random_checkpoint(
    seed: int, *, d: int = 16, layers: int = 2, m: int = 32, vocab: int = 32,
    inner_norms: bool = False, lower_bound: bool = True, wide_embedding: bool = False,
) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """A small model with random weights.

    Parameters
    ----------
    seed : int
        Of everything.
    d, layers, m, vocab : int
        Hidden size, layers, MLP width, tokens.
    inner_norms : bool
        Give the norms inside i, f, g, o, gate and head weights of their own; otherwise they are
        ones, as in the shipped models.
    lower_bound : bool
        Bound the forget gates of the layers above the first.
    wide_embedding : bool
        Leave the embeddings as they are (16 bits after conversion) instead of rounding them to
        8 bits.
    """
    config = ModelConfig(vocab_size=vocab, hidden_size=d, num_hidden_layers=layers,
                         intermediate_size=m, use_lower_bound=lower_bound, bos_token_id=None,
                         eos_token_id=None)
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in config.tensor_shapes().items():
        value = rng.standard_normal(shape)
        if name == "model.embeddings.weight":
            value = value if wide_embedding else np.clip(np.rint(value * 32), -127, 127) / 32
        elif name == "model.lower_bounds":
            pass
        elif "norm" in name:
            inner = name.endswith("_proj.norm.weight") or name == "lm_head.norm.weight"
            plain = inner and not inner_norms and "down_proj" not in name
            value = np.ones(shape) if plain else 1 + 0.25 * value
        else:
            value *= 0.05
        tensors[name] = value.astype(np.float32)
    return config, tensors


def random_program(
    seed: int, *, d: int = 16, layers: int = 2, m: int = 32, vocab: int = 32,
    inner_norms: bool = False, lower_bound: bool = True, wide_embedding: bool = False,
) -> Program:
    """The program of :func:`random_checkpoint`, calibrated on text that it writes itself."""
    config, tensors = random_checkpoint(
        seed, d=d, layers=layers, m=m, vocab=vocab, inner_norms=inner_norms,
        lower_bound=lower_bound, wide_embedding=wide_embedding)
    return convert(config, tensors, name=f"toy-{seed}")


def narrowed(program: Program) -> Program:
    """The same program with shifts so small that every site saturates."""
    ops = []
    for op in program.ops:
        fields = dict(vars(op))
        if isinstance(op, Quantise):
            fields.update(shift=max(0, op.shift - 4), square_shift=max(0, op.square_shift - 6))
        elif isinstance(op, Matvec) and op.scale is not None:
            fields["scale"] = (op.scale[0], op.scale[1] + (7 if op.dst == "x" else 5))
        if isinstance(op, Matvec):
            fields["shift"] = max(0, op.shift - 8)
        ops.append(type(op)(**fields))
    return replace(program, ops=tuple(ops))


def wide_program(seed: int, *, d: int, layers: int, m: int, vocab: int,
                 inner_norms: bool = False, weights: bool = True) -> Program:
    """Random ternary weights in any size, without a float model of that size.

    Norm weights, scales and formats are those of a narrow model, repeated: products of random
    weights scale with the root of the width, and the ratio of a vector with its inverse.

    Parameters
    ----------
    seed : int
        Of weights and embedding.
    d, layers, m, vocab : int
        Hidden size, layers, MLP width, tokens; the logits are not stored.
    inner_norms : bool
        As in :func:`random_checkpoint`: matrices with one source have codes of their own.
    weights : bool
        Without them the program has sizes alone, and takes no memory: matrices cannot be read.
    """
    narrow = random_program(1, d=64, layers=2, m=128, vocab=160, inner_norms=inner_norms)
    rng, nothing = np.random.default_rng(seed), TernarySource({})
    lengths = {"x": d, "v": d, "f": d, "p": d, "gate": m}

    def widened(op: Op, layer: int | None) -> Op:
        changes: dict[str, Any] = {"name": op.name.replace("layers.1.", f"layers.{layer}."),
                                   "layer": layer}
        length = m if "down_proj" in op.name else d
        if isinstance(op, Matvec):
            rows = lengths[op.dst] if op.dst else d if op.state else vocab
            changes["trits"] = (rng.integers(-1, 2, (rows, length), dtype=np.int8) if weights else
                                TernaryMatrix(nothing, op.name, (rows, length), slice(None)))
            changes["state"] = op.state and f"h{layer}"
        elif isinstance(op, Quantise):
            changes["weights"] = np.resize(op.weights, length)
        else:
            changes["values"] = np.resize(op.values, length)
        return replace(op, **changes)

    first, second, last = ([op for op in narrow.ops if op.layer == n] for n in (0, 1, None))
    ops = [widened(op, 0) for op in first]
    for layer in range(1, layers):
        ops += [widened(op, layer) for op in second]
    ops += [widened(op, None) for op in last]
    return replace(narrow, name=f"random-{d}x{layers}", ops=tuple(ops), vectors=lengths,
                   states={f"h{layer}": d for layer in range(layers)},
                   embedding=rng.integers(-127, 128, (vocab, d), dtype=np.int8) if weights else
                   np.broadcast_to(np.int8(0), (vocab, d)))
