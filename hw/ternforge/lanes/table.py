"""Lanes of tables in block RAM: a byte of weights addresses the sum of its five products."""

from collections.abc import Iterator
from itertools import count

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import connect, flipped

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.core.tile import TileBuffer
from ternforge.lanes.ecp5 import add_on_chains
from ternforge.lanes.fill import SHARED, SUM_BITS, TableFill
from ternforge.lanes.tree import Node, adder_tree, tree_levels
from ternforge.trits import TRITS_PER_BYTE

__all__ = ["Lanes"]


class Lanes(DotProduct):
    """Each lane reads the sum of its byte from a table; a tree of adders adds the sums.

    Instead of ``codes`` they have the members of a :class:`~ternforge.core.tile.TileBuffer` and
    take its place: they hold the vector, and ``ready`` says that the tables of a tile stand. A tile
    takes about ``248 * shared`` cycles to fill (:class:`TableFill`), behind the one in use.

    Parameters
    ----------
    config, packed
        See :class:`DotProduct`; weights must be packed. Where wide beats want a fast clock,
        a register stands behind each RAM.
    shared : int
        Lanes that one adder fills; fewer are quicker and take more.
    """

    restart: Signal
    tiles: Signal
    codes_i: stream.Interface
    complete: Signal
    ready: Signal
    following: Signal
    release: Signal

    def __init__(self, config: CoreConfig, *, packed: bool = True, shared: int = SHARED):
        super().__init__(config, packed=packed)
        if not self.packed:
            raise ValueError("tables must have packed weights, not pairs of bits")
        self.fill = TableFill(config, shared=shared)
        self.latency = (1 + config.registers_beats
                        + -(-tree_levels(config.row_lanes) // config.tree_levels))

    @staticmethod
    def operands(config: CoreConfig) -> dict[str, wiring.Member]:
        return TileBuffer.vector_side(config)

    def total(self, m: Module, trits: Iterator[tuple[Value, Value]], platform) -> Value:
        m.submodules.fill = fill = self.fill
        for name, member in self.operands(self.config).items():
            inner, outer = getattr(fill, name), getattr(self, name)
            if not member.is_port:
                connect(m, flipped(outer), inner)
            elif member.flow == wiring.In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        nodes = []
        for lane in range(self.config.row_lanes):
            unit, place = divmod(lane, fill.shared)
            # A read that collides with a write is never used: spare the logic that would order
            # them.
            m.submodules[f"table_{lane}"] = table = memory.Memory(
                shape=signed(SUM_BITS), depth=512, init=[], attrs={"no_rw_check": 1})
            write, read = table.write_port(), table.read_port()
            m.d.comb += [
                write.addr.eq(Cat(fill.write.byte, fill.write.bank)),
                write.data.eq(fill.write.sums[unit]), write.en.eq(fill.write.lanes[place]),
                read.addr.eq(Cat(self.i.p.data.word_select(lane, 8), fill.bank)),
            ]
            found = read.data
            if self.config.registers_beats:
                found = self.register(m, signed(SUM_BITS), found)
            nodes.append(Node(found, TRITS_PER_BYTE, None))
        numbers = count()
        return adder_tree(nodes, self.config.tree_levels,
                          lambda additions: add_on_chains(m, additions, numbers),
                          lambda shape, value: self.register(m, shape, value))
