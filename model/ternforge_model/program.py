"""The tensor-level program of one model: what runs for a token, before addresses are given.

One op stands for one packet of the weight stream (``ternforge.isa``); ops name *vectors* instead
of addresses. The integer model interprets a program, the packer turns it into an image.

A token runs ``program.embedding_row(token)`` and then ``program.ops`` in order. Vectors are not
carried from token to token, recurrent states are.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ternforge.isa import Function, SumOf
from ternforge.numerics import VECTOR_BITS

from .ternary import StoredTrits, TernaryMatrix

__all__ = ["Digest", "Load", "Matvec", "Op", "Program", "Quantise", "unscaled_fits"]

#: Longest quantised vector whose dot product always fits the 16 bits of an unscaled row.
UNSCALED_FAN_IN = 32767 // 127


def unscaled_fits(fan_in: int) -> bool:
    """Whether ``y = sat16(acc)`` can never saturate at this fan-in (at most 258)."""
    return fan_in <= UNSCALED_FAN_IN


def _require(op: "Op", rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"op {op.name!r} must have {rule}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Load:
    """``V[dst + k] = values[k] << shift`` (opcode LOAD)."""

    name: str  #: tensor it comes from, such as ``layers.1.attn.lower_bound``
    layer: int | None  #: None outside the layers
    dst: str  #: vector that is written
    values: np.ndarray  #: int8 or int16, shape ``[length of dst]``
    shift: int = 0  #: left shift, 0..15
    wide: bool = True  #: stored as 16 (true) or 8 bits

    def __post_init__(self):
        _require(self, "values of one dimension", self.values.ndim == 1)
        _require(self, "dtype int16 if wide, else int8",
                 self.values.dtype == (np.int16 if self.wide else np.int8))
        _require(self, "a shift in 0..15", 0 <= self.shift <= 15)
        top = 1 << (VECTOR_BITS - 1)
        shifted = self.values.astype(np.int64) << self.shift
        _require(self, f"shifted values of {VECTOR_BITS} bits",
                 bool(((-top <= shifted) & (shifted < top)).all()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantise:
    """``v = sat24(rnd(x * w, shift))``, int8 codes of v and its ratio (opcode QUANTISE).

    With ``codes`` false only the sum of squares is formed and nothing is written.
    """

    name: str  #: norm that the weights come from, such as ``layers.0.attn_norm``
    layer: int | None  #: None outside the layers
    src: str  #: vector x
    dst: str  #: vector v; may be ``src``
    weights: np.ndarray  #: int16, shape ``[K]``: merged norm weights
    shift: int  #: right shift of the products, 0..63
    square_shift: int  #: right shift before squaring, 0..15
    sum_of: SumOf | int  #: which squares are added up
    codes: bool = True  #: false: sum of squares only

    def __post_init__(self):
        _require(self, "int16 weights of one dimension",
                 self.weights.dtype == np.int16 and self.weights.ndim == 1)
        for name, most in (("shift", 63), ("square_shift", 15)):
            _require(self, f"{name} in 0..{most}", 0 <= getattr(self, name) <= most)
        _require(self, "something to do: codes or a sum", self.codes or self.sum_of != SumOf.KEEP)


@dataclass(frozen=True, kw_only=True, eq=False)
class Matvec:
    """Rows of ternary weights times the codes, through an epilogue (opcode MATVEC).

    ``scale`` is the constant part of the rescale factor, ``mantissa * 2**exponent`` with a mantissa
    in [2**15, 2**16), or None for unscaled rows. ``operand``, ``state`` and ``dst`` are None where
    ``function`` does not use them.
    """

    name: str  #: tensor, such as ``layers.0.attn.f_proj`` or ``layers.1.mlp.gate_proj.up``
    layer: int | None  #: None outside the layers
    function: Function | int  #: epilogue
    #: int8 in -1..1, shape ``[rows, K]``; made of a TernaryMatrix, each access reads it
    trits: StoredTrits = StoredTrits()
    scale: tuple[int, int] | None = None  #: mantissa, exponent; None: unscaled
    bounded: bool = False  #: FORGET: blend with the bounds in ``operand``
    store: bool = False  #: LOGITS: write the accumulators to ``dst``
    activation_shift: int = 0  #: 11 - fraction bits of the nonlinearity's argument, 0..7
    shift: int = 0  #: right shift of the product in OUTPUT_GATE and MULTIPLY, 0..15
    operand: str | None = None  #: vector; may be ``dst``
    state: str | None = None  #: recurrent state
    dst: str | None = None  #: vector

    def __post_init__(self):
        if not isinstance(trits := self.stored, TernaryMatrix):
            _require(self, "int8 trits of two dimensions",
                     trits.dtype == np.int8 and trits.ndim == 2 and trits.size > 0)
            _require(self, "trits in -1..1", abs(int(trits.min())) <= 1 >= trits.max())
        _require(self, "an activation_shift in 0..7", 0 <= self.activation_shift <= 7)
        _require(self, "a shift in 0..15", 0 <= self.shift <= 15)
        if self.scale is not None:
            mantissa, exponent = self.scale
            _require(self, "a scale mantissa in [2**15, 2**16)", 1 << 15 <= mantissa < 1 << 16)
            _require(self, "a scale exponent of 8 bits", -128 <= exponent < 128)
        fn = self.function
        _require(self, "bounded only with FORGET", not self.bounded or fn is Function.FORGET)
        _require(self, "store only with LOGITS", not self.store or fn is Function.LOGITS)
        wants_operand = self.bounded or fn in (Function.RECURRENCE, Function.MULTIPLY,
                                               Function.RESIDUAL)
        _require(self, "an operand exactly where its function reads one",
                 wants_operand == (self.operand is not None))
        _require(self, "a state exactly where its function uses one",
                 (fn in (Function.RECURRENCE, Function.OUTPUT_GATE)) == (self.state is not None))
        wants_dst = fn is not Function.RECURRENCE and (fn is not Function.LOGITS or self.store)
        _require(self, "a dst exactly where its function writes one",
                 wants_dst == (self.dst is not None))

    @property
    def stored(self) -> np.ndarray | TernaryMatrix:
        """The weights as they were given; nothing is read."""
        return vars(self)["trits"]

    @property
    def rows(self) -> int:
        """Number of outputs."""
        return self.stored.shape[0]

    @property
    def fan_in(self) -> int:
        """Number of inputs K."""
        return self.stored.shape[1]


Op = Load | Quantise | Matvec


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """Everything that the integer model and the packer need about one model.

    Vector names: ``x`` is the residual stream and lives from the embedding row to the last
    QUANTISE. The others live only between the op that writes them and the last op that reads them
    before the next write, so a packer may give them overlapping addresses: ``v`` (products of the
    quantiser; read by that packet, or by the second of two that share the weights), ``f`` (bounds,
    then forget gate; read by i_proj),
    ``p`` (mixer's gated product), ``gate`` (MLP's gate and product), ``logits``.
    """

    name: str  #: name of the model
    ops: tuple[Op, ...]  #: in execution order; op names are unique
    vectors: dict[str, int]  #: elements of each vector
    states: dict[str, int]  #: elements of each recurrent state, one per layer
    embedding: np.ndarray  #: int8 or int16, shape ``[V, d]``
    embedding_shift: int  #: left shift of a row when it is loaded to ``x``
    logit_scale: float  #: logit = acc * logit_scale * ratio of the last QUANTISE
    formats: dict[str, int] = field(default_factory=dict)  #: fraction bits by site
    #: What the formats were chosen by, where that is not the model's own text: tokens by their kind
    calibration: dict[str, int] = field(default_factory=dict)

    def __post_init__(self):
        self.embedding_row(0)
        seen = set()
        codes = None
        for op in self.ops:
            _require(op, "a name of its own", op.name not in seen)
            seen.add(op.name)
            for name, length in _uses(op):
                known = self.states if name == getattr(op, "state", None) else self.vectors
                _require(op, f"vectors of the program, not {name!r}", name in known)
                _require(op, f"as many elements as {name!r}", known.get(name) == length)
            if isinstance(op, Quantise) and op.codes:
                codes = op.weights.size
            elif isinstance(op, Matvec):
                _require(op, "the fan-in of the codes before it", op.fan_in == codes)

    @property
    def vocab_size(self) -> int:
        """Number of tokens V."""
        return self.embedding.shape[0]

    @property
    def hidden_size(self) -> int:
        """Width d of the residual stream."""
        return self.embedding.shape[1]

    @property
    def num_layers(self) -> int:
        """Number of layers L."""
        return len(self.states)

    @property
    def ternary_weights(self) -> int:
        """Number of ternary weights, head included."""
        return sum(op.rows * op.fan_in for op in self.ops if isinstance(op, Matvec))

    def embedding_row(self, token: int) -> Load:
        """The LOAD that starts ``token``: row of the table to ``x``."""
        return Load(name="embeddings", layer=None, dst="x", values=self.embedding[token],
                    shift=self.embedding_shift, wide=self.embedding.dtype == np.int16)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of everything that decides the tokens; the name is left out."""
        digest = Digest(self)
        for op in self.ops:
            digest.feed(op)
        return digest.finish()


class Digest:
    """:attr:`Program.digest`, fed op by op, for those who read each op once."""

    def __init__(self, program: Program):
        self._program = program
        self._hash = hashlib.sha256()
        self.feed(program.embedding_row(0))

    def feed(self, op: Op) -> None:
        """The next op of the program."""
        self._hash.update(type(op).__name__.encode())
        for key in vars(op):
            _feed(self._hash, key, getattr(op, key))

    def finish(self) -> str:
        """The digest, after the last op."""
        for key in ("embedding", "embedding_shift", "logit_scale", "vectors", "states"):
            _feed(self._hash, key, getattr(self._program, key))
        return self._hash.hexdigest()


def _uses(op: Op) -> Iterator[tuple[str, int]]:
    """Vectors and states of ``op`` with the number of elements that it touches."""
    if isinstance(op, Load):
        yield op.dst, op.values.size
    elif isinstance(op, Quantise):
        yield op.src, op.weights.size
        yield op.dst, op.weights.size
    else:
        for name in (op.operand, op.state, op.dst):
            if name is not None:
                yield name, op.rows


def _feed(h, key: str, value: object) -> None:
    if isinstance(value, np.ndarray):
        text = f"{key}:{value.dtype.str}:{value.shape}"
        h.update(text.encode())
        h.update(np.ascontiguousarray(value).data)
    else:
        value = value.name if isinstance(value, Function | SumOf) else value
        h.update(f"{key}={json.dumps(value, sort_keys=True)}".encode())
