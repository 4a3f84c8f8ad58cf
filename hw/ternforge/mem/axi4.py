"""AXI4 read master: the image memory behind an interconnect of a vendor's."""

from dataclasses import dataclass
from typing import Any

from amaranth import *
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from .linear import linear_read
from .queue import BlockQueue

__all__ = ["PAGE", "Axi4Config", "Axi4Read", "axi4_read"]

#: Bytes that no burst may cross the boundaries of.
PAGE = 4096


@dataclass(frozen=True, kw_only=True)
class Axi4Config:
    """The AXI4 port of an image memory. A *word* is what the R channel gives in one transfer.

    Raises
    ------
    TypeError, ValueError
        If a field is not a positive integer, or breaks the rule stated beside it.
    """

    data_bits: int = 512  #: bits of a word: 64, 128, 256, 512 or 1024
    address_bits: int = 64  #: of ARADDR, 32 to 64
    id_bits: int = 1  #: of ARID and RID; the identifier is always 0
    #: most words of a burst, a power of two up to 256; their bytes are at most :data:`PAGE`
    burst_words: int = 16
    outstanding: int = 16  #: most bursts under way
    depth: int = 512  #: words of the queue, a power of two and more than those of a burst

    def __post_init__(self):
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"Axi4Config.{name} must be an integer, not {value!r}")
            if value < 1:
                raise ValueError(f"Axi4Config.{name} must be positive, not {value!r}")
        if self.data_bits not in (64, 128, 256, 512, 1024):
            raise ValueError("Axi4Config.data_bits must be 64, 128, 256, 512 or 1024, not "
                             f"{self.data_bits}")
        if not 32 <= self.address_bits <= 64:
            raise ValueError(f"Axi4Config.address_bits must be 32 to 64, not {self.address_bits}")
        for name in ("burst_words", "depth"):
            if (value := getattr(self, name)) & (value - 1):
                raise ValueError(f"Axi4Config.{name} must be a power of two, not {value}")
        if self.burst_words > min(256, PAGE // self.word_bytes):
            raise ValueError("Axi4Config.burst_words must be at most "
                             f"{min(256, PAGE // self.word_bytes)} with data_bits="
                             f"{self.data_bits}, not {self.burst_words}")
        if self.depth <= self.burst_words:
            raise ValueError(f"Axi4Config.depth must be more than burst_words={self.burst_words}, "
                             f"not {self.depth}")

    @property
    def word_bytes(self) -> int:
        """Bytes of a word."""
        return self.data_bits // 8

    def check_beats(self, config: CoreConfig) -> None:
        """Raise ValueError unless beats of the core and words divide each other."""
        if config.lanes & (config.lanes - 1):
            raise ValueError("CoreConfig.lanes must be a power of two for an AXI4 port, not "
                             f"{config.lanes}")


def axi4_read(config: Axi4Config) -> wiring.Signature:
    """The channels AR and R of AXI4, as their master sees them; there are no write channels."""
    return wiring.Signature({
        "arid": Out(config.id_bits), "araddr": Out(config.address_bits), "arlen": Out(8),
        "arsize": Out(3), "arburst": Out(2), "arlock": Out(1), "arcache": Out(4),
        "arprot": Out(3), "arqos": Out(4), "arvalid": Out(1), "arready": In(1),
        "rid": In(config.id_bits), "rdata": In(config.data_bits), "rresp": In(2), "rlast": In(1),
        "rvalid": In(1), "rready": Out(1),
    })


class Axi4Read(wiring.Component):
    """Serves :func:`~.linear.linear_read` from an AXI4 slave.

    A request is cut into incrementing bursts that end where a block of ``burst_words`` words ends,
    so that none crosses a page. One word per cycle comes in, and one beat per cycle goes out; the
    first burst is asked for three cycles after its request, the next one in each cycle that has
    room. Bursts of the next request follow without waiting for the data of the one before.

    A burst is only asked for if all of it finds room in the queue: ``rready`` is always high, and
    neither a core that waits nor a dropped request ever blocks an interconnect that others share.
    The latency that one word per cycle can bear is ``depth - 2 * burst_words`` cycles, or
    ``outstanding * burst_words`` if that is less.

    ``stop`` drops the rest of a request; the words of bursts that were asked for are taken and
    dropped, and ``idle`` follows when the last one came. ``data.valid`` falls with ``stop``.
    A word that comes with SLVERR or DECERR, unless it is dropped, has the same effect by itself:
    ``failed`` is high from the cycle after it until the bursts under way are drained. It and what
    follows never get out.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        Width of a beat, which divides the word or is a multiple of it.
    axi : :class:`Axi4Config`
        The port.

    Raises
    ------
    ValueError
        If beats and words do not fit.

    Members
    -------
    memory : :py:`In(linear_read(config))`
        From the core.
    base : :py:`In(axi.address_bits)`
        Address of beat 0, a multiple of :data:`PAGE`; read with each request.
    axi : :py:`Out(axi4_read(axi))`
        To the interconnect.
    failed : :py:`Out(1)`
        The slave refused a read; all is dropped.
    response : :py:`Out(2)`
        RRESP of the word that set ``failed``: 2 is SLVERR, 3 is DECERR.
    """

    memory: Any
    base: Signal
    axi: Any
    failed: Signal
    response: Signal

    def __init__(self, config: CoreConfig, axi: Axi4Config):
        axi.check_beats(config)
        self.config, self.axi_config = config, axi
        super().__init__({
            "memory": In(linear_read(config)), "base": In(axi.address_bits),
            "axi": Out(axi4_read(axi)), "failed": Out(1), "response": Out(2),
        })

    def elaborate(self, platform):
        m = Module()
        axi, config = self.axi, self.axi_config
        m.submodules.queue = queue = BlockQueue(config.data_bits, config.depth)
        flush = Signal()
        m.d.comb += flush.eq(self.memory.stop | self.failed)

        # Room is given away with a burst, and comes back when a word leaves the queue.
        length = Signal(range(config.burst_words + 1))
        issue, pop, idle = Signal(), Signal(), Signal()
        room = Signal(range(config.depth), init=config.depth - 1)
        m.d.sync += room.eq(room - Mux(issue, length, 0) + pop)
        bursts = Signal(range(config.outstanding + 1))
        m.d.sync += bursts.eq(bursts + issue - (axi.rvalid & axi.rlast))
        m.d.comb += [
            axi.rready.eq(1), queue.write.eq(axi.rvalid), queue.data.eq(axi.rdata),
            pop.eq(queue.o.valid & queue.o.ready),
        ]

        drained, ahead = Signal(), self._ask(m, flush, length, issue, room, bursts, idle)
        m.d.comb += drained.eq(idle & room.all())  # depth - 1: all of it
        beat_bits = self.config.beat_bits
        if beat_bits > config.data_bits:
            m.d.comb += self.memory.idle.eq(drained & ~self._gather(m, queue.o, flush))
        else:
            m.d.comb += self.memory.idle.eq(drained)
            if beat_bits < config.data_bits:
                self._split(m, queue.o, flush, ahead)
            else:
                m.d.comb += [self.memory.data.valid.eq(queue.o.valid & ~flush),
                             self.memory.data.payload.eq(queue.o.payload),
                             queue.o.ready.eq(self.memory.data.ready | flush)]

        with m.If(axi.rvalid & axi.rresp[1] & ~flush):
            m.d.sync += [self.failed.eq(1), self.response.eq(axi.rresp)]
        with m.Elif(self.memory.idle):
            m.d.sync += self.failed.eq(0)
        return m

    def _ask(self, m: Module, flush: Value, length: Signal, issue: Signal, room: Signal,
             bursts: Signal, idle: Signal) -> fifo.SyncFIFOBuffered | None:
        """Cut requests into bursts; where a word holds several beats, note which ones are meant."""
        axi, config, request = self.axi, self.axi_config, self.memory.request
        word, beat = config.data_bits, self.config.beat_bits
        beats_bits = (max(word, beat) // beat).bit_length() - 1  # beats in a word, as a shift
        words_bits = (max(word, beat) // word).bit_length() - 1  # words in a beat, likewise
        byte_bits = config.word_bytes.bit_length() - 1
        block_bits = config.burst_words.bit_length() - 1

        ahead = None
        free: Value = C(1)
        if beats_bits:
            m.submodules.ahead = ahead = ResetInserter(flush)(
                fifo.SyncFIFOBuffered(width=beats_bits + len(request.p.beats), depth=4))
            m.d.comb += [
                ahead.w_data.eq(Cat(request.p.address[:beats_bits], request.p.beats)),
                ahead.w_en.eq(request.valid & request.ready & ~flush),
            ]
            free = ahead.w_rdy

        first = Signal(len(request.p.address) + words_bits, reset_less=True)
        last = Signal.like(first)
        at = Signal(config.address_bits - byte_bits, reset_less=True)  # in words
        left = Signal(len(first), reset_less=True)
        bound = Signal(range(config.burst_words + 1))  # words up to the end of the block
        ends = Signal()  # it is the request's last burst
        block = at[:block_bits]
        m.d.comb += [
            bound.eq(config.burst_words - block),
            ends.eq((left[block_bits + 1:] == 0) & (left[:block_bits + 1] <= bound)),
            length.eq(Mux(ends, left[:block_bits + 1], bound)),
            axi.arid.eq(0), axi.arsize.eq(byte_bits), axi.arburst.eq(1), axi.arlock.eq(0),
            axi.arcache.eq(0b0011), axi.arprot.eq(0), axi.arqos.eq(0),
        ]
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [request.ready.eq(free | flush), idle.eq(1)]
                m.d.sync += [
                    first.eq(request.p.address << words_bits),
                    last.eq((request.p.address + request.p.beats - 1) << words_bits),
                ]
                with m.If(request.valid & request.ready & ~flush):
                    m.next = "PLACE"
            with m.State("PLACE"):
                begin, end = first >> beats_bits, last >> beats_bits
                m.d.sync += [at.eq(self.base[byte_bits:] + begin),
                             left.eq(end - begin + (1 << words_bits))]
                m.next = "BURSTS"
                with m.If(flush):
                    m.next = "IDLE"
            with m.State("BURSTS"):
                m.d.comb += issue.eq((~axi.arvalid | axi.arready) & ~flush
                                     & room[block_bits:].any() & (bursts != config.outstanding))
                with m.If(issue):
                    m.d.sync += [
                        axi.arvalid.eq(1), axi.araddr.eq(at << byte_bits), axi.arlen.eq(length - 1),
                        at.eq((at[block_bits:] + 1) << block_bits), left.eq(left - length),
                    ]
                with m.If(issue & ends | flush):
                    m.next = "IDLE"
        return ahead

    def _gather(self, m: Module, words: stream.Interface, flush: Value) -> Value:
        """Several words make a beat, the lowest first; returns whether one stands ready."""
        data = self.memory.data
        count = len(data.payload) // len(words.payload)
        held = Signal(len(data.payload), reset_less=True)
        filled, full = Signal(range(count)), Signal()
        m.d.comb += [data.payload.eq(held), data.valid.eq(full & ~flush),
                     words.ready.eq(~full | data.ready | flush)]
        with m.If(data.ready):
            m.d.sync += full.eq(0)
        with m.If(words.valid & words.ready):
            m.d.sync += [held.eq(Cat(held[len(words.payload):], words.payload)),
                         filled.eq(filled + 1), full.eq(filled == count - 1)]
        with m.If(flush):
            m.d.sync += [filled.eq(0), full.eq(0)]
        return full

    def _split(self, m: Module, words: stream.Interface, flush: Value, ahead: Any) -> None:
        """A word holds several beats, and not all of a request's first and last one are meant."""
        data = self.memory.data
        bits = (len(words.payload) // len(data.payload)).bit_length() - 1
        place, left, active = Signal(bits), Signal(24, reset_less=True), Signal()
        final = Signal()
        m.d.comb += [
            data.payload.eq(words.payload.word_select(place, len(data.payload))),
            data.valid.eq(words.valid & active & ~flush), final.eq(left == 1),
            words.ready.eq(active & data.ready & (place.all() | final) | flush),
            ahead.r_en.eq(~active),
        ]
        with m.If(data.valid & data.ready):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1), active.eq(~final)]
        with m.If(~active & ahead.r_rdy):
            m.d.sync += [Cat(place, left).eq(ahead.r_data), active.eq(1)]
        with m.If(flush):
            m.d.sync += active.eq(0)
