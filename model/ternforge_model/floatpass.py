"""A skeleton in float64, with int8 activations and ternary weights: finds the largest values.

Follows the float reference (spec section 4) up to the eps of the norms, which the integer model
does not have either. Values are those that the core holds: the quantiser sees the raw residual
stream, g and the value rows of the MLP carry no scale.
"""

from collections.abc import Callable

import numpy as np

from ternforge.isa import Function, SumOf

from .formats import code_error
from .skeleton import Bound, Linear, Norm, Skeleton
from .ternary import row_blocks

__all__ = ["FloatPass", "sampled_tokens"]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def _rms(z: np.ndarray) -> np.ndarray:
    return np.sqrt((z * z).mean(-1, keepdims=True))


class FloatPass:
    """Runs a skeleton and records maxima.

    Parameters
    ----------
    skeleton : Skeleton
        What :func:`ternforge_model.skeleton.skeleton` makes.
    observe : callable or None
        Called with (op name, kind, value) for everything that is computed, float64 or float32
        ``[B, T, n]``: the kinds below, and ``codes`` of a norm. In the order of the ops.

    Attributes
    ----------
    largest : dict
        Largest magnitude so far by (op name, kind): ``in``, ``v`` of a norm, ``y`` (before the
        function) and ``out`` of a matrix, ``candidate`` of a recurrence, ``rounding`` of a norm
        (formats.code_error); ``("embeddings", "out")`` for the table's rows.
    """

    def __init__(
        self, skeleton: Skeleton, observe: Callable[[str, str, np.ndarray], None] | None = None
    ):
        self.skeleton = skeleton
        self._observe = observe or (lambda op, kind, value: None)
        self.largest: dict[tuple[str, str], float] = {}
        self._weights = {op.name: np.ascontiguousarray(op.trits.T).astype(np.float32)
                         for op in skeleton.ops if isinstance(op, Linear) and not skeleton.lazy}

    def _note(self, op: str, kind: str, value: np.ndarray) -> np.ndarray:
        key = (op, kind)
        self.largest[key] = max(self.largest.get(key, 0.0), float(np.abs(value).max()))
        self._observe(op, kind, value)
        return value

    def run(
        self, ids: np.ndarray, state: dict[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Logits float64 ``[B, T, V]`` and state for tokens int64 ``[B, T]``."""
        v: dict[str, np.ndarray] = {"x": self._note("embeddings", "out",
                                                    self.skeleton.embedding[ids].astype(float))}
        state, h = dict(state or {}), np.zeros(0)
        codes = root = step = np.zeros(0)
        logits = np.zeros(0)
        for op in self.skeleton.ops:
            if isinstance(op, Bound):
                v[op.dst] = op.values
                continue
            if isinstance(op, Norm):
                x = self._note(op.name, "in", v[op.src])
                product = self._note(op.name, "v", x * op.weights)
                if op.sum_of is not SumOf.KEEP:
                    root = np.maximum(_rms(x if op.sum_of is SumOf.INPUT else product), 1e-30)
                if op.codes:
                    v[op.dst] = product
                    self._note(op.name, "rounding", code_error(x, op.weights))
                    top = np.maximum(np.abs(product).max(-1, keepdims=True), 1e-30)
                    codes = np.rint(product * (127 / top)).astype(np.float32)
                    step = top / (127 * root)
                    self._observe(op.name, "codes", codes)
                continue
            acc = self._dot(op, codes)
            scaled = op.scaled or op.function is Function.LOGITS
            y = self._note(op.name, "y", acc * (op.size * step) if scaled else acc)
            if op.function is Function.LOGITS:
                logits = y
            elif op.function is Function.RECURRENCE:
                assert op.operand is not None
                assert op.state is not None
                c = self._note(op.name, "candidate", y * _sigmoid(y))
                h = self._recur(v[op.operand], c, state.get(op.state))
                state[op.state] = self._note(op.name, "out", h)[:, -1]
            else:
                assert op.dst is not None
                v[op.dst] = self._note(op.name, "out", self._rows(op, y, v, h))
        return logits, state

    def _dot(self, op: Linear, codes: np.ndarray) -> np.ndarray:
        """Exact dot products, float64; weights that are not kept are read, and widened in parts."""
        if op.name in self._weights:
            return (codes @ self._weights[op.name]).astype(np.float64)
        trits = op.trits
        flat = codes.reshape(-1, codes.shape[-1])
        acc = np.empty((len(flat), len(trits)))
        for rows in row_blocks(trits.shape):
            acc[:, rows] = flat @ trits[rows].astype(np.float32).T
        return acc.reshape(*codes.shape[:-1], len(trits))

    @staticmethod
    def _rows(op: Linear, y: np.ndarray, v: dict[str, np.ndarray], h: np.ndarray) -> np.ndarray:
        operand = v[op.operand] if op.operand is not None else y
        if op.function is Function.FORGET:
            s = _sigmoid(y)
            return operand + (1 - operand) * s if op.bounded else s
        if op.function is Function.OUTPUT_GATE:
            return y * h * _sigmoid(h)
        if op.function is Function.SILU:
            return y * _sigmoid(y)
        return y * operand if op.function is Function.MULTIPLY else operand + y

    @staticmethod
    def _recur(gate: np.ndarray, c: np.ndarray, start: np.ndarray | None) -> np.ndarray:
        h = np.empty_like(c)
        last = np.zeros_like(c[:, 0]) if start is None else start
        for t in range(c.shape[1]):
            last = h[:, t] = c[:, t] + gate[:, t] * (last - c[:, t])
        return h


def sampled_tokens(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A token for each of ``logits`` ``[B, T, V]``, int64 ``[B, T]``, with its probability.

    Gumbel's trick: the argmax of logits plus this noise is a sample of the softmax.
    """
    return np.stack([(row + rng.gumbel(size=row.shape)).argmax(-1) for row in logits])
