"""Accumulators of the rows of one matrix."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Add up the sums of a row over the tiles of a matrix.

    Rows come in order, the same number in every tile of a matrix, at least ``min_rows``. One sum
    per cycle; a finished row follows its last sum after ``latency`` cycles; never stalls. Exact
    for ``max_tiles`` tiles.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        ``max_rows``, of which each core has its share, and the widths count. With ``tree_levels``
        of at most 2, as a fast clock needs, the accumulator read gets a register of its own.

    Attributes
    ----------
    latency : int
        Cycles from a sum on ``i`` to the finished row on ``o``.
    min_rows : int
        Fewest rows of a matrix of more than one tile.

    Members
    -------
    i : :py:`In(stream.Signature(DotProduct.sum_layout(config), always_ready=True))`
        Sum of one tile. ``first`` starts the row from 0, ``last`` finishes it, ``end`` comes with
        the last row of a tile. Rows that are both first and last touch no accumulator, and there
        may be more than ``max_rows`` of them.
    o : :py:`Out(stream.Signature(signed(config.acc_bits), always_ready=True))`
        A finished row.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: CoreConfig):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"Accumulator config must be a CoreConfig, not {config!r}")
        self.config = config
        self._registered = config.tree_levels <= 2
        self.latency = 3 if self._registered else 2
        self.min_rows = self.latency + 1
        super().__init__({
            "i": In(stream.Signature(DotProduct.sum_layout(config), always_ready=True)),
            "o": Out(stream.Signature(signed(config.acc_bits), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        # A read that collides with a write is never used: spare the logic that would order them.
        most = config.max_rows // config.cores
        m.submodules.ram = ram = memory.Memory(shape=signed(config.acc_bits), depth=most, init=[],
                                               attrs={"no_rw_check": 1})
        read = ram.read_port()
        write = ram.write_port()

        def row(name: str, advance: Value, end: Value) -> Signal:
            count = Signal(range(most), name=name)
            with m.If(advance):
                m.d.sync += count.eq(Mux(end, 0, count + 1))
            return count

        # Read the accumulator while the sum waits a cycle (or two); add; write and put out.
        addend = Signal(DotProduct.sum_layout(config), reset_less=True)
        addend_valid = Signal()
        base = read.data
        m.d.comb += read.addr.eq(row("read_row", self.i.valid, self.i.p.end))
        m.d.sync += [addend.eq(self.i.p), addend_valid.eq(self.i.valid)]
        if self._registered:
            read_base = Signal(signed(config.acc_bits), reset_less=True)
            m.d.sync += read_base.eq(base)
            base = read_base
            following = Signal.like(addend)
            following_valid = Signal()
            m.d.sync += [following.eq(addend), following_valid.eq(addend_valid)]
            addend, addend_valid = following, following_valid

        base = Mux(addend.first, 0, base)
        total = Signal(signed(config.acc_bits), reset_less=True)
        total_valid, total_end, keep = Signal(), Signal(), Signal()
        m.d.sync += [
            total.eq(base + addend.sum),
            total_valid.eq(addend_valid),
            total_end.eq(addend.end),
            keep.eq(addend_valid & ~addend.last),
            self.o.valid.eq(addend_valid & addend.last),
        ]
        m.d.comb += [
            write.addr.eq(row("write_row", total_valid, total_end)),
            write.data.eq(total),
            write.en.eq(keep),
            self.o.payload.eq(total),
        ]
        return m
