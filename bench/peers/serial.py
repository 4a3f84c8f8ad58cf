"""The paper preset: one ternary weight per cycle from 2-bit codes, and no overlap.

How the core of the MatMul-free paper (arXiv 2406.02528) works: a vector is loaded, then a matrix
row by row, one weight a cycle, and each sum is read out before the next row begins; nothing runs
beside anything else. A design of our own, smaller than the paper's, which has vector registers and
queues.
"""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Code", "SerialUnit"]


class Code(enum.Enum, shape=2):
    """Two bits of a weight; ``0b10`` is reserved and adds nothing."""

    ZERO, POS, NEG = 0b00, 0b01, 0b11


class SerialUnit(wiring.Component):
    """Product of a ternary matrix and a vector of int8 codes, one weight per cycle.

    A matrix of ``rows`` rows takes ``columns`` cycles to load the vector, then ``columns + 3`` for
    each row: one to clear the sum, one for each weight, one for the last addition, one to hand over
    the sum.

    Parameters
    ----------
    columns : int
        Elements of the vector.

    Members
    -------
    last : :py:`In(1)`
        The row whose sum is handed over is the last: a new vector is loaded.
    code : :py:`In(stream.Signature(signed(8)))`
        The vector, taken while loading.
    weight : :py:`In(stream.Signature(Code))`
        The matrix, row by row, taken while multiplying.
    sum : :py:`Out(stream.Signature(signed(...)))`
        The exact sum of each row.
    """

    last: Signal
    code: stream.Interface
    weight: stream.Interface
    sum: stream.Interface

    def __init__(self, columns: int):
        if columns < 2:
            raise ValueError(f"SerialUnit columns must be at least 2, not {columns}")
        self.columns = columns
        super().__init__({
            "last": In(1), "code": In(stream.Signature(signed(8))),
            "weight": In(stream.Signature(Code)),
            "sum": Out(stream.Signature(signed(8 + columns.bit_length()))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.codes = codes = Memory(shape=signed(8), depth=self.columns, init=[])
        write, read = codes.write_port(), codes.read_port()
        index = Signal(range(self.columns))
        total = Signal.like(self.sum.payload)
        weight, taken = Signal(Code), Signal()
        end = index == self.columns - 1
        following = Signal.like(index)
        m.d.comb += [
            following.eq(Mux(end, 0, index + 1)),
            write.addr.eq(index), write.data.eq(self.code.payload),
            read.en.eq(1), read.addr.eq(index), self.sum.payload.eq(total),
        ]
        m.d.sync += taken.eq(0)
        with m.If(taken):
            with m.Switch(weight):
                with m.Case(Code.POS):
                    m.d.sync += total.eq(total + read.data)
                with m.Case(Code.NEG):
                    m.d.sync += total.eq(total - read.data)
        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += [self.code.ready.eq(1), write.en.eq(self.code.valid)]
                with m.If(self.code.valid):
                    m.d.sync += index.eq(following)
                    with m.If(end):
                        m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += total.eq(0)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.d.comb += self.weight.ready.eq(1)
                with m.If(self.weight.valid):
                    m.d.sync += [weight.eq(self.weight.payload), taken.eq(1),
                                 index.eq(following)]
                    with m.If(end):
                        m.next = "LAST"
            with m.State("LAST"):
                m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += self.sum.valid.eq(1)
                with m.If(self.sum.ready):
                    m.next = "ROW"
                    with m.If(self.last):
                        m.next = "LOAD"
        return m
