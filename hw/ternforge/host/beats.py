"""Keeps the beats of a WRITE until its frame is known to be whole, then writes them."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.host.protocol import write_beats
from ternforge.mem.linear import beat_write

__all__ = ["BeatBuffer"]


class BeatBuffer(wiring.Component):
    """Two frames of bytes: one comes in while the beats of the one before are written.

    One byte per cycle comes in. A beat of ``lanes`` bytes is offered ``lanes + 2`` cycles after the
    one before was taken.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        Beat width.

    Members
    -------
    clear : :py:`In(1)`
        Forget the bytes that came in.
    store : :py:`In(1)`
        Keep ``byte``; at most those of ``write_beats(lanes)`` beats.
    byte : :py:`In(8)`
        The next byte.
    whole : :py:`Out(1)`
        What came in is one beat or more, and no part of one.
    beats : :py:`Out(range(write_beats(lanes) + 1))`
        How many whole beats came in.
    send : :py:`In(1)`
        Write what came in from beat ``address`` on; not while ``busy``.
    address : :py:`In(24)`
        Beat address of the first.
    busy : :py:`Out(1)`
        Beats are written, from the cycle after ``send`` until the last was taken.
    drop : :py:`In(1)`
        Leave out those that are not written yet, and withdraw the one on offer.
    o : :py:`Out(stream.Signature(beat_write(config.beat_bits)))`
        Writes.
    """

    clear: Signal
    store: Signal
    byte: Signal
    whole: Signal
    beats: Signal
    send: Signal
    address: Signal
    busy: Signal
    drop: Signal
    o: stream.Interface

    def __init__(self, config: CoreConfig):
        self.lanes, self.most = config.lanes, write_beats(config.lanes, external=True)
        super().__init__({
            "clear": In(1), "store": In(1), "byte": In(8), "whole": Out(1),
            "beats": Out(range(self.most + 1)), "send": In(1), "address": In(24), "busy": Out(1),
            "drop": In(1), "o": Out(stream.Signature(beat_write(config.beat_bits))),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, places = self.lanes, self.lanes * self.most
        m.submodules.bytes = store = memory.Memory(shape=8, depth=512, init=[])
        write, read = store.write_port(), store.read_port()
        half, byte = Signal(), Signal(range(places + 1))  # where the next byte goes
        place = Signal(range(lanes))  # of that byte in its beat
        m.d.comb += [
            write.en.eq(self.store), write.data.eq(self.byte),
            write.addr.eq(Cat(byte[:8], half)), self.whole.eq((place == 0) & self.beats.any()),
        ]
        with m.If(self.store):
            m.d.sync += [byte.eq(byte + 1), place.eq(place + 1)]
            with m.If(place == lanes - 1):
                m.d.sync += [place.eq(0), self.beats.eq(self.beats + 1)]
        with m.If(self.clear | self.send):
            m.d.sync += [byte.eq(0), place.eq(0), self.beats.eq(0)]

        # Bytes of the other half, each a cycle after its address.
        left = Signal.like(self.beats, name="left")  # beats that are not taken yet
        at, number = Signal(8), Signal(range(lanes + 1))  # next byte, and its place in the beat
        asks, came = Signal(), Signal()
        m.d.comb += [
            self.busy.eq(left.any()), asks.eq(self.busy & (number != lanes)),
            read.addr.eq(Cat(at, ~half)), self.o.valid.eq(self.busy & ~asks & ~came),
        ]
        m.d.sync += came.eq(asks & ~self.drop)
        with m.If(asks):
            m.d.sync += [number.eq(number + 1), at.eq(at + 1)]
        with m.If(came):
            m.d.sync += self.o.p.data.eq(Cat(self.o.p.data[8:], read.data))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [number.eq(0), left.eq(left - 1),
                         self.o.p.address.eq(self.o.p.address + 1)]
        with m.If(self.drop):
            m.d.sync += [number.eq(0), left.eq(0)]
        with m.Elif(self.send):
            m.d.sync += [half.eq(~half), at.eq(0), left.eq(self.beats),
                         self.o.p.address.eq(self.address)]
        return m
