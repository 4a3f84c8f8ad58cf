"""Stationary codes of the lanes: code memory and the register that the lanes see."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.trits import TRITS_PER_BYTE

__all__ = ["TileBuffer"]


class TileBuffer(wiring.Component):
    """Hold a quantised vector and lay out its tiles for the lanes, one after the other.

    Codes are stored as they come, ``lanes`` to a word, so that five words make a tile. A loader
    copies tile after tile, round robin from tile 0, into the register, a word per cycle: the first
    one after :py:`restart` as its codes come, every other one once the tile before is released.
    A tile is ready 5 cycles after that release, or two cycles after its last code came; a cycle
    later where beats are wide. With ``tile_registers=2`` the tile is loaded into a register of its
    own, which takes a cycle more, and stands in the cycle after the release if that has happened.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        ``lanes``, ``elements``, ``max_fan_in`` and ``tile_registers`` count.

    Members
    -------
    restart : :py:`In(1)`
        Strobe: forget all codes and start over with tile 0. Wins over everything else.
    tiles : :py:`In(8)`
        Tiles of the vector, 1 to ``max_tiles``. Held from the cycle after ``restart`` on.
    codes_i : :py:`In(stream.Signature(data.ArrayLayout(signed(8), elements), always_ready=True))`
        Codes in order, lowest index first.
    complete : :py:`In(1)`
        Strobe, with the last code or later: no more will come. What lies beyond is undefined.
    ready : :py:`Out(1)`
        All of a tile stands on ``codes``. Falls after ``release`` unless ``following``.
    following : :py:`Out(1)`
        The next tile will stand on ``codes`` in the cycle after ``release``. Only with two tile
        registers.
    release : :py:`In(1)`
        Strobe, only while ``ready``: the tile is needed in this cycle for the last time.
    codes : :py:`Out(data.ArrayLayout(signed(8), config.tile))`
        The tile; changes word by word while it is not ready.
    """

    restart: Signal
    tiles: Signal
    codes_i: stream.Interface
    complete: Signal
    ready: Signal
    following: Signal
    release: Signal
    codes: data.View

    def __init__(self, config: CoreConfig):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"TileBuffer config must be a CoreConfig, not {config!r}")
        self.config = config
        super().__init__({
            **self.vector_side(config),
            "codes": Out(data.ArrayLayout(signed(8), config.tile)),
        })

    @staticmethod
    def vector_side(config: CoreConfig) -> dict[str, wiring.Member]:
        """All members but the tile itself, for units that hold tiles in another form."""
        return {
            "restart": In(1),
            "tiles": In(8),
            "codes_i": In(stream.Signature(data.ArrayLayout(signed(8), config.elements),
                                           always_ready=True)),
            "complete": In(1),
            "ready": Out(1),
            **({"following": Out(1)} if config.tile_registers > 1 else {}),
            "release": In(1),
        }

    def elaborate(self, platform):
        m = Module()
        config = self.config
        bits = 8 * config.row_lanes  # of a word
        groups = config.row_lanes // config.elements  # writes to a word
        words = TRITS_PER_BYTE  # to a tile
        depth = config.max_tiles * words
        # A read that collides with a write is never used: spare the logic that would order them.
        m.submodules.ram = ram = memory.Memory(shape=unsigned(bits), depth=depth, init=[],
                                               attrs={"no_rw_check": 1})
        write = ram.write_port(granularity=8 * config.elements)
        read = ram.read_port()

        # Writer.
        written = Signal(range(depth + 1))  # full words
        group = Signal(range(groups))
        complete = Signal()
        m.d.comb += [
            write.addr.eq(written),
            write.data.eq(self.codes_i.payload.as_value().replicate(groups)),
            write.en.eq(self.codes_i.valid << group),
        ]
        with m.If(self.codes_i.valid):
            m.d.sync += group.eq(group + 1)
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), written.eq(written + 1)]
        with m.If(self.complete):
            m.d.sync += complete.eq(1)

        # Loader. `address` never passes `written` before the vector is complete, so that "differs
        # from" means "is less than". A word that was read waits at the read port.
        address = Signal(range(depth + 1))
        address_word, tile = Signal(range(words)), Signal(range(max(2, config.max_tiles)))
        waiting, load, fetch = Signal(), Signal(), Signal()
        slot = Signal(words, init=1)  # one bit: where the next word goes
        codes = Signal(words * bits, reset_less=True)
        if config.tile_registers == 1:  # loaded in place
            loading, full, leaves = codes, self.ready, self.release
        else:
            loading = Signal(words * bits, name="next_codes", reset_less=True)
            full, leaves = self.following, Signal()
            m.d.comb += leaves.eq(full & (~self.ready | self.release))
        loads, word = Signal(words), Signal(bits, reset_less=True)  # the codes that change, to what
        if config.registers_beats:  # they are many and far apart: told a cycle later
            filled, domain = Signal(), m.d.sync
        else:
            filled, domain = full, m.d.comb
        domain += [loads.eq(slot & load.replicate(words)), word.eq(read.data)]
        m.d.comb += [
            load.eq(waiting & (~filled | leaves)),
            fetch.eq((~waiting | load) & (complete | (address != written))),
            read.addr.eq(address), read.en.eq(fetch), self.codes.eq(codes),
        ]
        m.d.sync += waiting.eq(fetch | waiting & ~load)
        with m.If(fetch):
            m.d.sync += [address_word.eq(address_word + 1), address.eq(address + 1)]
            with m.If(address_word == words - 1):
                m.d.sync += [address_word.eq(0), tile.eq(tile + 1)]
                with m.If(tile == (self.tiles - 1)[:len(tile)]):
                    m.d.sync += [tile.eq(0), address.eq(0)]
        if config.tile_registers > 1:
            with m.If(leaves):
                m.d.sync += [codes.eq(loading), self.ready.eq(1)]
            with m.Elif(self.release):
                m.d.sync += self.ready.eq(0)
        with m.If(leaves):
            m.d.sync += [filled.eq(0), full.eq(0)]
        with m.If(load):
            m.d.sync += slot.eq(slot.rotate_left(1))
            with m.If(slot[-1]):
                m.d.sync += filled.eq(1)
        with m.If(loads[-1]):
            m.d.sync += full.eq(1)
        for index in range(words):
            with m.If(loads[index]):
                m.d.sync += loading.word_select(index, bits).eq(word)
        with m.If(self.restart):
            m.d.sync += [
                written.eq(0),
                group.eq(0),
                complete.eq(0),
                address.eq(0),
                address_word.eq(0),
                tile.eq(0),
                waiting.eq(0),
                slot.eq(1),
                filled.eq(0),
                full.eq(0),
            ]
            if config.tile_registers > 1:
                m.d.sync += self.ready.eq(0)
            if config.registers_beats:
                m.d.sync += loads.eq(0)
        return m
