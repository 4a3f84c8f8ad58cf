"""Random programs for the tests of the firmware package."""

from collections.abc import Callable

import numpy as np
import pytest
from ternforge.isa import Function, SumOf
from ternforge_model.program import Load, Matvec, Op, Program, Quantise


def random_program(*, d: int, layers: int, m: int, vocab: int, seed: int = 1, split: bool = False,
                   wide: bool = False, store: bool = False) -> Program:
    """A program of the usual order with random weights.

    ``split``: f, i, g and the halves of the MLP have norms of their own.
    """
    rng = np.random.default_rng(seed)
    ops: list[Op] = []

    def quantise(name: str, layer: int | None, src: str, size: int, **rest) -> None:
        values = {"sum_of": SumOf.INPUT, "shift": 14, "square_shift": 3, **rest}
        ops.append(Quantise(name=name, layer=layer, src=src, dst=values.pop("dst", "v"), **values,
                            weights=rng.integers(-3000, 3000, size).astype(np.int16)))

    def matvec(name: str, layer: int | None, function: Function, shape: tuple[int, int],
               **rest) -> None:
        values = {"scale": (int(rng.integers(1 << 15, 1 << 16)), int(rng.integers(-40, 0))), **rest}
        ops.append(Matvec(name=name, layer=layer, function=function, **values,
                          trits=rng.integers(-1, 2, shape).astype(np.int8)))

    def inputs(name: str, layer: int, size: int, users: list[str]) -> None:
        if split:
            quantise(f"{name}.sum", layer, "x", size, codes=False, sum_of=SumOf.PRODUCT)
        for user in users:
            quantise(f"{name}.{user}" if split else name, layer, "x", size,
                     sum_of=SumOf.KEEP if split else SumOf.PRODUCT)
            yield_user(user, layer)
            if not split:
                for other in users[1:]:
                    yield_user(other, layer)
                return

    def yield_user(user: str, layer: int) -> None:
        at = f"layers.{layer}"
        if user == "f":
            if layer:
                ops.append(Load(name=f"{at}.attn.lower_bound", layer=layer, dst="f",
                                values=rng.integers(0, 1 << 15, d).astype(np.int16)))
            matvec(f"{at}.attn.f_proj", layer, Function.FORGET, (d, d), dst="f",
                   operand="f" if layer else None, bounded=bool(layer), activation_shift=2)
        elif user == "i":
            matvec(f"{at}.attn.i_proj", layer, Function.RECURRENCE, (d, d), operand="f",
                   state=f"h{layer}", activation_shift=1)
        elif user == "g":
            matvec(f"{at}.attn.g_proj", layer, Function.OUTPUT_GATE, (d, d), state=f"h{layer}",
                   dst="p", scale=None, shift=7)
        elif user == "gate":
            matvec(f"{at}.mlp.gate_proj.gate", layer, Function.SILU, (m, d), dst="gate")
        elif user == "up":
            matvec(f"{at}.mlp.gate_proj.up", layer, Function.MULTIPLY, (m, d), operand="gate",
                   dst="gate", scale=None, shift=5)

    for layer in range(layers):
        at = f"layers.{layer}"
        inputs(f"{at}.attn_norm", layer, d, ["f", "i", "g"])
        quantise(f"{at}.attn.g_norm", layer, "p", d)
        matvec(f"{at}.attn.o_proj", layer, Function.RESIDUAL, (d, d), operand="x", dst="x")
        inputs(f"{at}.mlp_norm", layer, d, ["gate", "up"])
        quantise(f"{at}.mlp.down_proj.norm", layer, "gate", m)
        matvec(f"{at}.mlp.down_proj", layer, Function.RESIDUAL, (d, m), operand="x", dst="x")
    quantise("norm", None, "x", d)
    matvec("lm_head", None, Function.LOGITS, (vocab, d), scale=None, store=store,
           dst="logits" if store else None)
    vectors = {"x": d, "v": m, "f": d, "p": d, "gate": m}
    for op in ops:  # v is as long as the vector that it takes
        if isinstance(op, Quantise):
            vectors.setdefault(f"v{op.weights.size}", op.weights.size)
    del vectors["v"]
    if store:
        vectors["logits"] = vocab
    kind = np.int16 if wide else np.int8
    info = np.iinfo(kind)
    return Program(
        name=f"random-{d}x{layers}", vectors=vectors, states={f"h{k}": d for k in range(layers)},
        ops=tuple(_rename(op) for op in ops), embedding_shift=3, logit_scale=1 / 3,
        embedding=rng.integers(info.min, info.max + 1, (vocab, d)).astype(kind),
        formats={"activation": 9})


def _rename(op: Op) -> Op:
    if isinstance(op, Quantise):
        return Quantise(**{**vars(op), "dst": f"v{op.weights.size}"})
    return op


@pytest.fixture(scope="session")
def make_program() -> Callable[..., Program]:
    """Builds random programs."""
    return random_program
