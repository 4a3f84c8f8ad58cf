"""The ops of a model in float: order, merged norm weights, ternary matrices; no formats yet.

Calibration runs a skeleton in float, conversion gives each of its ops integer formats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ternforge.isa import Function, SumOf

from .checkpoint import check_tensors
from .config import ModelConfig
from .program import unscaled_fits
from .ternary import TernaryMatrix, TernarySource

__all__ = ["KEPT_WEIGHTS", "Bound", "Linear", "Norm", "Skeleton", "merge_norms", "skeleton"]

#: Most ternary weights of a model that are ternarised at once and kept; more are read one by one.
KEPT_WEIGHTS = 1 << 25


@dataclass(frozen=True, kw_only=True, eq=False)
class Bound:
    """Loads the lower bounds of a forget gate (spec section 4.3)."""

    name: str
    layer: int | None
    dst: str
    values: np.ndarray  #: float64, ``[e]``, in [0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """Weights, codes and sum of squares of one quantiser pass."""

    name: str
    layer: int | None
    src: str
    dst: str
    weights: np.ndarray  #: float64, ``[K]``
    sum_of: SumOf | int
    codes: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """One ternary matrix and what follows it; fields as in ``program.Matvec``."""

    name: str
    layer: int | None
    function: Function | int
    matrix: TernaryMatrix  #: ``[rows, K]``
    scaled: bool = True
    bounded: bool = False
    operand: str | None = None
    state: str | None = None
    dst: str | None = None

    @property
    def trits(self) -> np.ndarray:
        """Weights, int8, ``[rows, K]``; of a large model each access reads them."""
        return np.asarray(self.matrix)

    @property
    def size(self) -> float:
        """Size a of spec section 3.3."""
        return self.matrix.magnitude


@dataclass(frozen=True, kw_only=True, eq=False)
class Skeleton:
    """Float program of one model."""

    ops: tuple[Bound | Norm | Linear, ...]
    vectors: dict[str, int]  #: elements by vector
    states: dict[str, int]  #: elements by recurrent state
    embedding: np.ndarray  #: float32, ``[V, d]``

    @property
    def lazy(self) -> bool:
        """Whether its matrices are read one by one, because they are too many to keep."""
        return any(isinstance(op, Linear) and op.matrix.lazy for op in self.ops)


def merge_norms(
    outer: np.ndarray | None, inner: Mapping[str, np.ndarray]
) -> list[tuple[np.ndarray, SumOf | int, tuple[str, ...]]]:
    """Merge a plain norm with the inner norms of the matrices that read it.

    The root mean square is that of ``x * outer``, the codes are those of ``x * outer * inner``;
    any constant factor of ``outer`` cancels from both.

    Parameters
    ----------
    outer : numpy.ndarray or None
        Weights ``[K]`` of the plain norm; None if there is none.
    inner : mapping
        Weights ``[K]`` of the norm inside each matrix, by matrix name, in execution order.

    Returns
    -------
    list of (weights, sum_of, matrices)
        One entry per quantiser pass, followed by its matrices; without matrices it makes no codes.
    """
    groups: list[tuple[np.ndarray, list[str]]] = []
    for name, weights in inner.items():
        if groups and np.array_equal(groups[-1][0], weights):
            groups[-1][1].append(name)
        else:
            groups.append((weights, [name]))
    first: SumOf | int = SumOf.INPUT
    passes: list[tuple[np.ndarray, SumOf | int, tuple[str, ...]]] = []
    sign = 1.0
    if outer is not None and outer[0] != 0 and bool((outer == outer[0]).all()):
        sign = float(np.sign(outer[0]))
        outer = None
    if outer is not None:
        first = SumOf.PRODUCT
        if not bool((groups[0][0] == 1).all()):
            passes.append((outer, SumOf.PRODUCT, ()))
            first = SumOf.KEEP
    for weights, names in groups:
        merged = sign * weights if outer is None else outer * weights
        passes.append((merged, first, tuple(names)))
        first = SumOf.KEEP
    return passes


def _whole(part: str) -> str:
    """Name of the matrix that ``part`` is half of, or ``part`` itself."""
    return part.removesuffix(".gate").removesuffix(".up")


class _Builder:
    """Walks the layers in the order of the contract."""

    def __init__(self, config: ModelConfig, tensors: Mapping[str, np.ndarray], lazy: bool):
        self.config = config
        self.tensors = tensors
        self.shapes = config.tensor_shapes()
        self.source = TernarySource(tensors, None if lazy else _matrices(config))
        self.ops: list[Bound | Norm | Linear] = []

    def tensor(self, name: str) -> np.ndarray:
        return np.asarray(self.tensors[name], np.float64)

    def matrix(self, part: str) -> TernaryMatrix:
        """A matrix by name, or the half of one."""
        name = f"{'' if part == 'lm_head' else 'model.'}{_whole(part)}.weight"
        rows, columns = self.shapes[name]
        half = self.config.mlp_width
        taken = (slice(half) if part.endswith(".gate") else
                 slice(half, rows) if part.endswith(".up") else slice(rows))
        return TernaryMatrix(self.source, name, (rows, columns), taken)

    def group(self, name: str, layer: int | None, src: str, dst: str, outer: str | None,
              linears: list[Linear], before: Bound | None = None) -> None:
        """A plain norm (named ``outer``) and the matrices that read it."""
        prefix = "" if layer is None else "model."
        by_name = {linear.name: linear for linear in linears}
        bases = {linear.name: f"{_whole(linear.name)}.norm" for linear in linears}
        inner = {k: self.tensor(f"{prefix}{base}.weight") for k, base in bases.items()}
        weights = None if outer is None else self.tensor(f"model.{outer}.weight")
        passes = merge_norms(weights, inner)
        for merged, sum_of, readers in passes:
            own = name if len(passes) == 1 else bases[readers[0]] if readers else outer
            assert own is not None
            self.ops.append(Norm(name=own, layer=layer, src=src, dst=dst, weights=merged,
                                 sum_of=sum_of, codes=bool(readers)))
            for reader in readers:
                if before is not None and by_name[reader].bounded:
                    self.ops.append(before)
                self.ops.append(by_name[reader])

    def layer(self, n: int) -> None:
        at, state = f"layers.{n}", f"h{n}"
        bound = None
        if self.config.use_lower_bound and n > 0:
            bound = Bound(name=f"{at}.attn.lower_bound", layer=n, dst="f",
                          values=self.bounds()[n])

        def linear(part: str, function: Function | int, **fields) -> Linear:
            return Linear(name=f"{at}.{part}", layer=n, function=function,
                          matrix=self.matrix(f"{at}.{part}"), **fields)

        # g and the value rows of the MLP reach nothing but a scale-free product.
        raw = not unscaled_fits(self.config.hidden_size)
        self.group(f"{at}.attn_norm", n, "x", "v", f"{at}.attn_norm", [
            linear("attn.f_proj", Function.FORGET, bounded=bound is not None, dst="f",
                   operand=None if bound is None else "f"),
            linear("attn.i_proj", Function.RECURRENCE, operand="f", state=state),
            linear("attn.g_proj", Function.OUTPUT_GATE, state=state, dst="p", scaled=raw),
        ], before=bound)
        self.group(f"{at}.attn.o_proj.norm", n, "p", "p", f"{at}.attn.g_norm", [
            linear("attn.o_proj", Function.RESIDUAL, operand="x", dst="x")])
        self.group(f"{at}.mlp_norm", n, "x", "v", f"{at}.mlp_norm", [
            linear("mlp.gate_proj.gate", Function.SILU, dst="gate"),
            linear("mlp.gate_proj.up", Function.MULTIPLY, operand="gate", dst="gate", scaled=raw),
        ])
        self.group(f"{at}.mlp.down_proj.norm", n, "gate", "gate", None, [
            linear("mlp.down_proj", Function.RESIDUAL, operand="x", dst="x")])

    def bounds(self) -> np.ndarray:
        """Lower bound of every layer's forget gate, float64, ``[L, d]``."""
        raw = self.tensor("model.lower_bounds")
        share = np.exp(raw - raw.max(0))
        share /= share.sum(0)
        return np.maximum(np.cumsum(share, 0) - share[0], 0)

    def head(self, store: bool) -> None:
        self.group("norm", None, "x", "v", "norm", [
            Linear(name="lm_head", layer=None, function=Function.LOGITS,
                   matrix=self.matrix("lm_head"), scaled=False, dst="logits" if store else None)])


def _matrices(config: ModelConfig) -> dict[str, int]:
    """Weights by name of each ternary matrix."""
    return {name: prod(shape) for name, shape in config.tensor_shapes().items()
            if name.endswith(("_proj.weight", "lm_head.weight"))}


def skeleton(config: ModelConfig, tensors: Mapping[str, np.ndarray],
             lazy: bool | None = None) -> Skeleton:
    """Order and merge a checkpoint; ternarise its matrices now or when each is read.

    The logits are stored where they fit the room that the MLP's vector takes anyway.

    Parameters
    ----------
    config : ModelConfig
        Shape.
    tensors : mapping
        Float arrays by name.
    lazy : bool or None
        Read each matrix from ``tensors`` whenever it is used, one at a time. None: only if they
        have more than KEPT_WEIGHTS weights.

    Raises
    ------
    ValueError
        A tensor is missing, unknown, of another shape, not finite, or a matrix of zeros.
    """
    check_tensors(config, tensors)
    d, e, m = config.hidden_size, config.mixer_width, config.mlp_width
    store = config.vocab_size <= max(d, m)
    if lazy is None:
        lazy = sum(_matrices(config).values()) > KEPT_WEIGHTS
    builder = _Builder(config, tensors, lazy)
    for n in range(config.num_hidden_layers):
        builder.layer(n)
    builder.head(store)
    vectors = {"x": d, "v": d, "f": e, "p": e, "gate": m}
    if store:
        vectors["logits"] = config.vocab_size
    return Skeleton(ops=tuple(builder.ops), vectors=vectors,
                    states={f"h{n}": e for n in range(config.num_hidden_layers)},
                    embedding=np.asarray(tensors["model.embeddings.weight"], np.float32))
