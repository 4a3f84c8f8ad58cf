"""Streams one token's beats from a memory of any latency."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from ..config import CoreConfig
from ..isa import DIRECTORY, MAGIC, gather
from .fetch import token_side
from .linear import linear_read
from .queue import BlockQueue
from .slice import through_slice
from .turns import Turns

__all__ = ["BurstFetch"]


class BurstFetch(wiring.Component):
    """What :class:`~.fetch.Fetch` does, through :func:`~.linear.linear_read`.

    The directory tells where the program ends, so that all requests have a length: directory and
    header of the embedding rows, the row of ``token``, the program. One beat per cycle as long as
    the memory has them; ``depth - 1`` beats are fetched ahead while the core waits, and hide as
    many cycles in which the memory pauses, or is slower than the lanes. The first beat comes about
    ``latency + header_beats + 6`` cycles after ``start``, where the memory's first beat comes
    ``latency`` cycles after a request; the row follows after up to 18 cycles more, one for each bit
    of the token, and another ``latency``.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and header size.
    depth : int
        Beats of the queue; a power of two. Block RAM of 36 bits is 512 deep.

    Members
    -------
    memory : :py:`Out(linear_read(config))`
        To the memory.

    The others are those of :func:`~.fetch.token_side`.
    """

    memory: Any
    start: Signal
    token: Signal
    stop: Signal
    idle: Signal
    fault: Signal
    o: stream.Interface

    def __init__(self, config: CoreConfig, depth: int = 512):
        self.config, self.depth = config, depth
        super().__init__({"memory": Out(linear_read(config)), **token_side(config)})

    def elaborate(self, platform):
        m = Module()
        head, depth = self.config.header_beats, self.depth
        m.submodules.queue = queue = BlockQueue(self.config.beat_bits, depth)

        # Beats come in while there is room for them.
        room = Signal(range(depth), init=depth - 1)
        pop = Signal()
        m.d.comb += [
            self.memory.data.ready.eq(room.any()),
            queue.write.eq(self.memory.data.valid & self.memory.data.ready),
            queue.data.eq(self.memory.data.payload), pop.eq(queue.o.valid & queue.o.ready),
        ]
        m.d.sync += room.eq(room - queue.write + pop)

        request = self.memory.request

        def ask(address: Value, beats: Value):
            m.d.sync += [request.valid.eq(1), request.p.address.eq(address),
                         request.p.beats.eq(beats)]

        with m.If(request.ready):
            m.d.sync += request.valid.eq(0)

        directory = Signal(DIRECTORY, reset_less=True)
        taken = Signal(range(head + 1))
        address = Signal(len(request.p.address), reset_less=True)
        factor = Signal(16, reset_less=True)  # bits of the token still to be looked at
        multiple = Signal(len(address), reset_less=True)  # the stride, doubled for each bit before
        passing = Signal()  # what comes out of the queue is part of the stream
        drop = Signal()  # or is not needed there
        streams = self.config.streams
        turns = Turns(m, self.token, streams, factor)
        with m.FSM():
            def end_on_stop():
                with m.If(self.stop):
                    m.next = "FLUSH"

            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                turns.begin()
                m.d.sync += taken.eq(0)
                with m.If(self.start):
                    ask(C(0), C(2 * head))
                    m.next = "DIRECTORY"
            with m.State("DIRECTORY"):
                m.d.comb += drop.eq(taken != head)
                with m.If(queue.o.valid & drop):
                    gather(m, directory.as_value(), queue.o.payload, taken)
                    m.d.sync += taken.eq(taken + 1)
                with m.If(taken == head):
                    m.next = "CHECK"
                end_on_stop()
            with m.State("CHECK"):
                m.d.sync += [address.eq(directory.embedding), multiple.eq(directory.stride)]
                with m.If((directory.magic != MAGIC) | (factor >= directory.vocab_size)):
                    m.next = "FAULT"
                with m.Else():
                    m.d.sync += passing.eq(1)
                    m.next = "MULTIPLY"
                    if streams > 1:
                        turns.next()
                        with m.If(turns.more):
                            m.d.sync += passing.eq(0)
                            m.next = "CHECK"
                end_on_stop()
            with m.State("MULTIPLY"):  # address + token * stride, a bit of the token per cycle
                m.d.sync += [address.eq(address + Mux(factor[0], multiple, 0)),
                             factor.eq(factor >> 1), multiple.eq(multiple << 1)]
                with m.If(~factor.any()):
                    ask(address, directory.stride)
                    m.next = "ROW"
                end_on_stop()
            with m.State("ROW"):
                with m.If(request.ready):
                    ask(C(2 * head), directory.embedding - 2 * head)
                    m.next = "PROGRAM"
                    if streams > 1:
                        with m.If(turns.more):
                            turns.next()
                            ask(C(head), C(head))
                            m.next = "HEADER"
                end_on_stop()
            if streams > 1:
                with m.State("HEADER"):
                    m.d.sync += [address.eq(directory.embedding), multiple.eq(directory.stride)]
                    with m.If(request.ready):
                        m.next = "MULTIPLY"
                    end_on_stop()
            with m.State("PROGRAM"):
                end_on_stop()
            with m.State("FAULT"):
                m.d.comb += self.fault.eq(1)
                end_on_stop()
            with m.State("FLUSH"):
                m.d.comb += [drop.eq(1), self.memory.stop.eq(1)]
                with m.If(self.memory.idle & ~request.valid & (room == depth - 1)):
                    m.next = "IDLE"

        with m.If(self.stop):
            m.d.sync += passing.eq(0)
        o = through_slice(m, self.o, self.stop) if self.config.registers_beats else self.o
        m.d.comb += [
            o.valid.eq(queue.o.valid & passing), o.payload.eq(queue.o.payload),
            queue.o.ready.eq(Mux(passing, o.ready, drop)),
        ]
        return m
