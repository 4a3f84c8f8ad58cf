"""The packet-stream core: all units, joined."""

from types import SimpleNamespace
from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from ..isa import HEADERS, Function, Opcode
from ..mem.fetch import token_side
from ..numerics import VECTOR_BITS
from .constants import ConstantFeed
from .datapath import Datapath
from .sequencer import Cause, Sequencer
from .several import part, parts, several
from .vector_ram import element_write, state_write, word_write

__all__ = ["SITES", "Core", "status_signature", "step_layout", "trace_signature"]

#: Sites at which saturations are counted, in the order of the status port.
SITES = ("product", "square", "rescale", "gate", "residual")


def step_layout(streams: int = 1) -> data.StructLayout:
    """One step: the token to read, and whether it begins a sequence.

    Of several streams, each has its own, and a bit ``active``: the others take part, but their
    states stay as they are. With ``chain`` the tokens follow each other in one sequence, that of
    the last stream; those that are not active must come first. Without ``head`` no logits are
    wanted, as in all of a prompt but its end, and the result is undefined.
    """
    if streams == 1:
        return data.StructLayout({"token": 16, "reset": 1})
    return data.StructLayout({"token": data.ArrayLayout(16, streams), "reset": streams,
                              "active": streams, "chain": 1, "head": 1})


def status_signature(streams: int = 1) -> wiring.Signature:
    """What a host reads between tokens."""
    return wiring.Signature({
        "busy": Out(1),  # a token is under way
        "fault": Out(1),  # no image in memory, or a token outside of its vocabulary
        "cycles": Out(32),  # clock cycles of the last token, from its acceptance to its result
        # Events since the last reset, by site; each counter stops at 65535.
        "saturations": Out(data.ArrayLayout(16, len(SITES))),
        # max|v| / sqrt(sum of squares) of the last codes, which scale the logits; of each stream
        "ratio": Out(several(data.StructLayout({"mantissa": 16, "exponent": signed(8)}), streams)),
    })


def trace_signature(config: CoreConfig, *, activity: bool = False) -> wiring.Signature:
    """Every write of a token, for comparison with the integer model; leave it open in hardware.

    Each stream has its own. With ``activity`` also what the sequencer does in each cycle, and for
    which packet.
    """
    streams, cores = config.streams, config.cores
    doing = {"activity": Out(data.StructLayout({"cause": Cause, "packet": 16}))}
    return wiring.Signature({
        # number of the packet in the token; each stream's embedding row comes in one of its own
        "packet": Out(several(16, streams)),
        "word": Out(several(word_write(config), streams)),
        "element": Out(several(element_write(cores=cores), streams)),
        "state": Out(several(state_write(config, cores=cores), streams)),
        "codes_valid": Out(streams),
        "codes": Out(several(data.ArrayLayout(signed(8), config.elements), streams)),
        **(doing if activity else {}),
    })


class Core(wiring.Component):
    """One token per step and stream: embedding, layers, head, argmax.

    A step takes about one cycle per beat of weights plus, for each of the four barriers of a layer,
    the quantiser's two passes; ``status.cycles`` tells.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size.
    fetch : component with :func:`~ternforge.mem.fetch.token_side`
        Reads the image memory; becomes a part of the core. :class:`~ternforge.mem.fetch.Fetch` for
        memory of a fixed latency, :class:`~ternforge.mem.burst.BurstFetch` for any other.
    activity : bool
        Whether ``trace`` tells what each cycle goes to; for simulation.

    Members
    -------
    tokens : :py:`In(stream.Signature(step_layout(config.streams)))`
        One step each; ready while no token is under way.
    result : :py:`Out(stream.Signature(several(16, config.streams)))`
        Token with the largest logit, one per step. Not sent after a fault.
    peek_address : :py:`In(16)`
        Vector element to read while no token is under way.
    peek_data : :py:`Out(several(signed(24), config.streams))`
        Its value in each stream, at most two cycles later.
    status : :py:`Out(status_signature(config.streams))`
        Counters and flags.
    trace : :py:`Out(trace_signature(config, activity=activity))`
        Writes of this cycle.

    The others are those that ``fetch`` has for the image memory.
    """

    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Any  # signed(24), or an array of them
    status: Any  # interface of status_signature()
    trace: Any  # interface of trace_signature(config)

    def __init__(self, config: CoreConfig, fetch: Any, *, activity: bool = False):
        self.config, self.fetch, self.activity = config, fetch, activity
        self.memory_side = {name: member for name, member in fetch.signature.members.items()
                            if name not in token_side(config)}
        super().__init__({
            "tokens": In(stream.Signature(step_layout(config.streams))),
            "result": Out(stream.Signature(several(16, config.streams))),
            **self.memory_side,
            "peek_address": In(16),
            "peek_data": Out(several(signed(VECTOR_BITS), config.streams)),
            "status": Out(status_signature(config.streams)),
            "trace": Out(trace_signature(config, activity=activity)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        count = config.streams
        m.submodules.fetch = fetch = self.fetch
        m.submodules.sequencer = sequencer = Sequencer(config, causes=self.activity)
        m.submodules.constants = constants = ConstantFeed(config)
        datapaths = [Datapath(m, config, sequencer, number) for number in range(count)]

        for name, member in self.memory_side.items():
            inner, outer = getattr(fetch, name), getattr(self, name)
            if not member.is_port:
                connect(m, inner, flipped(outer))
            elif member.flow == Out:
                m.d.comb += outer.eq(inner)
            else:
                m.d.comb += inner.eq(outer)
        connect(m, fetch.o, sequencer.i)
        connect(m, sequencer.constants, constants.i)
        starts = self._share_constants(m, constants, datapaths, sequencer)
        for path in datapaths:
            path.wire_lanes()
        quantise = data.View(HEADERS[Opcode.QUANTISE], sequencer.header)
        matvec = data.View(HEADERS[Opcode.MATVEC], sequencer.header)
        for path in datapaths:
            path.keep_tiles()
        m.d.comb += [
            constants.start.eq(sequencer.quantise_start), constants.wide.eq(quantise.wide),
            constants.count.eq(quantise.count),
        ]
        for path, start in zip(datapaths, starts, strict=True):
            m.d.comb += [path.quantiser.header.eq(quantise), path.quantiser.start.eq(start)]

        # The sequencer waits for all.
        def every(*values: Value) -> Value:
            return values[0] if count == 1 else Cat(values).all()

        quantisers, tiles = [path.quantiser for path in datapaths], [p.tile for p in datapaths]
        m.d.comb += [
            sequencer.quantise_busy.eq(
                quantisers[0].busy if count == 1 else
                Cat(quantiser.busy for quantiser in quantisers).any()),
            sequencer.quantise_streaming.eq(
                quantisers[0].streaming if count == 1 else
                every(*(~quantiser.busy | quantiser.streaming for quantiser in quantisers))),
            sequencer.ratio_valid.eq(every(*(quantiser.ratio_valid for quantiser in quantisers))),
        ]
        for path in datapaths:
            path.wire_tiles()
        m.d.comb += sequencer.tile_ready.eq(every(*(tile.ready for tile in tiles)))
        if config.tile_registers > 1:
            m.d.comb += sequencer.tile_following.eq(every(*(tile.following for tile in tiles)))
        for path in datapaths:
            path.wire_codes()
            path.wire_scale()
        m.d.comb += sequencer.scale_valid.eq(every(*(path.scale.valid for path in datapaths)))

        # What of a step outlasts its start.
        begun = Signal(count, name="start_of_sequence")
        held = {"reset": begun, **{name: Signal(field.shape, name=name) for name, field
                                   in step_layout(count) if name not in ("token", "reset")}}
        step = SimpleNamespace(**held)
        self._wire_sequences(m, datapaths, matvec, step)
        for number, path in enumerate(datapaths):
            m.d.comb += part(self.peek_data, number, count).eq(self._peeked(path))
            path.share_vectors()
        for path in datapaths:
            path.wire_states()

        # Steps.
        fault, cycles = Signal(), Signal(32)
        m.d.comb += [self.status.fault.eq(fault), self.status.cycles.eq(cycles)]
        m.d.comb += [part(self.status.ratio, number, count).eq(path.quantiser.ratio)
                     for number, path in enumerate(datapaths)]
        m.d.comb += [sequencer.run.eq(fetch.start), fetch.token.eq(self.tokens.p.token)]
        m.d.comb += [part(self.result.payload, number, count).eq(path.token)
                     for number, path in enumerate(datapaths)]
        if count > 1:
            m.d.comb += sequencer.head.eq(step.head)
        for number, path in enumerate(datapaths):
            begins: Value = begun
            if count > 1:
                begins = begun[number] & ~step.chain if number else begun[0]
            m.d.comb += [epilogue.start_of_sequence.eq(begins) for epilogue in path.epilogues]
        # Of several cores, the largest logit is known some cycles after the last was written; two
        # of these go by with END.
        settled = max(0, datapaths[0].token_latency - 3)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += [self.tokens.ready.eq(fetch.idle),
                             fetch.start.eq(fetch.idle & self.tokens.valid)]
                with m.If(fetch.start):
                    m.d.sync += [*(kept.eq(self.tokens.p[name]) for name, kept in held.items()),
                                 cycles.eq(0), fault.eq(0)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += cycles.eq(cycles + 1)
                with m.If(fetch.fault):
                    m.d.comb += fetch.stop.eq(1)
                    m.d.sync += fault.eq(1)
                    m.next = "IDLE"
                with m.Elif(sequencer.done):
                    m.d.comb += fetch.stop.eq(1)
                    m.next = "SETTLE" if settled else "RESULT"
            if settled:
                with m.State("SETTLE"):
                    m.d.sync += cycles.eq(cycles + 1)
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.result.valid.eq(1)
                with m.If(self.result.ready):
                    m.next = "IDLE"
        assert settled <= 1
        m.d.comb += self.status.busy.eq(~fsm.ongoing("IDLE"))
        self._count_saturations(m, datapaths, fetch.start & self._begins())

        # The quantiser's codes may come while the next packet has begun.
        quantised = Signal(16)
        with m.If(sequencer.quantise_start):
            m.d.sync += quantised.eq(sequencer.packet)
        for number, path in enumerate(datapaths):
            quantiser = path.quantiser
            m.d.comb += [
                part(self.trace.packet, number, count).eq(
                    Mux(quantiser.busy, quantised, sequencer.packet)),
                part(self.trace.word, number, count).eq(quantiser.vector_write),
                part(self.trace.element, number, count).eq(path.element),
                part(self.trace.state, number, count).eq(path.state),
                self.trace.codes_valid[number].eq(quantiser.codes_o.valid),
                part(self.trace.codes, number, count).eq(quantiser.codes_o.payload),
            ]
        if self.activity:
            m.d.comb += [self.trace.activity.cause.eq(sequencer.cause),
                         self.trace.activity.packet.eq(sequencer.packet)]
        return m

    def _share_constants(self, m: Module, constants: ConstantFeed, datapaths: list[Datapath],
                         sequencer: Sequencer) -> list[Value]:
        """Constants to all, an embedding row to its own stream; returns when each one starts."""
        count = self.config.streams
        if count == 1:
            connect(m, constants.o, datapaths[0].quantiser.constants)
            return [sequencer.quantise_start]
        starts: list[Value] = []
        takes = Signal(count)  # who takes this packet's
        ready = Cat(path.quantiser.constants.ready for path in datapaths) | ~takes
        m.d.comb += constants.o.ready.eq(ready.all())
        for number, path in enumerate(datapaths):
            mine = (sequencer.packet >= count) | (sequencer.packet == number)
            with m.If(sequencer.quantise_start):
                m.d.sync += takes[number].eq(mine)
            starts.append(sequencer.quantise_start & mine)
            m.d.comb += [path.quantiser.constants.payload.eq(constants.o.payload),
                         path.quantiser.constants.valid.eq(constants.o.valid & takes[number]
                                                           & constants.o.ready)]
        return starts

    def _wire_sequences(self, m: Module, datapaths: list[Datapath], matvec: data.View,
                        step: SimpleNamespace) -> None:
        """Rows and memories of each stream; in a chain, states go from one to the next."""
        last = datapaths[-1]
        if len(datapaths) == 1:
            last.wire_rows()
            m.d.comb += last.sequencer.retired.eq(last.epilogue.retired)
            last.wire_memories(self.peek_address)
            return
        chained = Signal(reset_less=True)
        m.d.sync += chained.eq(step.chain & (matvec.function == Function.RECURRENCE))
        before = None  # state of the stream before, for the row that is due
        for number, path in enumerate(datapaths):
            first = path is datapaths[0]
            path.wire_rows(active=step.active[number], chained=None if first else chained)
            address = path.epilogue.state_read_address
            if path is last:
                address = Mux(chained, datapaths[0].epilogue.state_read_address, address)
            elsewhere = last.states.read_data if first else before
            path.wire_memories(self.peek_address, address,
                               self._choice(m, chained, elsewhere, path.states.read_data))
            before = Signal.like(path.state.data, name=f"state_{number}", reset_less=True)
            m.d.sync += before.eq(path.state.data)
        m.d.comb += last.sequencer.retired.eq(last.epilogue.retired)

    def _choice(self, m: Module, chosen: Value, one: Any, other: Any) -> Any:
        """``one`` if ``chosen``, else ``other``, in their shape."""
        value = Signal(other.shape())
        m.d.comb += value.eq(Mux(chosen, Value.cast(one), Value.cast(other)))
        return value

    def _peeked(self, path: Datapath) -> Any:
        """The element that ``peek_address`` asks for."""
        cores = self.config.cores
        if cores == 1:
            return path.vectors.read_element
        place = self.peek_address[:(cores - 1).bit_length()]
        return Array(parts(path.vectors.read_element, cores))[place]

    def _begins(self) -> Value:
        """Whether the step that is offered begins its sequences, all of them."""
        step = self.tokens.p
        if self.config.streams == 1:
            return step.reset
        return Mux(step.chain, step.reset[0], ~(step.active & ~step.reset).any())

    def _count_saturations(self, m: Module, datapaths: list[Datapath], clear: Value) -> None:
        """Counters of all streams together. The top bit of a sum stops its counter at 65535."""
        events = {
            "product": [path.quantiser.saturated.product for path in datapaths],
            "square": [path.quantiser.saturated.square for path in datapaths],
            **{site: [getattr(epilogue.saturated, site) for path in datapaths
                      for epilogue in path.epilogues] for site in SITES[2:]},
        }
        for index, site in enumerate(SITES):
            counter = Signal(17, name=f"saturated_{site}")
            m.d.comb += self.status.saturations[index].eq(counter | counter[16].replicate(16))
            with m.If(~counter[16]):
                m.d.sync += counter.eq(counter + sum(events[site][1:], events[site][0]))
            with m.If(clear):
                m.d.sync += counter.eq(0)
