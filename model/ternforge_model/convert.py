"""From a float checkpoint to the integer program: formats by calibration, constants rounded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from ternforge.isa import Function, SumOf
from ternforge.numerics import (
    ACTIVATION_BITS,
    CODE_MAX,
    SIGMOID_FRACTION,
    SIGMOID_INPUT_FRACTION,
    VECTOR_BITS,
)

from .bounded import bounded_tokens
from .calibrate import Maxima, calibrate
from .config import ModelConfig
from .formats import (
    HEADROOM,
    LOAD_SHIFT_MAX,
    SHIFT_MAX,
    SPLIT_ABOVE,
    embedding_format,
    fraction_bits,
    mantissa,
    rounded_weights,
    split_weights,
)
from .program import Load, Matvec, Op, Program, Quantise
from .skeleton import Bound, Linear, Norm, Skeleton, skeleton

__all__ = ["convert", "program_from_skeleton"]

#: Functions whose argument has to stay in Q4.11 or coarser.
_NONLINEAR = (Function.FORGET, Function.RECURRENCE, Function.SILU)


class _Converter:
    """Gives the ops of a skeleton formats, in order."""

    def __init__(self, source: Skeleton, largest: Maxima):
        self.source = source
        self.largest = largest
        top = max(value for (name, kind), value in largest.items()
                  if kind == "out" and name.endswith(("o_proj", "down_proj")))
        # Rows of the table that calibration did not see count as well.
        top = max(top, float(np.abs(source.embedding).max()))
        x = fraction_bits(top, VECTOR_BITS, HEADROOM["x"])
        self.embedding, fraction = embedding_format(source.embedding, x)
        self.embedding_shift = min(x - fraction, LOAD_SHIFT_MAX)
        #: Fraction bits of each vector and state.
        self.fraction = {"x": fraction + self.embedding_shift}
        self.formats = {"x": self.fraction["x"]}
        self.growth = 1.0  # of what the next norm and matrix read, see state_growth
        self.v = self.u = self.fan_in = 0  # fractions of the last norm's v and squared values

    def bound(self, op: Bound) -> Load:
        self.fraction[op.dst] = SIGMOID_FRACTION
        values = np.minimum(np.rint(op.values * (1 << SIGMOID_FRACTION)), (1 << 15) - 1)
        return Load(name=op.name, layer=op.layer, dst=op.dst, values=values.astype(np.int16))

    def norm(self, op: Norm) -> list[Quantise]:
        """One pass, or two if 16 bits of the weights are too few (formats.SPLIT_ABOVE)."""
        grown = self.growth if op.src == "p" else 1.0
        seen = self.largest[op.name, "v"] * grown
        if op.codes and self.largest.get((op.name, "rounding"), 0.0) > SPLIT_ABOVE:
            first, second = split_weights(op.weights)
            by_input = op.sum_of is SumOf.INPUT
            # Each power of two is less than twice the weight, so no product is twice as large.
            before = self.quantise(replace(
                op, name=f"{op.name}.power", weights=first,
                sum_of=SumOf.INPUT if by_input else SumOf.KEEP), 2 * seen)
            after = self.quantise(replace(
                op, src=op.dst, weights=second, sum_of=SumOf.KEEP if by_input else op.sum_of), seen)
            return [before, after]
        return [self.quantise(op, seen)]

    def quantise(self, op: Norm, seen: float) -> Quantise:
        """One pass whose products reach ``seen``."""
        source = self.fraction[op.src]
        weights, w = rounded_weights(op.weights)
        self.v = min(source + w, fraction_bits(seen, VECTOR_BITS, HEADROOM["product"]))
        square_shift = 0
        if op.sum_of is not SumOf.KEEP:
            z, largest = self.v, seen
            if op.sum_of is SumOf.INPUT:
                z, largest = source, self.largest[op.name.removesuffix(".power"), "in"]
            room = fraction_bits(largest, ACTIVATION_BITS, HEADROOM["square"])
            square_shift = min(max(0, z - room), SHIFT_MAX)
            self.u, self.fan_in = z - square_shift, op.weights.size
        if op.codes:
            self.fraction[op.dst] = self.v
        self.formats[op.name] = self.v
        return Quantise(name=op.name, layer=op.layer, src=op.src, dst=op.dst, weights=weights,
                        shift=source + w - self.v, square_shift=square_shift, sum_of=op.sum_of,
                        codes=op.codes)

    def factor(self, op: Linear, fraction: int) -> float:
        """Rows with ``fraction`` bits are acc times this times the ratio."""
        return (op.size * sqrt(self.fan_in) / CODE_MAX) * 2.0 ** (fraction - self.v + self.u)

    def linear(self, op: Linear) -> Matvec:
        y, scale = 0, None
        if op.scaled:
            y = fraction_bits(self.largest[op.name, "y"], ACTIVATION_BITS, HEADROOM["rescale"])
            if op.function is Function.RESIDUAL:
                y = self.fraction["x"]
            elif op.function in _NONLINEAR:
                y = max(SIGMOID_INPUT_FRACTION - 7, min(SIGMOID_INPUT_FRACTION, y))
            scale = mantissa(self.factor(op, y))
        self.formats[op.name] = y
        argument, shift = y, 0
        if op.function is Function.FORGET:
            out = SIGMOID_FRACTION
        elif op.function is Function.OUTPUT_GATE:
            assert op.state is not None
            argument = self.fraction[op.state]
            self.growth = self.state_growth(op.layer)
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
            name=op.name, layer=op.layer, function=op.function, scale=scale,
            trits=op.matrix if op.matrix.lazy else op.trits,
            bounded=op.bounded, store=op.function is Function.LOGITS and op.dst is not None,
            activation_shift=SIGMOID_INPUT_FRACTION - argument if nonlinear else 0, shift=shift,
            operand=op.operand, state=op.state, dst=op.dst)

    def state_growth(self, layer: int | None) -> float:
        """Factor by which the state of a layer may still grow after calibration, beyond HEADROOM.

        A state is a blend of all candidates so far, so the largest candidate bounds it; a gate near
        one takes longer to get there than a calibration text lasts.
        """
        name = next(op.name for op in self.source.ops if isinstance(op, Linear)
                    and op.layer == layer and op.function is Function.RECURRENCE)
        reached = self.largest[name, "out"]
        if reached == 0:
            return 1.0
        return max(1.0, self.largest[name, "candidate"] / reached / (HEADROOM["gate"] / 2))

    def product(self, op: Linear, exact: int) -> tuple[int, int]:
        """Fraction bits and shift of a gated product that has ``exact`` fraction bits."""
        grown = self.growth if op.function is Function.OUTPUT_GATE else 1.0
        seen = self.largest[op.name, "out"] * grown
        out = min(exact, fraction_bits(seen, VECTOR_BITS, HEADROOM["gate"]))
        shift = min(exact - out, SHIFT_MAX)
        return exact - shift, shift

    def program(self, name: str) -> Program:
        ops: list[Op] = []
        logit_scale = 0.0
        for op in self.source.ops:
            if isinstance(op, Bound):
                ops.append(self.bound(op))
            elif isinstance(op, Norm):
                ops += self.norm(op)
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
    lazy: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
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
    lazy : bool or None
        Whether the matrices stay in ``tensors`` and each is read when it is used; None: only if
        they are too many to keep, see :func:`~.skeleton.skeleton`.
    progress : callable or None
        Called with (parts done, parts in all) of the calibration.

    Raises
    ------
    ValueError
        A tensor is missing, has another shape or is not finite.
    """
    source = skeleton(config, tensors, lazy)
    largest = calibrate(source, text_ids, progress)
    program = program_from_skeleton(source, largest, name=name)
    return replace(program, calibration=bounded_tokens(text_ids)) if source.lazy else program
