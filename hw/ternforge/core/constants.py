"""Turns beats of constants into words of ``elements`` numbers."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..numerics import CONSTANT_BITS

__all__ = ["ConstantFeed", "constant_word"]


def constant_word(config: CoreConfig) -> data.ArrayLayout:
    """``elements`` constants, sign-extended to 16 bits."""
    return data.ArrayLayout(signed(CONSTANT_BITS), config.elements)


class ConstantFeed(wiring.Component):
    """Unpacks 16-bit or 8-bit constants of one packet, ``elements`` per cycle.

    A word per cycle as long as beats come, also across beats. A beat is taken with its last word,
    and the last beat with the last word of the packet. Where beats are wide, a register stands
    behind the choice of the word.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and elements per word.

    Members
    -------
    start : :py:`In(1)`
        Begin a packet; only while no words are due.
    wide : :py:`In(1)`
        Constants of 16 bits, else 8; taken with ``start``.
    count : :py:`In(16)`
        Elements, a multiple of ``elements``; taken with ``start``.
    i : :py:`In(stream.Signature(config.beat_bits))`
        Beats; taken only while words are due.
    o : :py:`Out(stream.Signature(constant_word(config)))`
        Words.
    """

    start: Signal
    wide: Signal
    count: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "start": In(1), "wide": In(1), "count": In(16),
            "i": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(constant_word(config))),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.config.elements
        low = count.bit_length() - 1
        # A word of 8-bit numbers takes one unit of a beat, a word of 16-bit numbers a pair of them.
        units = self.config.lanes // count
        index = Signal(range(units))  # of the first unit of the word
        following = Signal(range(units))
        due = Signal(range(self.config.vector_depth // count + 1))  # words left in the packet
        wide = Signal()
        # Known a cycle ahead, so that little stands between the ready of either side.
        open_, end_of_beat, end_of_packet = Signal(), Signal(), Signal()
        moved, last, free = Signal(), Signal(), Signal()  # free: a word that is chosen is taken
        word = Signal(constant_word(self.config))
        m.d.comb += [
            moved.eq(self.i.valid & open_ & free),
            following.eq(Mux(last, 0, index + Mux(wide, 2, 1))),
            last.eq(end_of_beat | end_of_packet),
            self.i.ready.eq(open_ & free & last),
        ]
        pairs = Array(self.i.payload.word_select(k, 16 * count) for k in range(units // 2))
        pair = Signal(16 * count)
        m.d.comb += pair.eq(pairs[index >> 1])
        unit = Mux(index[0], pair[8 * count:], pair[:8 * count])
        for k in range(count):
            m.d.comb += word[k].eq(Mux(wide, pair.word_select(k, 16).as_signed(),
                                       unit.word_select(k, 8).as_signed()))
        if self.config.registers_beats:
            held = Signal(constant_word(self.config), reset_less=True)
            m.d.comb += [free.eq(~self.o.valid | self.o.ready), self.o.payload.eq(held)]
            with m.If(free):
                m.d.sync += [held.eq(word), self.o.valid.eq(moved)]
        else:
            m.d.comb += [free.eq(self.o.ready), self.o.payload.eq(word),
                         self.o.valid.eq(self.i.valid & open_)]
        with m.If(moved):
            m.d.sync += [due.eq(due - 1), index.eq(following), open_.eq(~end_of_packet),
                         end_of_packet.eq(due == 2),
                         end_of_beat.eq(following == units - Mux(wide, 2, 1))]
        with m.If(self.start):
            m.d.sync += [wide.eq(self.wide), index.eq(0), due.eq(self.count >> low), open_.eq(1),
                         end_of_packet.eq(self.count >> low == 1),
                         end_of_beat.eq(units == Mux(self.wide, 2, 1))]
        return m
