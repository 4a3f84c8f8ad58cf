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

    A word per cycle as long as beats come, also across beats. What is left of the last beat is
    dropped.

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
        per_beat = {False: self.config.lanes // count, True: self.config.lanes // 2 // count}
        beat = Signal(self.config.beat_bits)
        held = Signal(range(per_beat[False] + 1))  # words left in the beat
        due = Signal(range(self.config.vector_depth // count + 1))  # words left in the packet
        wide = Signal()
        moved = Signal()
        m.d.comb += [
            self.o.valid.eq((held != 0) & (due != 0)),
            moved.eq(self.o.valid & self.o.ready),
            self.i.ready.eq((due != 0) & ((held == 0) | ((held == 1) & moved & (due != 1)))),
        ]
        for index in range(count):
            narrow = beat[8 * index:8 * index + 8].as_signed()
            m.d.comb += self.o.payload[index].eq(
                Mux(wide, beat[16 * index:16 * index + 16].as_signed(), narrow))
        with m.If(moved):
            m.d.sync += [due.eq(due - 1), held.eq(held - 1),
                         beat.eq(Mux(wide, beat >> 16 * count, beat >> 8 * count))]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [beat.eq(self.i.payload),
                         held.eq(Mux(wide, per_beat[True], per_beat[False]))]
        with m.If(self.start):
            m.d.sync += [wide.eq(self.wide), held.eq(0),
                         due.eq(self.count >> (count.bit_length() - 1))]
        return m
