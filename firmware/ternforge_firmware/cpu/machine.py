"""The core as compiled loops: one call runs a range of ops on the registers of some tokens.

Formulas are those of ``docs/integer-contract.md``; sites are counted as the integer model does.
"""

import numpy as np
from numba import prange

from ternforge.isa import Function, Opcode, SumOf
from ternforge.numerics import (
    ACTIVATION_BITS,
    SIGMOID_FRACTION,
    SIGMOID_ONE,
    VECTOR_BITS,
)
from ternforge_model.integer import SITES

from .jit import inner, kernel
from .planes import split
from .scalars import code, normalise, ratio, reciprocal, rnd, saturate, scale, sigmoid, silu
from .vector import PLANES, ROWS, dot_rows

__all__ = ["GROUP", "OP", "run"]

#: Most matrices in one parallel loop.
GROUP = 3

#: One op: the fields of its header as integers, where its constants and weights stand, and how many
#: matrices from it on share one parallel loop.
OP = np.dtype([(name, np.int64) for name in (
    "op", "function", "count", "fan_in", "words", "start", "group", "src", "operand", "state",
    "dst", "shift", "square_shift", "activation_shift", "sum_of", "codes", "scaled", "bounded",
    "store", "scale_mantissa", "scale_exponent")])

_LOAD, _QUANTISE = Opcode.LOAD.value, Opcode.QUANTISE.value
_KEEP, _INPUT = SumOf.KEEP.value, SumOf.INPUT.value
_FORGET, _RECURRENCE = Function.FORGET.value, Function.RECURRENCE.value
_OUTPUT_GATE, _SILU = Function.OUTPUT_GATE.value, Function.SILU.value
_MULTIPLY, _RESIDUAL = Function.MULTIPLY.value, Function.RESIDUAL.value
_LOGITS = Function.LOGITS.value
_PRODUCT, _SQUARE, _RESCALE, _GATE, _SUM = (
    SITES.index(site) for site in ("product", "square", "rescale", "gate", "residual"))


@inner
def _quantise(op, constants, vector, codes, planes, ratios, squares, counts):
    largest, total = 0, 0
    for k in range(op.count):
        x = np.int64(vector[op.src + k])
        exact = rnd(x * constants[op.start + k], op.shift)
        v = saturate(exact, VECTOR_BITS)
        counts[_PRODUCT] += v != exact
        if op.sum_of != _KEEP:
            exact = rnd(x if op.sum_of == _INPUT else v, op.square_shift)
            u = saturate(exact, ACTIVATION_BITS)
            counts[_SQUARE] += u != exact
            total += u * u
        if op.codes:
            vector[op.dst + k] = v
            largest = max(largest, abs(v))
    if op.sum_of != _KEEP:
        squares[0] = total
    if op.codes:
        mantissa, exponent = normalise(largest)
        recip = reciprocal(mantissa)
        for k in range(op.count):
            codes[k] = code(np.int64(vector[op.dst + k]), exponent, recip)
        split(codes, planes[:, :op.words])
        ratios[0], ratios[1] = ratio(mantissa, exponent, squares[0])


@inner
def _rows(ops, n, k, block, weights, vectors, states, planes, scales, accs, clips):
    """A block of rows of op n + k, and its clips in the rescale stage and after it.

    Numba passes no records into parallel loops, and threads would count views of arrays together.
    """
    op = ops[n + k]
    rescaled, later, stride = 0, 0, planes.shape[2]
    for t in range(len(accs)):
        dot_rows(weights, op.start + block * ROWS * 2 * op.words, planes, t * PLANES * stride,
                 stride, op.words, accs, t * accs.shape[1] + block * ROWS)
        for r in range(block * ROWS, min((block + 1) * ROWS, op.count)):
            a, b = _row(op, r, t, np.int64(accs[t, r]), vectors, states, scales[k, t, 0],
                        scales[k, t, 1])
            rescaled += a
            later += b
    clips[k, block, 0], clips[k, block, 1] = rescaled, later


@inner
def _row(op, r, t, acc, vectors, states, mantissa, right):
    function, shift = op.function, op.activation_shift
    bits = VECTOR_BITS if function == _RESIDUAL else ACTIVATION_BITS
    if function == _LOGITS:
        if op.store:
            vectors[t, op.dst + r] = saturate(acc, VECTOR_BITS)
        return 0, 0
    exact = rnd(acc * mantissa, right) if op.scaled else acc
    y = saturate(exact, bits)
    rescaled, later = y != exact, False
    if function == _FORGET:
        s = sigmoid(saturate(y << shift, ACTIVATION_BITS))
        if op.bounded:
            low = np.int64(vectors[t, op.operand + r])
            s = low + rnd((SIGMOID_ONE - low) * s, SIGMOID_FRACTION)
        vectors[t, op.dst + r] = s
    elif function == _RECURRENCE:
        c, h = silu(y, shift), np.int64(states[t, op.state + r])
        gate = np.int64(vectors[t, op.operand + r])
        states[t + 1, op.state + r] = c + rnd(gate * (h - c), SIGMOID_FRACTION)
    elif function == _SILU:
        vectors[t, op.dst + r] = silu(y, shift)
    else:
        if function == _OUTPUT_GATE:
            h = silu(np.int64(states[t + 1, op.state + r]), shift)
            exact = rnd(y * h, op.shift)
        elif function == _MULTIPLY:
            exact = rnd(y * np.int64(vectors[t, op.operand + r]), op.shift)
        else:
            exact = y + np.int64(vectors[t, op.operand + r])
        y = saturate(exact, VECTOR_BITS)
        later = y != exact
        vectors[t, op.dst + r] = y
    return rescaled, later


@kernel(parallel=True)
def run(ops, first, last, constants, weights, vectors, states, codes, planes, ratios, squares,
        scales, accs, clips, counts):
    """Run ``ops[first:last]`` for T tokens whose embedding rows stand in ``vectors``.

    Parameters
    ----------
    ops : numpy.ndarray
        Records of :data:`OP`.
    first, last : int
        Range of ops.
    constants : numpy.ndarray
        int16: constants of all LOADs and QUANTISEs; an op's begin at its ``start``.
    weights : numpy.ndarray
        uint64: bit planes of all matrices (:func:`.planes.repack`).
    vectors : numpy.ndarray
        int32 ``[T, depth]``: the vector RAM of each token.
    states : numpy.ndarray
        int16 ``[T + 1, depth]``: the state RAM before the first token and after each.
    codes, planes : numpy.ndarray
        int8 ``[T, 64 * W]`` and uint64 ``[T, 8, W]``, W the words of the longest codes.
    ratios, squares, scales : numpy.ndarray
        int64 ``[T, 2]``, ``[T, 1]``, ``[GROUP, T, 2]``.
    accs : numpy.ndarray
        int32 ``[T, rows]``, rows the most of any matrix, rounded up to :data:`.vector.ROWS`.
    clips : numpy.ndarray
        int64 ``[GROUP, rows / ROWS, 2]``: room for the clips of each block.
    counts : numpy.ndarray
        int64 ``[len(ops), len(SITES)]``: clips are added here.
    """
    tokens = len(accs)
    n = first
    while n < last:
        op, group = ops[n], 1
        if op.op == _LOAD:
            for t in range(tokens):
                for k in range(op.count):
                    vectors[t, op.dst + k] = constants[op.start + k] << op.shift
        elif op.op == _QUANTISE:
            for t in range(tokens):
                _quantise(op, constants, vectors[t], codes[t], planes[t], ratios[t], squares[t],
                          counts[n])
        else:
            group = min(op.group, last - n)
            for k in range(group):
                each = ops[n + k]
                for t in range(tokens):
                    scales[k, t, 0], scales[k, t, 1] = scale(
                        each.scale_mantissa, each.scale_exponent, ratios[t, 0], ratios[t, 1])
            blocks = (op.count + ROWS - 1) // ROWS
            for block in prange(blocks):
                for k in range(group):
                    _rows(ops, n, k, block, weights, vectors, states, planes, scales, accs, clips)
            for k in range(group):
                residual = ops[n + k].function == _RESIDUAL
                for block in range(blocks):
                    counts[n + k, _RESCALE] += clips[k, block, 0]
                    counts[n + k, _SUM if residual else _GATE] += clips[k, block, 1]
        n += group
