"""Fills tables of sums: one for every byte of weights, over the five codes that it meets."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import Out

from ternforge.config import CoreConfig
from ternforge.core.tile import TileBuffer
from ternforge.lanes.ecp5 import AdderChain
from ternforge.numerics import CODE_MAX
from ternforge.trits import TRITS_PER_BYTE, encode_trits

__all__ = ["SHARED", "SUM_BITS", "WALK", "TableFill"]

#: Lanes whose tables one adder fills, one after the other.
SHARED = 4

#: Signed width of the sum of five codes.
SUM_BITS = (CODE_MAX * TRITS_PER_BYTE).bit_length() + 1


def _walk() -> list[tuple[int, ...]]:
    """Trits of all bytes from zeros on, each one away from those before in a single trit.

    The zeros are left towards a corner of the cube, from which the reflected ternary code visits
    everything. No walk from the zeros does without coming by a byte twice; this one does five
    times.
    """
    code: list[tuple[int, ...]] = [()]
    for _ in range(TRITS_PER_BYTE):
        code = [(*trits, digit) for digit, inner in zip((-1, 0, 1), (code, code[::-1], code),
                                                        strict=True) for trits in inner]
    corner = [(-1,) * k + (0,) * (TRITS_PER_BYTE - k) for k in range(TRITS_PER_BYTE)]
    return corner + code


#: The order in which a table is filled.
WALK = _walk()

#: One step: where the sum goes, and the code that it has more than the sum before, or less.
STEP = data.StructLayout({"byte": 8, "code": 3, "subtract": 1, "first": 1})


def _steps() -> list[dict[str, int]]:
    steps = [{"byte": encode_trits(WALK[0]), "code": 0, "subtract": 0, "first": 1}]
    for before, after in pairwise(WALK):
        [(code, change)] = [(k, new - old) for k, (old, new) in
                            enumerate(zip(before, after, strict=True)) if new != old]
        assert abs(change) == 1
        steps.append({"byte": encode_trits(after), "code": code, "subtract": change < 0,
                      "first": 0})
    return steps


class TableFill(wiring.Component):
    """Hold a quantised vector and write the tables of its tiles, one after the other.

    Each lane has two tables: while one is in use, the other is filled, an entry per cycle for each
    :data:`SHARED` lanes. A tile takes ``cycles`` to fill; if those before are in use for as long,
    it follows at once. The first one after :py:`restart` stands some more cycles later, two for
    each of its codes. Vectors of one or two tiles are filled once, however often they are used.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        ``lanes``, ``cores``, ``elements``, ``max_fan_in`` and ``tile_registers`` count; the last
        only for the member ``following``. Where wide beats want a fast clock, a register stands
        behind each RAM.
    shared : int
        Lanes that one adder fills.

    Attributes
    ----------
    units : int
        Adders.
    cycles : int
        From the release that frees the tables of a tile until another one stands in them.

    Members
    -------
    write : :py:`Out(TableFill.write_layout(config, shared))`
        Entries for the tables: of lane ``k`` if bit ``k % shared`` of ``lanes`` is set, with sum
        ``k // shared``.
    bank : :py:`Out(1)`
        Which tables are in use while ``ready``.

    The others are those of :class:`~ternforge.core.tile.TileBuffer`; ``ready``, ``following`` and
    ``release`` tell of tables instead of codes.
    """

    restart: Signal
    tiles: Signal
    codes_i: stream.Interface
    complete: Signal
    ready: Signal
    following: Signal
    release: Signal
    write: data.View
    bank: Signal

    @staticmethod
    def write_layout(config: CoreConfig, shared: int = SHARED) -> data.StructLayout:
        """One entry for each unit: bank, byte and sum, and which of the unit's lanes it is for."""
        return data.StructLayout({
            "bank": 1, "byte": 8, "lanes": shared,
            "sums": data.ArrayLayout(signed(SUM_BITS), -(-config.row_lanes // shared))})

    def __init__(self, config: CoreConfig, *, shared: int = SHARED):
        if not isinstance(shared, int) or shared < 1:
            raise ValueError(f"TableFill shared must be a positive integer, not {shared!r}")
        self.config, self.shared = config, min(shared, config.row_lanes)
        self.units = -(-config.row_lanes // self.shared)
        self._register = int(config.registers_beats)  # behind each RAM
        self.cycles = len(WALK) * self.shared + 5 + 2 * self._register
        super().__init__({**TileBuffer.vector_side(config), "bank": Out(1),
                          "write": Out(self.write_layout(config, self.shared))})

    def elaborate(self, platform):
        m = Module()
        # Banks keep what they have if that is the whole vector.
        freed, kept = Signal(), Signal()
        m.d.comb += freed.eq(self.release & ~kept)
        m.d.sync += kept.eq(~self.tiles[2:].any() & ~self.tiles[:2].all())
        emptied, filling, finish = Signal(), Signal(), Signal()
        place = Signal(3 + (self.shared - 1).bit_length() + 1)  # of the codes that come next
        loaded, codes = self._load(m, emptied, place)
        tile_loaded, _ = self._count(m, loaded, filling)
        bank_free, _ = self._count(m, freed, filling, full=True)
        m.d.comb += filling.eq(tile_loaded & bank_free & ~self._fill(m, filling, place, codes,
                                                                     emptied, finish))
        self._use(m, finish, freed, kept)
        return m

    def _count(self, m: Module, more: Value, less: Value, *,
               full: bool = False) -> tuple[Signal, Signal]:
        """Whether there are one and two, of two; ``more`` does not come while there are two."""
        one, two = Signal(init=full), Signal(init=full)
        m.d.sync += [one.eq(more | two | one & ~less), two.eq(one & ~less & (more | two))]
        with m.If(self.restart):
            m.d.sync += [one.eq(full), two.eq(full)]
        return one, two

    def _late(self, m: Module, value: Value, cycles: int, *, strobe: bool = False) -> Value:
        """``value`` some cycles later; a strobe does not outlive a restart."""
        for _ in range(cycles):
            later = Signal(value.shape(), reset_less=not strobe)
            m.d.sync += later.eq(value)
            if strobe:
                with m.If(self.restart):
                    m.d.sync += later.eq(0)
            value = later
        return value

    def _bytes(self, m: Module, name: str, depth: int, address: Value, data: Value, enable: Value,
               read_address: Value) -> Value:
        """RAM of words of bytes, each written by itself; the word read, and its register later.

        Two to a RAM: the output register of an ECP5's block RAM serves one of 18 bits.
        """
        words = []
        for start in range(0, len(enable), 2):
            some = slice(8 * start, 8 * start + 16)
            # A read that collides with a write is never used: spare the logic that would order
            # them.
            m.submodules[f"{name}_{start}"] = ram = memory.Memory(
                shape=unsigned(len(data[some])), depth=depth, init=[],
                attrs={"no_rw_check": 1, "ram_style": "block"})
            write, read = ram.write_port(granularity=8), ram.read_port()
            m.d.comb += [write.addr.eq(address), write.data.eq(data[some]),
                         write.en.eq(enable[start:start + 2]), read.addr.eq(read_address)]
            words.append(self._late(m, read.data, self._register))
        return Cat(words)

    def _load(self, m: Module, emptied: Value, place: Value) -> tuple[Value, Value]:
        """Copy tile after tile, a code per cycle, to where all units read theirs at once.

        Returns the strobe that another tile is there, and the codes at ``place``.
        """
        config = self.config
        elements = config.elements
        words = config.tile // elements  # to a tile
        depth = config.max_tiles * words
        written, complete = Signal(range(depth + 1)), Signal()
        with m.If(self.codes_i.valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self.complete):
            m.d.sync += complete.eq(1)

        # `address` never passes `written` before the vector is complete, so that "differs from"
        # means "is less than".
        address, element = Signal(range(depth + 1)), Signal(range(elements))
        word = Signal(range(words))
        tile = Signal(range(config.max_tiles + 1), init=1)  # how many, with this one
        loading, take, start = Signal(), Signal(), Signal()
        free, _ = self._count(m, emptied, start, full=True)
        m.d.comb += [start.eq(free & ~loading),
                     take.eq(loading & (complete | (address != written)))]
        with m.If(start):
            m.d.sync += loading.eq(1)
        with m.If(take):
            m.d.sync += element.eq(element + 1)
            with m.If(element == elements - 1):
                m.d.sync += [address.eq(address + 1), word.eq(word + 1)]
                with m.If(word == words - 1):
                    m.d.sync += [loading.eq(0), word.eq(0), tile.eq(tile + 1)]
                    with m.If(tile == self.tiles[:len(tile)]):
                        m.d.sync += [tile.eq(1), address.eq(0)]

        # Then comes the word, then its element.
        wait = 1 + self._register
        code = self._bytes(m, "vector", depth, written, self.codes_i.payload.as_value(),
                           self.codes_i.valid.replicate(elements), address)
        comes = self._late(m, take, wait, strobe=True)
        if elements > 1:
            code = self._late(m, code.word_select(self._late(m, element, wait), 8), 1)
            comes = self._late(m, comes, 1, strobe=True)

        # Codes of a tile by what they are multiplied with: trit, and lane of the unit.
        half, lane, trit = Signal(), Signal(range(self.shared)), Signal(range(TRITS_PER_BYTE))
        unit = Signal(self.units, init=1)  # one bit
        loaded, slots = Signal(), 1 << (self.shared - 1).bit_length()
        codes = self._bytes(m, "codes", 2 * slots * 8, Cat(trit, lane, half),
                            code.replicate(self.units), unit & comes.replicate(self.units), place)
        left = (self.config.row_lanes - 1) % self.shared  # the last lane of the last unit
        with m.If(comes):
            m.d.sync += trit.eq(trit + 1)
            with m.If(trit == TRITS_PER_BYTE - 1):
                m.d.sync += [trit.eq(0), lane.eq(lane + 1)]
                with m.If(lane == self.shared - 1):
                    m.d.sync += [lane.eq(0), unit.eq(unit.rotate_left(1))]
                with m.If(unit[-1] & (lane == left)):
                    m.d.sync += [lane.eq(0), unit.eq(1), half.eq(~half)]
                    m.d.comb += loaded.eq(1)
        with m.If(self.restart):
            m.d.sync += [written.eq(0), complete.eq(0), address.eq(0), element.eq(0), word.eq(0),
                         tile.eq(1), loading.eq(0), half.eq(0), lane.eq(0), trit.eq(0), unit.eq(1)]
        return loaded, codes

    def _fill(self, m: Module, start: Value, place: Signal, codes: Value, emptied: Signal,
              finish: Signal) -> Value:
        """Walk over the entries of one lane after the other, in all units at once.

        Returns whether that is under way.
        """
        m.submodules.walk = memory.Memory(shape=STEP, depth=256, init=_steps(),
                                          attrs={"rom_style": "block"})
        walk = m.submodules.walk.read_port()
        step, lane, busy = Signal(8), Signal(range(self.shared)), Signal()
        end = Signal()
        m.d.comb += [walk.addr.eq(step), emptied.eq(end)]
        with m.If(start):
            m.d.sync += busy.eq(1)
        with m.If(busy):
            m.d.sync += step.eq(step + 1)
            with m.If(step == len(WALK) - 1):
                m.d.sync += [step.eq(0), lane.eq(lane + 1)]
                with m.If(lane == self.shared - 1):
                    m.d.sync += [lane.eq(0), busy.eq(0)]
                    m.d.comb += end.eq(1)

        # Then comes the step, then the codes, then the sum.
        wait = 1 + self._register
        entry = data.View(STEP, self._late(m, Value.cast(walk.data), self._register))
        half, bank = Signal(), Signal()
        m.d.comb += place.eq(Cat(entry.code, self._late(m, lane, wait), half))
        with m.If(self._late(m, end, wait, strobe=True)):
            m.d.sync += half.eq(~half)
        subtract, first = (self._late(m, value, wait) for value in (entry.subtract, entry.first))
        for start_unit in range(0, self.units, 2):
            self._sums(m, start_unit, codes, subtract, first)

        valid = self._late(m, busy, 2 * wait, strobe=True)
        lanes = Cat(valid & (self._late(m, lane, 2 * wait) == k) for k in range(self.shared))
        m.d.comb += [
            self.write.bank.eq(bank), self.write.byte.eq(self._late(m, entry.byte, wait + 1)),
            self.write.lanes.eq(self._late(m, lanes, 1, strobe=True)),
            finish.eq(self._late(m, end, 2 * wait + 1, strobe=True)),
        ]
        with m.If(finish):
            m.d.sync += bank.eq(~bank)
        with m.If(self.restart):
            m.d.sync += [busy.eq(0), step.eq(0), lane.eq(0), half.eq(0), bank.eq(0)]
        return busy

    def _sums(self, m: Module, start: int, codes: Value, subtract: Value, first: Value) -> None:
        """The sums of two units, or of the last one."""
        units = range(start, min(start + 2, self.units))
        chain = AdderChain(SUM_BITS, len(units), negating=True)
        m.submodules[f"sums_{start}"] = chain
        for k, unit in enumerate(units):
            total = Signal(signed(SUM_BITS), name=f"sum_{unit}", reset_less=True)
            m.d.comb += [
                chain.a[k].eq(total), chain.b[k].eq(codes.word_select(unit, 8).as_signed()),
                chain.invert_b[k].eq(subtract), chain.carry[k].eq(subtract),
                self.write.sums[unit].eq(total),
            ]
            m.d.sync += total.eq(chain.sum[k])
            with m.If(first):
                m.d.sync += total.eq(0)

    def _use(self, m: Module, finish: Value, freed: Value, kept: Value) -> None:
        """Which tables stand, and which of them are in use."""
        filled, filled_next, bank_next = Signal(2), Signal(2), Signal()
        target = self.write.bank
        m.d.comb += [
            filled_next.eq((filled | Cat(finish & ~target, finish & target))
                           & ~Cat(freed & ~self.bank, freed & self.bank)),
            bank_next.eq(self.bank ^ (self.release & ~(kept & self.tiles[0]))),
        ]
        following = self.following if self.config.tile_registers > 1 else Signal()
        m.d.sync += [
            filled.eq(filled_next), self.bank.eq(bank_next),
            self.ready.eq(Mux(bank_next, filled_next[1], filled_next[0])),
            following.eq(Mux(bank_next ^ ~(kept & self.tiles[0]), filled_next[1], filled_next[0])),
        ]
        with m.If(self.restart):
            m.d.sync += [filled.eq(0), self.bank.eq(0), self.ready.eq(0), following.eq(0)]
