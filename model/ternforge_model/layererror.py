"""Error of each layer of the integer model, given the float model's input of that layer.

Rounding flips int8 codes, and flips spread with depth (spec section 9, fact 8), so that two models
compared from the embedding on differ everywhere. Here each integer layer starts from the float
model's residual stream and state, rounded to the program's formats: what differs is its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median_low

import numpy as np

from ternforge.isa import Function
from ternforge.numerics import SIGMOID_FRACTION, STATE_BITS, VECTOR_BITS

from . import fixed
from .floatpass import FloatPass
from .integer import IntegerModel, State, Trace
from .program import Matvec, Op, Program, Quantise
from .skeleton import Skeleton

__all__ = ["FACTOR", "FLOOR", "HEAD", "TENSORS", "LayerErrors", "Outlier", "find_outlier"]

#: Columns of the table, in the order in which a layer computes them.
TENSORS = ("attn codes", "f", "i", "state", "g", "o codes", "o", "mlp codes", "gate", "up",
           "down codes", "down", "residual")
#: The head's.
HEAD = ("head codes", "logits")
#: An error stands out if it exceeds this many times the median over layers of the same tensor ...
FACTOR = 4.0
#: ... and half a step of the largest int8 code, which the float model itself rounds by.
FLOOR = 0.5 / 127

_NAMES = {Function.FORGET: "f", Function.RECURRENCE: "i", Function.OUTPUT_GATE: "g",
          Function.SILU: "gate", Function.MULTIPLY: "up", Function.LOGITS: "logits"}


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """The first error that stands out."""

    layer: int
    tensor: str  #: one of TENSORS
    error: float  #: relative root mean square
    median: float  #: over the layers, of the same tensor


class LayerErrors:
    """Compares layer by layer over a text, continuing from call to call.

    Parameters
    ----------
    skeleton : Skeleton
        The float model.
    model : IntegerModel
        Of the program that was converted from ``skeleton``.
    """

    def __init__(self, skeleton: Skeleton, model: IntegerModel):
        self.model = model
        self.program: Program = model.program
        self.tokens = 0
        #: Clips by (op name, site), of the layers alone.
        self.saturated: dict[tuple[str, str], int] = {}
        self._ops: dict[str, Op] = {op.name: op for op in self.program.ops}
        self._float = FloatPass(skeleton, self._note)
        self._state: dict[str, np.ndarray] = {}
        self._sums: dict[tuple[int | None, str], np.ndarray] = {}
        self._seen: dict[tuple[str, str], np.ndarray] = {}
        self._layer: int | None = None
        self._last = {op.layer: op.name for op in self.program.ops}

    def advance(self, ids: Sequence[int] | np.ndarray) -> None:
        """Compare on more tokens; all intermediates of one layer are held at a time."""
        tokens = np.asarray(ids, np.int64)[None]
        _, after = self._float.run(tokens, self._state)
        self._state = after
        self.tokens += tokens.size

    def _note(self, name: str, kind: str, value: np.ndarray) -> None:
        if name == "embeddings":
            return
        self._seen[name, kind] = value[0]
        # The last value that is noted of a layer's last op closes the layer.
        op = self._ops[name]
        final = "y" if isinstance(op, Matvec) and op.function is Function.LOGITS else "out"
        if name == self._last[op.layer] and kind == final:
            self._compare(op.layer)
            self._seen.clear()

    def _compare(self, layer: int | None) -> None:
        ops = [op for op in self.program.ops if op.layer == layer]
        first = next(op for op in ops if isinstance(op, Quantise))
        formats = self.program.formats
        x = _fixed(self._seen[first.name, "in"], formats["x"], VECTOR_BITS)
        state: State = {}
        for op in ops:
            if isinstance(op, Matvec) and op.function is Function.RECURRENCE:
                assert op.state is not None
                if op.state in self._state:
                    state[op.state] = _fixed(self._state[op.state][0], formats[op.name],
                                             STATE_BITS)
        trace, saturated = self.model.part(layer, x, state)
        for key, count in saturated.items():
            self.saturated[key] = self.saturated.get(key, 0) + count
        for op in ops:
            for tensor, have, want in self._pairs(op, trace):
                total = self._sums.setdefault((layer, tensor), np.zeros(2))
                total += [((have - want) ** 2).sum(), (want**2).sum()]

    def _pairs(self, op: Op, trace: Trace) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Tensors of one op: name, integer values as reals, float values."""
        name, formats = op.name, self.program.formats
        if isinstance(op, Quantise):
            if op.codes and (name, "codes") in self._seen:
                yield _codes(op), trace[name, "codes"], self._seen[name, "codes"]
            return
        if not isinstance(op, Matvec):
            return
        kind = _NAMES.get(Function(op.function))
        if op.function is Function.LOGITS:
            ratio = trace[self._codes_of(op), "ratio"]
            factor = self.program.logit_scale * ratio[:, :1] * 2.0 ** ratio[:, 1:]
            yield "logits", trace[name, "acc"] * factor, self._seen[name, "y"]
            return
        if op.function in (Function.FORGET, Function.SILU):
            assert kind is not None
            fraction = SIGMOID_FRACTION if op.function is Function.FORGET else formats[name]
            yield kind, trace[name, "rows"] * 2.0**-fraction, self._seen[name, "out"]
            return
        y = _rescaled(op, trace) * 2.0 ** -formats[name]
        yield kind or ("o" if name.endswith("o_proj") else "down"), y, self._seen[name, "y"]
        if op.function is Function.RECURRENCE:
            yield "state", trace[name, "rows"] * 2.0 ** -formats[name], self._seen[name, "out"]
        elif op.function is Function.RESIDUAL and name == self._last[op.layer]:
            yield ("residual", trace[name, "rows"] * 2.0 ** -formats["x"],
                   self._seen[name, "out"])

    def _codes_of(self, op: Matvec) -> str:
        """Name of the QUANTISE whose codes ``op`` multiplies."""
        before = self.program.ops[:self.program.ops.index(op)]
        return next(q.name for q in reversed(before) if isinstance(q, Quantise) and q.codes)

    def table(self) -> dict[str, list[float]]:
        """Relative root mean square errors of each of TENSORS, one per layer."""
        return {tensor: [self._error(layer, tensor) for layer in range(self.program.num_layers)]
                for tensor in TENSORS}

    def head(self) -> dict[str, float]:
        """The same of HEAD."""
        return {tensor: self._error(None, tensor) for tensor in HEAD}

    def _error(self, layer: int | None, tensor: str) -> float:
        error, size = self._sums.get((layer, tensor), np.zeros(2)).tolist()
        return sqrt(error / size) if size else 0.0

    def outlier(self) -> Outlier | None:
        """First layer, and in it the first tensor, whose error stands out (FACTOR, FLOOR)."""
        return find_outlier(self.table())


def find_outlier(table: Mapping[str, Sequence[float]]) -> Outlier | None:
    """First layer, and in it the first tensor in the order of ``table``, that stands out.

    That is an error of more than FACTOR times the lower median over the layers of the same tensor,
    and of more than FLOOR.
    """
    middle = {tensor: median_low(errors) for tensor, errors in table.items()}
    for layer in range(min(map(len, table.values()))):
        for tensor, errors in table.items():
            if errors[layer] > max(FACTOR * middle[tensor], FLOOR):
                return Outlier(layer=layer, tensor=tensor, error=errors[layer],
                               median=middle[tensor])
    return None


def _codes(op: Quantise) -> str:
    """Which codes a QUANTISE makes: those of f, i and g count together."""
    if op.layer is None:
        return "head codes"
    if "o_proj" in op.name:
        return "o codes"
    if "down_proj" in op.name:
        return "down codes"
    return "mlp codes" if "mlp" in op.name else "attn codes"


def _fixed(value: np.ndarray, fraction: int, bits: int) -> fixed.Ints:
    return fixed.saturate(np.rint(value * 2.0**fraction).astype(np.int64), bits)


def _rescaled(op: Matvec, trace: Trace) -> np.ndarray:
    """Rows before their function."""
    acc = trace[op.name, "acc"]
    if op.scale is None:
        return acc
    scale = trace[op.name, "scale"]
    return fixed.rnd(acc * scale[:, :1], scale[:, 1:])
