"""Streams one token's beats: directory, embedding row, program."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..core.several import several
from ..isa import DIRECTORY, MAGIC, gather
from .queue import BlockQueue
from .slice import through_slice
from .turns import Turns

__all__ = ["Fetch", "token_side"]


def token_side(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members that a fetch unit has for the core, whatever its memory.

    ``start`` : :py:`In(1)`
        Begin a token; only while ``idle``.
    ``token`` : :py:`In(several(16, config.streams))`
        Taken with ``start``.
    ``stop`` : :py:`In(1)`
        End of the token.
    ``idle`` : :py:`Out(1)`
        Ready for ``start``.
    ``fault`` : :py:`Out(1)`
        No magic number in the directory, or ``token`` is not in the vocabulary. Ends with ``stop``.
    ``o`` : :py:`Out(stream.Signature(config.beat_bits))`
        Header of the embedding rows and the row of ``token``, for each stream in turn; then the
        program.
    """
    return {"start": In(1), "token": In(several(16, config.streams)), "stop": In(1),
            "idle": Out(1), "fault": Out(1), "o": Out(stream.Signature(config.beat_bits))}


class Fetch(wiring.Component):
    """Reads the image memory linearly and offers it as a stream.

    After ``start`` it reads the directory, then the header of the embedding rows, then the row of
    ``token``, both again for each further stream, then the program from its first beat on, without
    end. ``stop`` drops what was read
    ahead. One beat per cycle while ``o.ready`` is high, but for up to 18 cycles between header and
    row, one for each bit of the token; the first beat comes about
    ``2 * latency + header_beats + 4`` cycles after ``start``.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and header size.
    latency : int
        Cycles from address to data of the memory.

    Members
    -------
    read_address, read_data
        Port of the memory; one read per cycle.

    The others are those of :func:`token_side`.
    """

    read_address: Signal
    read_data: Signal
    start: Signal
    token: Signal
    stop: Signal
    idle: Signal
    fault: Signal
    o: stream.Interface

    def __init__(self, config: CoreConfig, latency: int):
        self.config, self.latency = config, latency
        super().__init__({
            "read_address": Out(24), "read_data": In(config.beat_bits), **token_side(config),
        })

    def elaborate(self, platform):
        m = Module()
        bits = (self.config.memory_beats - 1).bit_length()
        depth = max(16, 1 << (self.latency + 4).bit_length())
        m.submodules.queue = queue = BlockQueue(self.config.beat_bits, depth)

        # Requests: a read is issued only if its beat will find room in the queue.
        head = self.config.header_beats
        issue = Signal()
        flight = Signal(self.latency)  # reads under way, oldest in the top bit
        credits = Signal(range(depth), init=depth - 1)
        address, addend = Signal(bits), Signal(bits)
        pop = Signal()
        m.d.comb += [
            self.read_address.eq(address), pop.eq(queue.o.valid & queue.o.ready),
            queue.data.eq(self.read_data), queue.write.eq(flight[-1]), addend.eq(issue),
        ]
        m.d.sync += [flight.eq(Cat(issue, flight)), credits.eq(credits - issue + pop),
                     address.eq(address + addend)]

        # A row is not longer than the vector RAM.
        row_bits = (2 * self.config.vector_depth // self.config.lanes).bit_length()
        directory = Signal(DIRECTORY, reset_less=True)
        factor = Signal(16, reset_less=True)  # bits of the token still to be looked at
        multiple = Signal(bits, reset_less=True)  # the stride, doubled for each bit that was
        remaining = Signal(range(max(head, 1 << row_bits)))
        taken = Signal(range(head + 1))
        available = Signal()
        passing = Signal()  # what comes out of the queue is part of the stream
        m.d.comb += available.eq(credits != 0)
        with m.If(issue):
            m.d.sync += remaining.eq(remaining - 1)

        streams = self.config.streams
        turns = Turns(m, self.token, streams, factor)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += address.eq(0)
                turns.begin()
                m.d.sync += [taken.eq(0), remaining.eq(head)]
                with m.If(self.start):
                    m.next = "DIRECTORY"
            with m.State("DIRECTORY"):
                m.d.comb += issue.eq(available & remaining.any())
                with m.If(queue.o.valid):
                    gather(m, directory.as_value(), queue.o.payload, taken)
                    m.d.sync += taken.eq(taken + 1)
                with m.If(taken == head):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += [remaining.eq(head), passing.eq(1)]
                m.next = "HEADER"
                if streams > 1:
                    turns.next()
                    with m.If(turns.more):
                        m.d.sync += passing.eq(0)
                        m.next = "CHECK"
                with m.If((directory.magic != MAGIC) | (factor >= directory.vocab_size)):
                    m.d.sync += passing.eq(0)
                    m.next = "FAULT"
            with m.State("HEADER"):
                m.d.comb += issue.eq(available)
                with m.If(issue & (remaining == 1)):
                    m.next = "ROW"
            with m.State("ROW"):
                m.d.sync += [address.eq(directory.embedding), multiple.eq(directory.stride),
                             remaining.eq(directory.stride)]
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):  # address + token * stride, a bit of the token per cycle
                m.d.comb += addend.eq(multiple & factor[0].replicate(bits))
                m.d.sync += [factor.eq(factor >> 1), multiple.eq(multiple << 1)]
                with m.If(~factor.any()):
                    m.next = "EMBEDDING"
            with m.State("EMBEDDING"):
                m.d.comb += issue.eq(available & ~self.stop)
                with m.If(self.stop):
                    m.next = "FLUSH"
                with m.Elif(issue & (remaining == 1)):
                    m.d.sync += address.eq(2 * head)
                    m.next = "PROGRAM"
                    if streams > 1:
                        with m.If(turns.more):
                            turns.next()
                            m.d.sync += [address.eq(head), remaining.eq(head)]
                            m.next = "HEADER"
            with m.State("PROGRAM"):
                m.d.comb += issue.eq(available & ~self.stop)
                with m.If(self.stop):
                    m.next = "FLUSH"
            with m.State("FAULT"):
                m.d.comb += self.fault.eq(1)
                with m.If(self.stop):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                with m.If(credits == depth - 1):
                    m.next = "IDLE"

        with m.If(self.stop):
            m.d.sync += passing.eq(0)
        o = through_slice(m, self.o, self.stop) if self.config.registers_beats else self.o
        m.d.comb += [
            o.valid.eq(queue.o.valid & passing), o.payload.eq(queue.o.payload),
            queue.o.ready.eq(o.ready | ~passing),
        ]
        return m
