"""Stationary codes of the lanes: code memory, shadow and active register."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig

__all__ = ["TileBuffer"]


class TileBuffer(wiring.Component):
    """Hold a quantised vector and lay out its tiles for the lanes, one after the other.

    Codes are stored as they come. A loader copies tile after tile, round robin from tile 0, into
    a shadow register, ``elements`` codes per cycle, as soon as they are stored; :py:`take` swaps
    the shadow in. A tile is ready ``tile // elements + 2`` cycles after the take before, or
    two cycles after its last code came.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        ``lanes``, ``elements`` and ``max_fan_in`` count.

    Members
    -------
    restart : :py:`In(1)`
        Strobe: forget all codes and start over with tile 0. Wins over everything else.
    tiles : :py:`In(8)`
        Tiles of the vector, 1 to ``max_tiles``. Held from ``restart`` on.
    codes_i : :py:`In(stream.Signature(data.ArrayLayout(signed(8), elements), always_ready=True))`
        Codes in order, lowest index first.
    complete : :py:`In(1)`
        Strobe, with the last code or later: no more will come. What lies beyond is undefined.
    ready : :py:`Out(1)`
        A tile stands in the shadow. Falls in the cycle after ``take``.
    take : :py:`In(1)`
        Strobe, only while ``ready``: the tile appears on ``codes`` in the next cycle.
    codes : :py:`Out(data.ArrayLayout(signed(8), config.tile))`
        The tile taken last. ``restart`` leaves it alone.
    """

    restart: Signal
    tiles: Signal
    codes_i: stream.Interface
    complete: Signal
    ready: Signal
    take: Signal
    codes: data.View

    def __init__(self, config: CoreConfig):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"TileBuffer config must be a CoreConfig, not {config!r}")
        self.config = config
        super().__init__({
            "restart": In(1),
            "tiles": In(8),
            "codes_i": In(stream.Signature(data.ArrayLayout(signed(8), config.elements),
                                           always_ready=True)),
            "complete": In(1),
            "ready": Out(1),
            "take": In(1),
            "codes": Out(data.ArrayLayout(signed(8), config.tile)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = config.tile // config.elements  # of one tile
        depth = config.max_tiles * words
        # A read that collides with a write is never used: spare the logic that would order them.
        m.submodules.ram = ram = memory.Memory(shape=8 * config.elements, depth=depth, init=[],
                                               attrs={"no_rw_check": 1})
        write = ram.write_port()
        read = ram.read_port()

        # Writer.
        written = Signal(range(depth + 1))
        complete = Signal()
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.codes_i.p),
            write.en.eq(self.codes_i.valid),
        ]
        with m.If(self.codes_i.valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self.complete):
            m.d.sync += complete.eq(1)

        # Loader. `read` never passes `written` before the vector is complete, so that "differs
        # from" means "is less than".
        address = Signal(range(depth + 1))
        word = Signal(range(words))
        tile = Signal(range(config.max_tiles))
        filled = Signal()  # all words of the shadow are on their way
        fetch = Signal()
        shift = Signal()  # a word comes out of the memory; a stale one is shifted out again
        m.d.comb += [
            read.addr.eq(address),
            fetch.eq(~filled & (complete | (address != written))),
        ]
        m.d.sync += [
            shift.eq(fetch),
            self.ready.eq(filled),
        ]
        with m.If(fetch):
            m.d.sync += [word.eq(word + 1), address.eq(address + 1)]
            with m.If(word == words - 1):
                m.d.sync += [word.eq(0), filled.eq(1), tile.eq(tile + 1)]
                with m.If(tile == (self.tiles - 1)[:len(tile)]):
                    m.d.sync += [tile.eq(0), address.eq(0)]
        with m.If(self.take):
            m.d.sync += [filled.eq(0), self.ready.eq(0)]
        with m.If(self.restart):
            m.d.sync += [
                written.eq(0),
                complete.eq(0),
                address.eq(0),
                word.eq(0),
                tile.eq(0),
                filled.eq(0),
                self.ready.eq(0),
            ]

        # Shadow: a shift register, so that nothing selects; code 0 ends up lowest.
        shadow = Signal(8 * config.tile, reset_less=True)
        active = Signal(8 * config.tile, reset_less=True)
        with m.If(shift):
            m.d.sync += shadow.eq(Cat(shadow, read.data)[8 * config.elements:])
        with m.If(self.take):
            m.d.sync += active.eq(shadow)
        m.d.comb += self.codes.eq(active)
        return m
