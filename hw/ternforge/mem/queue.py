"""A stream buffer in RAM."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BlockQueue"]


class BlockQueue(wiring.Component):
    """First in, first out, for a writer that knows how much room there is.

    One write and one read per cycle. A payload can be taken two cycles after it was written. Unlike
    ``amaranth.lib.fifo.SyncFIFOBuffered`` it never forwards a write to the read port, which costs a
    register and a multiplexer per bit on RAM that does not do so by itself; and ``ready`` only
    enables that port, whose address stands in a register.

    Parameters
    ----------
    width : int
        Bits of a payload.
    depth : int
        Payloads; a power of two. One place stays free.

    Members
    -------
    write : :py:`In(1)`
        Store ``data``; never with ``depth - 1`` payloads inside.
    data : :py:`In(width)`
        Payload to store.
    o : :py:`Out(stream.Signature(width))`
        Payloads in order.
    """

    write: Signal
    data: Signal
    o: stream.Interface

    def __init__(self, width: int, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"BlockQueue depth must be a power of two, not {depth}")
        self.width, self.depth = width, depth
        super().__init__({"write": In(1), "data": In(width), "o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=self.width, depth=self.depth, init=[],
                                               attrs={"no_rw_check": 1})
        read, write = ram.read_port(), ram.write_port()
        first, end = Signal(range(self.depth)), Signal(range(self.depth))
        free, fetch = Signal(), Signal()  # the read port's output is not, or no longer, needed
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready), fetch.eq(free & (first != end)),
            read.addr.eq(first), read.en.eq(free), self.o.payload.eq(read.data),
            write.addr.eq(end), write.data.eq(self.data), write.en.eq(self.write),
        ]
        m.d.sync += [first.eq(first + fetch), end.eq(end + self.write)]
        with m.If(free):
            m.d.sync += self.o.valid.eq(fetch)
        return m
