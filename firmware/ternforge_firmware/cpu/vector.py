"""The inner loop of every matrix, written as vector instructions of LLVM.

LLVM's vectoriser takes the columns of one row for the vector, and then adds up its elements for
each row. Here the vector is eight rows, so that nothing is left to add up: a word of weights and of
codes is one step for 512 weights. The instructions are LLVM's own and compile for every CPU; one
with AVX-512 VPOPCNTDQ does a step in about 28 instructions.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["PLANES", "ROWS", "dot_rows"]

PLANES = 8  #: bits of a code
ROWS = 8  #: rows that run together

_WORD = ir.IntType(64)
_VECTOR = ir.VectorType(_WORD, ROWS)
_INDEX = ir.IntType(32)


def _spread(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A vector of one word."""
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value,
                                   ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, ROWS), [0] * ROWS)
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _dot_rows(typing: Any, weights: Any, at: Any, planes: Any, plane: Any, stride: Any,
              width: Any, sums: Any, place: Any) -> Any:
    """Dot products of eight rows of weights with one vector of codes.

    Parameters
    ----------
    weights : array of uint64
        See :mod:`.planes`; the rows begin at element ``at``.
    planes : array of uint64
        Bit b of the codes begins at element ``plane + b * stride``.
    width : int
        Words of a row.
    sums : array of int32
        The results go to elements ``place`` to ``place + 7``.
    """
    signature = types.void(weights, types.intp, planes, types.intp, types.intp, types.intp, sums,
                           types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def elements(number: int) -> ir.Value:
            return context.make_array(signature.args[number])(
                context, builder, arguments[number]).data

        def vector(pointer: ir.Value, index: ir.Value, kind: ir.VectorType) -> ir.Value:
            return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())

        def constant(value: int) -> ir.Constant:
            return ir.Constant(_WORD, value)

        def bits(value: ir.Value) -> ir.Value:
            count = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.ctpop.v{ROWS}i64")
            return builder.call(count, [value])

        weight, code, out = elements(0), elements(2), elements(6)
        _, at, _, plane, stride, width, _, place = arguments
        totals = [cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0] * ROWS))
                  for _ in range(PLANES + 1)]

        def add(number: int, value: ir.Value) -> None:
            total = totals[number]
            builder.store(builder.add(builder.load(total), value), total)

        with cgutils.for_range(builder, width) as loop:
            word = builder.add(at, builder.mul(loop.index, constant(2 * ROWS)))
            some = builder.load(vector(weight, word, _VECTOR), align=8)
            sign = builder.load(vector(weight, builder.add(word, constant(ROWS)), _VECTOR), align=8)
            for b in range(PLANES):
                index = builder.add(builder.add(plane, builder.mul(stride, constant(b))),
                                    loop.index)
                bit = _spread(builder, builder.load(builder.gep(code, [index])))
                add(b, bits(builder.and_(builder.xor(bit, sign), some)))
            add(PLANES, bits(sign))
        total = builder.load(totals[PLANES])
        for b in range(PLANES):
            by = ir.Constant(_VECTOR, [b] * ROWS)
            part = builder.shl(builder.load(totals[b]), by)
            total = (builder.sub if b == PLANES - 1 else builder.add)(total, part)
        narrow = ir.VectorType(ir.IntType(32), ROWS)
        builder.store(builder.trunc(total, narrow), vector(out, place, narrow), align=4)
        return context.get_dummy_value()

    return signature, generate


dot_rows: Any = intrinsic(_dot_rows)
