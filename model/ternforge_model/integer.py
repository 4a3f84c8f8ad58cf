"""The integer model: interprets a program exactly as the hardware does (docs/integer-contract.md).

All positions of a sequence run at once; only the recurrence loops over time. Results are the same
integers for every way of cutting a sequence into calls.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ternforge.isa import Function, SumOf
from ternforge.numerics import (
    ACTIVATION_BITS,
    SIGMOID_FRACTION,
    SIGMOID_ONE,
    STATE_BITS,
    VECTOR_BITS,
    Ratio,
)

from . import fixed
from .fixed import Ints
from .program import Load, Matvec, Op, Program, Quantise

__all__ = ["SITES", "IntegerModel", "IntegerResult", "State", "Trace", "check_state",
           "check_tokens"]

#: Sites at which saturations are counted, in the order of reports.
SITES: tuple[str, ...] = ("product", "square", "rescale", "gate", "residual")

State = dict[str, Ints]  #: recurrent state by name, int64 ``[e]`` each
Trace = dict[tuple[str, str], Ints]  #: intermediates by (op name, kind), see IntegerModel.forward

#: Fan-in up to which a float32 dot product of codes and trits is exact: every partial sum is an
#: integer of at most 24 bits.
_EXACT_FLOAT32 = (1 << 24) // 127


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerResult:
    """What :meth:`IntegerModel.forward` computes for T tokens."""

    tokens: Ints  #: ``[T]``: argmax of the logits, the first of equals
    acc: Ints  #: ``[T, V]``: exact accumulators of the head
    ratio_mantissa: Ints  #: ``[T]``: ratio of the head's codes
    ratio_exponent: Ints  #: ``[T]``
    state: State  #: recurrent state after the last token
    saturated_ops: dict[tuple[str, str], int]  #: clips that changed a value, by (op name, site)
    trace: Trace = field(default_factory=dict)  #: empty unless asked for

    @property
    def saturations(self) -> dict[str, int]:
        """Clips that changed a value, by site; every site is a key."""
        total = dict.fromkeys(SITES, 0)
        for (_, site), count in self.saturated_ops.items():
            total[site] += count
        return total

    def logits(self, logit_scale: float) -> np.ndarray:
        """Logits, float64 ``[T, V]``; ``logit_scale`` is the program's."""
        factor = logit_scale * self.ratio_mantissa * 2.0**self.ratio_exponent
        return self.acc * factor[:, None]

    def ratio(self, position: int = -1) -> Ratio:
        """Ratio of the head's codes at one position."""
        return Ratio(int(self.ratio_mantissa[position]), int(self.ratio_exponent[position]))


def check_tokens(ids: Sequence[int] | np.ndarray, vocab_size: int) -> Ints:
    """``ids`` as int64 ``[T]``.

    Raises
    ------
    ValueError
        It is empty or holds a number that is not a token.
    """
    tokens = np.asarray(ids)
    if tokens.ndim != 1 or tokens.size == 0 or tokens.dtype.kind not in "iu":
        raise ValueError("ids must be a sequence of at least one token")
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        worst = int(tokens.max() if tokens.min() >= 0 else tokens.min())
        raise ValueError(f"token must be in 0..{vocab_size - 1}, not {worst}")
    return tokens.astype(np.int64)


def check_state(state: State | None, lengths: Mapping[str, int]) -> None:
    """Refuse a state that is not of a program with these states and ``lengths``.

    Raises
    ------
    ValueError
        Names, shapes or the range of the values differ.
    """
    if not state:
        return
    have = {name: (value.shape, bool((fixed.saturate(value, STATE_BITS) == value).all()))
            for name, value in state.items()}
    if have != {name: ((length,), True) for name, length in lengths.items()}:
        raise ValueError(f"state must hold {STATE_BITS}-bit arrays of the program's states "
                         f"{lengths}, not {have}")


class _Run:
    """One call of :meth:`IntegerModel.forward`: registers of the core for T tokens."""

    def __init__(self, x: Ints, state: State, trace: bool):
        self.saturated: Counter[tuple[str, str]] = Counter()
        self.trace: Trace | None = {} if trace else None
        self.state = dict(state)
        # S[t] after each token, kept until the OUTPUT_GATE of the same layer has read it.
        self.states: dict[str, Ints] = {}
        self.vectors: dict[str, Ints] = {"x": x}
        self.squares = np.zeros(len(x), np.int64)
        self.codes = np.zeros((len(x), 0), np.float32)
        self.ratio = self.squares, self.squares
        self.acc = np.zeros((len(x), 0), np.int64)

    def note(self, op: str, kind: str, value: Ints) -> None:
        if self.trace is not None:
            self.trace[op, kind] = value

    def clip(self, op: str, site: str, value: Ints, bits: int) -> Ints:
        """Saturate and count."""
        clipped = fixed.saturate(value, bits)
        count = int(np.count_nonzero(clipped != value))
        if count:
            self.saturated[op, site] += count
        return clipped

    def load(self, op: Load) -> None:
        value = op.values.astype(np.int64) << op.shift
        self.vectors[op.dst] = np.broadcast_to(value, (len(self.squares), value.size))
        self.note(op.name, "vector", self.vectors[op.dst])

    def quantise(self, op: Quantise) -> None:
        x = self.vectors[op.src]
        v = self.clip(op.name, "product", fixed.rnd(x * op.weights.astype(np.int64), op.shift),
                      VECTOR_BITS)
        if op.sum_of is not SumOf.KEEP:
            z = x if op.sum_of is SumOf.INPUT else v
            u = self.clip(op.name, "square", fixed.rnd(z, op.square_shift), ACTIVATION_BITS)
            self.squares = (u * u).sum(-1)
            self.note(op.name, "squares", self.squares)
        if not op.codes:
            return
        self.vectors[op.dst] = v
        mantissa, exponent = fixed.normalise(np.abs(v).max(-1))
        codes = fixed.code(v, exponent[:, None], fixed.reciprocal(mantissa)[:, None])
        self.codes = codes.astype(np.float32)
        self.ratio = fixed.ratio(mantissa, exponent, self.squares)
        self.note(op.name, "v", v)
        self.note(op.name, "codes", codes)
        self.note(op.name, "ratio", np.stack(self.ratio, -1))

    def matvec(self, op: Matvec, weights: np.ndarray) -> None:
        codes = self.codes if weights.dtype == np.float32 else self.codes.astype(np.float64)
        acc = (codes @ weights).astype(np.int64)  # exact, see _EXACT_FLOAT32
        self.note(op.name, "acc", acc)
        if op.function is Function.LOGITS:
            self.acc = acc
            rows = fixed.saturate(acc, VECTOR_BITS)
        else:
            rows = self.rows(op, self.rescale(op, acc))
        if op.dst is not None:
            self.vectors[op.dst] = rows
        if op.function is not Function.LOGITS or op.store:
            self.note(op.name, "rows", rows)

    def rescale(self, op: Matvec, acc: Ints) -> Ints:
        """The rows before their function."""
        bits = VECTOR_BITS if op.function is Function.RESIDUAL else ACTIVATION_BITS
        if op.scale is None:
            return self.clip(op.name, "rescale", acc, ACTIVATION_BITS)
        mantissa, shift = fixed.scale(*op.scale, *self.ratio)
        self.note(op.name, "scale", np.stack([mantissa, shift], -1))
        y = fixed.rnd(acc * mantissa[:, None], shift[:, None])
        return self.clip(op.name, "rescale", y, bits)

    def rows(self, op: Matvec, y: Ints) -> Ints:
        """Epilogue function of every op but LOGITS."""
        operand = self.vectors[op.operand] if op.operand is not None else y
        name, function = op.name, op.function
        if function is Function.FORGET:
            s = fixed.sigmoid(fixed.saturate(y << op.activation_shift, ACTIVATION_BITS))
            if op.bounded:
                s = operand + fixed.rnd((SIGMOID_ONE - operand) * s, SIGMOID_FRACTION)
            return s
        if function is Function.RECURRENCE:
            assert op.state is not None
            h = recur(operand, fixed.silu(y, op.activation_shift), self.state.get(op.state))
            self.states[op.state], self.state[op.state] = h, h[-1]
            return h
        if function is Function.OUTPUT_GATE:
            assert op.state is not None
            h = fixed.silu(self.states.pop(op.state), op.activation_shift)
            return self.clip(name, "gate", fixed.rnd(y * h, op.shift), VECTOR_BITS)
        if function is Function.SILU:
            return fixed.silu(y, op.activation_shift)
        if function is Function.MULTIPLY:
            return self.clip(name, "gate", fixed.rnd(y * operand, op.shift), VECTOR_BITS)
        return self.clip(name, "residual", operand + y, VECTOR_BITS)


def recur(gate: Ints, c: Ints, start: Ints | None) -> Ints:
    """All states ``h[t] = c[t] + rnd(gate[t] * (h[t-1] - c[t]), 15)``, shape ``[T, e]``."""
    h = np.empty_like(c)
    last = np.zeros(c.shape[1], np.int64) if start is None else start
    half = np.int64(SIGMOID_ONE >> 1)
    for now, g, new in zip(h, gate, c, strict=True):
        np.subtract(last, new, out=now)
        now *= g
        now += half
        now >>= SIGMOID_FRACTION
        now += new
        last = now
    return h


def _columns(op: Matvec) -> np.ndarray:
    """Weights ``[K, rows]`` in float: products with codes run on BLAS and stay exact."""
    return op.trits.astype(np.float32 if op.fan_in <= _EXACT_FLOAT32 else np.float64).T


class IntegerModel:
    """Runs a program on integers.

    Parameters
    ----------
    program : Program
        What :func:`ternforge_model.convert.convert` makes.
    """

    def __init__(self, program: Program):
        if not isinstance(program, Program):
            raise TypeError(f"IntegerModel program must be a Program, not {program!r}")
        self.program = program
        self._weights = {op.name: np.ascontiguousarray(_columns(op))
                         for op in program.ops if isinstance(op, Matvec)}

    @property
    def logit_scale(self) -> float:
        """``logit = acc * logit_scale * ratio``."""
        return self.program.logit_scale

    def forward(
        self, ids: Sequence[int] | np.ndarray, state: State | None = None, *, trace: bool = False,
        ops: Iterable[Op] | None = None,
    ) -> IntegerResult:
        """Run a sequence.

        Parameters
        ----------
        ids : sequence of int
            Tokens, at least one.
        state : dict or None
            State after the tokens before ``ids``; None at the start of a sequence.
        trace : bool
            Keep every intermediate. ``trace[op name, kind]`` is int64 with time first, in the
            order in which the core writes: for a LOAD ``vector`` ``[T, n]`` (the embedding row is
            the op ``embeddings``); for a QUANTISE ``squares`` ``[T]`` (unless it keeps the sum),
            ``v`` ``[T, K]``, ``codes`` ``[T, K]`` and ``ratio`` ``[T, 2]`` (mantissa, exponent),
            the last three only if it makes codes; for a MATVEC ``acc`` ``[T, rows]``, ``scale``
            ``[T, 2]`` (mantissa, shift; only if scaled) and ``rows`` ``[T, rows]``, which is what
            it writes to the vector RAM (to the state RAM for RECURRENCE, nothing for LOGITS
            without ``store``).
        ops : iterable of Op or None
            What to run instead of the program's own ops: those of a model so large that each is
            made when it is due, and forgotten.

        Raises
        ------
        ValueError
            ``ids`` is empty or holds a number that is not a token, or ``state`` has other names or
            shapes than the program's.
        """
        tokens = check_tokens(ids, self.program.vocab_size)
        check_state(state, self.program.states)
        rows = self.program.embedding[tokens].astype(np.int64) << self.program.embedding_shift
        run = _Run(rows, state or {}, trace)
        run.note("embeddings", "vector", rows)
        for op in self.program.ops if ops is None else ops:
            self._execute(run, op)
        return IntegerResult(
            tokens=run.acc.argmax(-1), acc=run.acc, ratio_mantissa=run.ratio[0],
            ratio_exponent=run.ratio[1], state={k: v.copy() for k, v in run.state.items()},
            saturated_ops=dict(run.saturated), trace=run.trace or {},
        )

    def step(self, token: int, state: State | None = None, *, trace: bool = False) -> IntegerResult:
        """Run one token; the same integers as a longer :meth:`forward` has at that place."""
        return self.forward([token], state, trace=trace)

    def part(
        self, layer: int | None, x: Ints, state: State
    ) -> tuple[Trace, dict[tuple[str, str], int]]:
        """Run the ops of one layer alone, on a residual stream that is given.

        Parameters
        ----------
        layer : int or None
            Which one; None is the head.
        x : numpy.ndarray
            Residual stream before the layer, int64 ``[T, d]``, in the format of the program.
        state : dict
            State before the first token; zero where it has no entry.

        Returns
        -------
        trace, saturated
            As in :meth:`forward`: every intermediate, and the clips by (op name, site).
        """
        run = _Run(x, state, True)
        for op in self.program.ops:
            if op.layer == layer:
                self._execute(run, op)
        return run.trace or {}, dict(run.saturated)

    def _execute(self, run: _Run, op: Op) -> None:
        if isinstance(op, Load):
            run.load(op)
        elif isinstance(op, Quantise):
            run.quantise(op)
        else:
            weights = self._weights.get(op.name)
            run.matvec(op, _columns(op) if weights is None else weights)
