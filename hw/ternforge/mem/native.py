"""Serves the core's memory port from the native ports of a LiteDRAM controller."""

from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from .linear import beat_write, linear_read
from .queue import BlockQueue

__all__ = ["NativeAdapter", "native_port"]


def native_port(address_bits: int, word_bits: int) -> wiring.Signature:
    """LiteDRAM's native port, from the side of its user.

    Members
    -------
    cmd : :py:`Out(stream.Signature({"address": address_bits, "we": 1}))`
        One read or write of a word; those of one bank are carried out in order.
    wdata : :py:`Out(stream.Signature({"data": word_bits, "enable": word_bits // 8}))`
        Words of the writes in order; taken when the controller needs them, so that they must stand
        by then.
    rdata : :py:`In(stream.Signature(word_bits, always_ready=True))`
        Words of the reads in order.
    """
    return wiring.Signature({
        "cmd": Out(stream.Signature(data.StructLayout({"address": address_bits, "we": 1}))),
        "wdata": Out(stream.Signature(data.StructLayout({"data": word_bits,
                                                         "enable": word_bits // 8}))),
        "rdata": In(stream.Signature(word_bits, always_ready=True)),
    })


class NativeAdapter(wiring.Component):
    """Linear reads and single writes through two native ports.

    Neighbouring words of a row are a segment; the next segment lies in the next bank. LiteDRAM
    lets a port into a bank only once the one before has answered all, which would cost a row's
    opening at each segment. So the ports take segments in turn, each runs ahead into its next one
    half as far as its queue reaches, and rows open while the other port's words come. The other
    half is for the time from the last command of a segment to its last word, in which the port that
    follows must go on asking.

    One word per cycle sustained, if the ports take and give as many. The first beat comes about 5
    cycles behind the first word. A request is taken when all words of the one before were asked
    for. ``stop`` ends asking; words that are on their way are awaited and dropped.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width.
    address_bits, word_bits : int
        Of the ports. Beats are as wide as a word, or 2, 4, 8 .. times as wide or narrow.
    segment_words : int
        Words of a segment, a power of two.
    depth : int
        Words that each port has under way or waiting; a power of two, more than twice the words
        that come in the time from a command to its word.

    Raises
    ------
    ValueError
        If widths or segments do not fit, or the memory is larger than the ports reach.

    Members
    -------
    memory : :py:`In(linear_read(config))`
        Reads.
    write : :py:`In(stream.Signature(beat_write(config.beat_bits)))`
        One beat at a time; while no read is under way. It is taken when the controller has its
        data, and reads from then on see it.
    port0, port1 : :py:`Out(native_port(address_bits, word_bits))`
        To the controller: even and odd segments.
    """

    memory: Any
    write: Any
    port0: Any
    port1: Any

    def __init__(self, config: CoreConfig, *, address_bits: int, word_bits: int,
                 segment_words: int, depth: int = 64):
        beat = config.beat_bits
        wide, narrow = max(beat, word_bits), min(beat, word_bits)
        if wide % narrow or wide // narrow & (wide // narrow - 1):
            raise ValueError(f"NativeAdapter beats of {beat} bits must be 1, 2, 4 .. times as wide "
                             f"or narrow as the controller's words of {word_bits}")
        if segment_words < 2 or segment_words & (segment_words - 1):
            raise ValueError("NativeAdapter segment_words must be a power of two, not "
                             f"{segment_words}")
        if config.memory_beats * beat > word_bits << address_bits:
            raise ValueError(f"NativeAdapter memory_beats={config.memory_beats} of {beat} bits "
                             f"must be at most the memory's {word_bits << address_bits >> 3} bytes")
        self.config, self.depth = config, depth
        self.address_bits, self.word_bits = address_bits, word_bits
        self.segment_bits = (segment_words - 1).bit_length()
        #: exponents of two: words in a beat, beats in a word
        self.words = (beat // word_bits).bit_length() - 1 if beat > word_bits else 0
        self.beats = (word_bits // beat).bit_length() - 1 if word_bits > beat else 0
        port = native_port(address_bits, word_bits)
        super().__init__({"memory": In(linear_read(config)),
                          "write": In(stream.Signature(beat_write(beat))),
                          "port0": Out(port), "port1": Out(port)})

    def elaborate(self, platform):
        m = Module()
        ports = [self.port0, self.port1]
        queues = [BlockQueue(self.word_bits, self.depth) for _ in ports]
        m.submodules.queue0, m.submodules.queue1 = queues
        full = self.depth - 1
        room = [Signal(range(self.depth), init=full, name=f"room_{k}") for k in range(2)]
        pop = Signal(2)
        issued = Signal(2)
        for k, (port, queue) in enumerate(zip(ports, queues, strict=True)):
            m.d.comb += [queue.write.eq(port.rdata.valid), queue.data.eq(port.rdata.payload),
                         queue.o.ready.eq(pop[k])]
            m.d.sync += room[k].eq(room[k] - issued[k] + (pop[k] & queue.o.valid))
        drained = (room[0] == full) & (room[1] == full)

        # The request that is served: `pending` until the output begins with it.
        request, stop = self.memory.request, self.memory.stop
        address, beats = Signal(24, reset_less=True), Signal(24, reset_less=True)
        pending, active = Signal(), Signal()
        width = 25 + self.words
        first, end = Signal(width, reset_less=True), Signal(width, reset_less=True)
        m.d.comb += first.eq(address << self.words >> self.beats)
        m.d.sync += end.eq((address + beats + ((1 << self.beats) - 1)) << self.words >> self.beats)

        begin, compare, ask, writing, dropping = (Signal(name=name) for name in (
            "begin", "compare", "ask", "writing", "dropping"))
        more = self._reads(m, ports, room, issued, first, end, begin, compare, ask, stop)
        written = self._writes(m, ports, writing)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.memory.idle.eq(~active & ~pending), request.ready.eq(~pending)]
                with m.If(stop):
                    m.d.sync += [active.eq(0), pending.eq(0)]
                    with m.If(active | pending | ~drained):
                        m.next = "DROP"
                with m.Elif(request.valid & request.ready):
                    m.d.sync += [address.eq(request.p.address), beats.eq(request.p.beats),
                                 pending.eq(1)]
                    m.next = "END"
                with m.Elif(self.write.valid & ~active & ~pending):
                    m.next = "WRITE"
            with m.State("END"):
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += begin.eq(1)
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += compare.eq(1)
                m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += ask.eq(1)
                with m.If(~more.any()):
                    m.next = "IDLE"
                    with m.If(stop):
                        m.d.sync += [active.eq(0), pending.eq(0)]
                        m.next = "DROP"
            with m.State("DROP"):
                m.d.comb += [dropping.eq(1), request.ready.eq(1), self.memory.idle.eq(drained)]
                with m.If(drained & ~request.valid):
                    m.next = "IDLE"
            with m.State("WRITE"):
                m.d.comb += writing.eq(1)
                with m.If(written):
                    m.next = "IDLE"
        self._beats(m, queues, pop, pending, active, address, beats, dropping)
        return m

    def _reads(self, m: Module, ports, room, issued, first, end, begin, compare, ask,
               stop) -> Signal:
        """Each port asks for the words of its segments; returns which have more to ask for."""
        low, more = self.segment_bits, Signal(2)
        segment = first[low:]
        allowed, waiting = Signal(2), Signal(2)
        ends = Signal(2)  # at the last word of its segment
        turn = Signal()  # the port whose segment comes first; the other keeps half of its places
        with m.If(begin):
            m.d.sync += turn.eq(segment[0])
        with m.Elif((issued & Mux(turn, 2, 1)).any() & Mux(turn, ends[1], ends[0])):
            m.d.sync += turn.eq(~turn)
        for k, port in enumerate(ports):
            following = Signal(len(first), name=f"following_{k}", reset_less=True)
            step = Signal(low + 2, name=f"step_{k}")
            after = Signal(len(first), name=f"after_{k}")
            m.d.comb += [ends[k].eq(following[:low].all()),
                         step.eq(Mux(ends[k], (1 << low) + 1, 1)),
                         after.eq(following + step)]
            with m.If(begin):
                m.d.sync += following.eq(Mux(segment[0] == k, first, (segment + 1) << low))
            with m.If(compare):
                m.d.sync += more[k].eq(following < end)
            with m.If(ask):
                m.d.comb += [allowed[k].eq(Mux(turn == k, room[k].any(),
                                               room[k] > self.depth // 2)),
                             port.cmd.valid.eq(more[k] & (allowed[k] | waiting[k])),
                             port.cmd.p.address.eq(following)]
                with m.If(issued[k]):
                    m.d.sync += [following.eq(after), more[k].eq((after < end) & ~stop)]
                with m.Elif(stop & ~port.cmd.valid):
                    m.d.sync += more[k].eq(0)
            m.d.comb += issued[k].eq(ask & port.cmd.valid & port.cmd.ready)
            m.d.sync += waiting[k].eq(ask & port.cmd.valid & ~port.cmd.ready)
        return more

    def _writes(self, m: Module, ports, writing) -> Value:
        """Words of the beat on ``write``, one after the other; returns whether it is done.

        Each stands in a register before it is offered: from there the way through the controller to
        the pins of an SDRAM has no other.
        """
        write, index = self.write, Signal(max(1, self.words))
        count = 1 << self.words
        word, data = Signal(self.address_bits), Signal(self.word_bits, reset_less=True)
        enable, held = Signal(self.word_bits // 8, reset_less=True), Signal()
        sent, given, end_sent, end_given = (Signal(name=name) for name in (
            "sent", "given", "end_sent", "end_given"))
        lanes = self.config.beat_bits // 8
        if count > 1:
            content = write.p.data.word_select(index, self.word_bits)
            bytes_: Any = ~C(0, self.word_bits // 8)
        else:
            place = write.p.address[:self.beats] if self.beats else C(0)
            content = write.p.data.replicate(1 << self.beats)
            bytes_ = C((1 << lanes) - 1, lanes) << (place * lanes)
        with m.If(writing & ~held):
            m.d.sync += [held.eq(1), data.eq(content), enable.eq(bytes_),
                         word.eq((write.p.address << self.words >> self.beats)
                                 | (index if count > 1 else 0))]
        for k, port in enumerate(ports):
            with m.If(held & (word[self.segment_bits] == k)):
                m.d.comb += [
                    port.cmd.valid.eq(~sent), port.cmd.p.we.eq(1), port.cmd.p.address.eq(word),
                    port.wdata.valid.eq(~given),
                    end_sent.eq(sent | port.cmd.ready), end_given.eq(given | port.wdata.ready),
                ]
            m.d.comb += [port.wdata.p.data.eq(data), port.wdata.p.enable.eq(enable)]
        last = index == count - 1 if count > 1 else C(1)
        word_done = end_sent & end_given
        with m.If(held):
            m.d.sync += [sent.eq(end_sent & ~word_done), given.eq(end_given & ~word_done),
                         held.eq(~word_done)]
        if count > 1:
            with m.If(word_done):
                m.d.sync += index.eq(index + 1)
        done = Signal()
        m.d.comb += [done.eq(word_done & last), write.ready.eq(done)]
        return done

    def _beats(self, m: Module, queues, pop, pending, active, address, beats, dropping) -> None:
        """Beats from the words of both queues, segment by segment."""
        low, out = self.segment_bits, self.memory.data
        at = Signal(low + 1, reset_less=True)  # of the next word, with the number of its port
        place = Signal(max(1, self.beats), reset_less=True)  # of the next beat in its word
        left = Signal(24, reset_less=True)
        with m.If(pending & ~active & ~self.memory.stop):
            m.d.sync += [active.eq(1), pending.eq(0), left.eq(beats),
                         at.eq(address << self.words >> self.beats)]
            if self.beats:
                m.d.sync += place.eq(address[:self.beats])
        valid, word = Signal(), Signal(self.word_bits)
        m.d.comb += [valid.eq(Mux(at[low], queues[1].o.valid, queues[0].o.valid)),
                     word.eq(Mux(at[low], queues[1].o.payload, queues[0].o.payload))]
        take, final = Signal(), Signal()  # the word is used up; the request's last beat
        m.d.comb += final.eq(left == 1)
        moved = out.valid & out.ready
        if self.words:
            count = 1 << self.words
            gathered = Signal(self.word_bits * (count - 1), reset_less=True)
            number = Signal(self.words)
            last = number.all()
            m.d.comb += [out.valid.eq(active & valid & last), out.payload.eq(Cat(gathered, word)),
                         take.eq(active & valid & (~last | out.ready))]
            with m.If(take):
                m.d.sync += number.eq(number + 1)
                with m.If(~last):
                    m.d.sync += gathered.eq(Cat(gathered, word)[self.word_bits:])
            with m.If(dropping):
                m.d.sync += number.eq(0)
        else:
            m.d.comb += [out.valid.eq(active & valid),
                         out.payload.eq(word.word_select(place, self.config.beat_bits)
                                        if self.beats else word),
                         take.eq(moved & (place.all() | final) if self.beats else moved)]
            if self.beats:
                with m.If(moved):
                    m.d.sync += place.eq(place + 1)
        with m.If(take):
            m.d.sync += at.eq(at + 1)
        with m.If(moved):
            m.d.sync += left.eq(left - 1)
            with m.If(final):
                m.d.sync += active.eq(0)
        m.d.comb += [pop[k].eq(Mux(dropping, 1, take & (at[low] == k))) for k in range(2)]
