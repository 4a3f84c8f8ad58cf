"""From a float checkpoint to the integer program: formats by calibration, constants rounded."""

from collections.abc import Mapping, Sequence
from math import floor, frexp, log2, sqrt

import numpy as np

from ternforge.isa import Function, SumOf
from ternforge.numerics import CODE_MAX, SIGMOID_FRACTION, SIGMOID_INPUT_FRACTION

from .calibrate import Maxima, calibrate
from .config import ModelConfig
from .program import Load, Matvec, Op, Program, Quantise
from .skeleton import Bound, Linear, Norm, Skeleton, skeleton

__all__ = ["convert", "program_from_skeleton"]

#: Room above the calibrated maximum, as a factor, by site.
HEADROOM = {"x": 4.0, "product": 4.0, "square": 2.0, "rescale": 1.5, "gate": 4.0}
#: Functions whose argument has to stay in Q4.11 or coarser.
_NONLINEAR = (Function.FORGET, Function.RECURRENCE, Function.SILU)
#: Longest right shift of a gate and before a square: more than any value there ever needs.
SHIFT_MAX = 15
#: Longest left shift of a LOAD, and most fraction bits of a 16-bit embedding.
_LOAD_SHIFT, _EMBEDDING_FRACTION = 15, 30


def _fraction(largest: float, bits: int, headroom: float = 1.0) -> int:
    """Most fraction bits with which ``largest * headroom`` fits a signed number of ``bits``."""
    if largest == 0:
        return 0
    top = (1 << (bits - 1)) - 1
    fraction = floor(log2(top / (largest * headroom)))
    return fraction + (largest * headroom * 2.0 ** (fraction + 1) <= top)


def _mantissa(value: float) -> tuple[int, int]:
    """``value`` > 0 as 16-bit mantissa in [2**15, 2**16) and exponent, rounded to nearest."""
    fraction, exponent = frexp(value)
    mantissa = round(fraction * (1 << 16))
    if mantissa == 1 << 16:
        return 1 << 15, exponent - 15
    return mantissa, exponent - 16


def _embedding(table: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Table as int8 if that is exact, else as int16, with at most ``most`` fraction bits."""
    largest = float(np.abs(table).max())
    narrow = min(most, _fraction(largest, 8))
    scaled = table * 2.0**narrow
    if bool((scaled == np.rint(scaled)).all()):
        return scaled.astype(np.int8), narrow
    wide = min(most, _fraction(largest, 16), _EMBEDDING_FRACTION)
    return np.rint(table * 2.0**wide).astype(np.int16), wide


class _Converter:
    """Gives the ops of a skeleton formats, in order."""

    def __init__(self, source: Skeleton, largest: Maxima):
        self.source = source
        self.largest = largest
        top = max(value for (name, kind), value in largest.items()
                  if kind == "out" and (name == "embeddings" or
                                        name.endswith(("o_proj", "down_proj"))))
        x = _fraction(top, 24, HEADROOM["x"])
        self.embedding, fraction = _embedding(source.embedding, x)
        self.embedding_shift = min(x - fraction, _LOAD_SHIFT)
        #: Fraction bits of each vector and state.
        self.fraction = {"x": fraction + self.embedding_shift}
        self.formats = {"x": self.fraction["x"]}
        self.v = self.u = self.fan_in = 0  # fractions of the last norm's v and squared values

    def bound(self, op: Bound) -> Load:
        self.fraction[op.dst] = SIGMOID_FRACTION
        values = np.minimum(np.rint(op.values * (1 << SIGMOID_FRACTION)), (1 << 15) - 1)
        return Load(name=op.name, layer=op.layer, dst=op.dst, values=values.astype(np.int16))

    def norm(self, op: Norm) -> Quantise:
        source = self.fraction[op.src]
        w = _fraction(float(np.abs(op.weights).max()), 16)
        seen = self.largest[op.name, "v"]
        self.v = min(source + w, _fraction(seen, 24, HEADROOM["product"]))
        square_shift = 0
        if op.sum_of is not SumOf.KEEP:
            by_input = op.sum_of is SumOf.INPUT
            z, seen = (source, self.largest[op.name, "in"]) if by_input else (self.v, seen)
            square_shift = min(max(0, z - _fraction(seen, 16, HEADROOM["square"])), SHIFT_MAX)
            self.u, self.fan_in = z - square_shift, op.weights.size
        if op.codes:
            self.fraction[op.dst] = self.v
        self.formats[op.name] = self.v
        return Quantise(name=op.name, layer=op.layer, src=op.src, dst=op.dst,
                        weights=np.rint(op.weights * 2.0**w).astype(np.int16),
                        shift=source + w - self.v, square_shift=square_shift, sum_of=op.sum_of,
                        codes=op.codes)

    def factor(self, op: Linear, fraction: int) -> float:
        """Rows with ``fraction`` bits are acc times this times the ratio."""
        return (op.size * sqrt(self.fan_in) / CODE_MAX) * 2.0 ** (fraction - self.v + self.u)

    def linear(self, op: Linear) -> Matvec:
        y, scale = 0, None
        if op.scaled:
            y = _fraction(self.largest[op.name, "y"], 16, HEADROOM["rescale"])
            if op.function is Function.RESIDUAL:
                y = self.fraction["x"]
            elif op.function in _NONLINEAR:
                y = max(SIGMOID_INPUT_FRACTION - 7, min(SIGMOID_INPUT_FRACTION, y))
            scale = _mantissa(self.factor(op, y))
        self.formats[op.name] = y
        argument, shift = y, 0
        if op.function is Function.FORGET:
            out = SIGMOID_FRACTION
        elif op.function is Function.OUTPUT_GATE:
            assert op.state is not None
            argument = self.fraction[op.state]
            out, shift = self.product(op, y + argument)
        elif op.function is Function.MULTIPLY:
            assert op.operand is not None
            out, shift = self.product(op, y + self.fraction[op.operand])
        else:
            out = y
        target = op.state if op.function is Function.RECURRENCE else op.dst
        if target is not None:
            self.fraction[target] = out
        nonlinear = op.function in _NONLINEAR or op.function is Function.OUTPUT_GATE
        return Matvec(
            name=op.name, layer=op.layer, function=op.function, trits=op.trits, scale=scale,
            bounded=op.bounded, store=op.function is Function.LOGITS and op.dst is not None,
            activation_shift=SIGMOID_INPUT_FRACTION - argument if nonlinear else 0, shift=shift,
            operand=op.operand, state=op.state, dst=op.dst)

    def product(self, op: Linear, exact: int) -> tuple[int, int]:
        """Fraction bits and shift of a gated product that has ``exact`` fraction bits."""
        out = min(exact, _fraction(self.largest[op.name, "out"], 24, HEADROOM["gate"]))
        shift = min(exact - out, SHIFT_MAX)
        return exact - shift, shift

    def program(self, name: str) -> Program:
        ops: list[Op] = []
        logit_scale = 0.0
        for op in self.source.ops:
            if isinstance(op, Bound):
                ops.append(self.bound(op))
            elif isinstance(op, Norm):
                ops.append(self.norm(op))
            else:
                ops.append(self.linear(op))
                if op.function is Function.LOGITS:
                    logit_scale = self.factor(op, 0)
        return Program(name=name, ops=tuple(ops), vectors=self.source.vectors,
                       states=self.source.states, embedding=self.embedding,
                       embedding_shift=self.embedding_shift, logit_scale=logit_scale,
                       formats=self.formats)


def program_from_skeleton(source: Skeleton, largest: Maxima, *, name: str = "model") -> Program:
    """Integer program of a skeleton, given its calibrated maxima."""
    return _Converter(source, largest).program(name)


def convert(
    config: ModelConfig,
    tensors: Mapping[str, np.ndarray],
    text_ids: Sequence[int] | np.ndarray | None = None,
    *,
    name: str = "model",
) -> Program:
    """Convert a checkpoint to the integer program.

    Parameters
    ----------
    config : ModelConfig
        Shape.
    tensors : mapping
        Float arrays by upstream's tensor names (spec section 2).
    text_ids : sequence of int or None
        Calibration text; None lets the model write its own, so that the program depends on the
        checkpoint alone.
    name : str
        Name of the model, for reports.

    Raises
    ------
    ValueError
        A tensor is missing, has another shape or is not finite.
    """
    source = skeleton(config, tensors)
    return program_from_skeleton(source, calibrate(source, text_ids), name=name)
