"""The packet-stream core: all units, joined."""

from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from ..isa import HEADERS, Opcode
from ..lanes import dot_product
from ..mem.fetch import token_side
from ..numerics import VECTOR_BITS
from .accumulate import Accumulator
from .constants import ConstantFeed
from .epilogue import Epilogue
from .quantise import Quantiser
from .scale import ScaleUnit
from .sequencer import Cause, Sequencer
from .state_ram import StateRam
from .tile import TileBuffer
from .vector_ram import VectorRam, element_write, state_write, word_write

__all__ = ["SITES", "Core", "status_signature", "step_layout", "trace_signature"]

#: Sites at which saturations are counted, in the order of the status port.
SITES = ("product", "square", "rescale", "gate", "residual")


def step_layout() -> data.StructLayout:
    """One step: the token to read, and whether it begins a sequence."""
    return data.StructLayout({"token": 16, "reset": 1})


def status_signature() -> wiring.Signature:
    """What a host reads between tokens."""
    return wiring.Signature({
        "busy": Out(1),  # a token is under way
        "fault": Out(1),  # no image in memory, or a token outside of its vocabulary
        "cycles": Out(32),  # clock cycles of the last token, from its acceptance to its result
        # Events since the last reset, by site; each counter stops at 65535.
        "saturations": Out(data.ArrayLayout(16, len(SITES))),
        # max|v| / sqrt(sum of squares) of the last codes, which scale the logits
        "ratio": Out(data.StructLayout({"mantissa": 16, "exponent": signed(8)})),
    })


def trace_signature(config: CoreConfig, *, activity: bool = False) -> wiring.Signature:
    """Every write of a token, for comparison with the integer model; leave it open in hardware.

    With ``activity`` also what the sequencer does in each cycle, and for which packet.
    """
    doing = {"activity": Out(data.StructLayout({"cause": Cause, "packet": 16}))}
    return wiring.Signature({
        "packet": Out(16),  # number of the packet in the token
        "word": Out(word_write(config)),
        "element": Out(element_write()),
        "state": Out(state_write(config)),
        "codes_valid": Out(1),
        "codes": Out(data.ArrayLayout(signed(8), config.elements)),
        **(doing if activity else {}),
    })


class Core(wiring.Component):
    """One token per step: embedding, layers, head, argmax.

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
    tokens : :py:`In(stream.Signature(step_layout()))`
        One step each; ready while no token is under way.
    result : :py:`Out(stream.Signature(16))`
        Token with the largest logit, one per step. Not sent after a fault.
    peek_address : :py:`In(16)`
        Vector element to read while no token is under way.
    peek_data : :py:`Out(signed(24))`
        Its value, at most two cycles later.
    status : :py:`Out(status_signature())`
        Counters and flags.
    trace : :py:`Out(trace_signature(config, activity=activity))`
        Writes of this cycle.

    The others are those that ``fetch`` has for the image memory.
    """

    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Signal
    status: Any  # interface of status_signature()
    trace: Any  # interface of trace_signature(config)

    def __init__(self, config: CoreConfig, fetch: Any, *, activity: bool = False):
        self.config, self.fetch, self.activity = config, fetch, activity
        self.memory_side = {name: member for name, member in fetch.signature.members.items()
                            if name not in token_side(config)}
        super().__init__({
            "tokens": In(stream.Signature(step_layout())),
            "result": Out(stream.Signature(16)),
            **self.memory_side,
            "peek_address": In(16), "peek_data": Out(signed(VECTOR_BITS)),
            "status": Out(status_signature()),
            "trace": Out(trace_signature(config, activity=activity)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.fetch = fetch = self.fetch
        m.submodules.sequencer = sequencer = Sequencer(config, causes=self.activity)
        m.submodules.constants = constants = ConstantFeed(config)
        m.submodules.quantiser = quantiser = Quantiser(config)
        m.submodules.tile = tile = TileBuffer(config)
        m.submodules.lanes = lanes = dot_product(config)
        m.submodules.accumulator = accumulator = Accumulator(config)
        m.submodules.scale_unit = scale = ScaleUnit()
        m.submodules.epilogue = epilogue = Epilogue(config)
        m.submodules.vector_ram = vectors = VectorRam(config)
        m.submodules.state_ram = states = StateRam(config)

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
        connect(m, constants.o, quantiser.constants)
        connect(m, sequencer.weights, lanes.i)
        connect(m, lanes.o, accumulator.i)

        quantise = data.View(HEADERS[Opcode.QUANTISE], sequencer.header)
        matvec = data.View(HEADERS[Opcode.MATVEC], sequencer.header)

        # Quantiser and tile buffer. The next headers must not disturb the loader.
        tiles = Signal(8)
        with m.If(quantiser.restart):
            m.d.sync += tiles.eq(quantise.tiles)
        m.d.comb += [
            constants.start.eq(sequencer.quantise_start), constants.wide.eq(quantise.wide),
            constants.count.eq(quantise.count),
            quantiser.header.eq(quantise), quantiser.start.eq(sequencer.quantise_start),
            sequencer.quantise_busy.eq(quantiser.busy),
            sequencer.quantise_streaming.eq(quantiser.streaming),
            sequencer.ratio_valid.eq(quantiser.ratio_valid),
            tile.restart.eq(quantiser.restart), tile.complete.eq(quantiser.complete),
            tile.tiles.eq(tiles), tile.release.eq(sequencer.tile_release),
            sequencer.tile_ready.eq(tile.ready), lanes.codes.eq(tile.codes),
        ]
        if config.tile_registers > 1:
            m.d.comb += sequencer.tile_following.eq(tile.following)
        connect(m, quantiser.codes_o, tile.codes_i)

        # Rescale and epilogue.
        m.d.comb += [
            scale.start.eq(sequencer.scale_start), scale.mantissa.eq(matvec.scale_mantissa),
            scale.exponent.eq(matvec.scale_exponent.as_signed()), scale.ratio.eq(quantiser.ratio),
            sequencer.scale_valid.eq(scale.valid),
            quantiser.acc.eq(accumulator.o.payload), quantiser.scale.eq(scale.scale),
            quantiser.scaled.eq(epilogue.scaled),
            epilogue.row.eq(accumulator.o.valid), epilogue.rescaled.eq(quantiser.rescaled),
            epilogue.rescaled_saturated.eq(quantiser.rescaled_saturated),
            epilogue.header.eq(matvec), epilogue.start.eq(sequencer.matvec_start),
            sequencer.retired.eq(epilogue.retired),
        ]

        # Vector RAM: the quantiser owns the read port while it is busy. The epilogue, whose rows
        # come with the last tile, waits for that.
        low = config.elements.bit_length() - 1
        m.d.comb += [
            vectors.read_address.eq(self.peek_address), vectors.word.eq(quantiser.vector_write),
            vectors.element.eq(epilogue.vector_write),
            quantiser.vector_read_data.eq(vectors.read_word),
            epilogue.vector_read_data.eq(vectors.read_element),
            self.peek_data.eq(vectors.read_element),
        ]
        with m.If(quantiser.busy):
            m.d.comb += vectors.read_address.eq(quantiser.vector_read_address << low)
        with m.Elif(sequencer.matvec):
            m.d.comb += vectors.read_address.eq(epilogue.vector_read_address)
        m.d.comb += [
            states.read_address.eq(epilogue.state_read_address),
            epilogue.state_read_data.eq(states.read_data), states.write.eq(epilogue.state_write),
        ]

        # Steps.
        fault, cycles = Signal(), Signal(32)
        m.d.comb += [self.status.fault.eq(fault), self.status.cycles.eq(cycles),
                     self.status.ratio.eq(quantiser.ratio), sequencer.run.eq(fetch.start),
                     fetch.token.eq(self.tokens.p.token), self.result.payload.eq(epilogue.token)]
        start_of_sequence = Signal()
        m.d.comb += epilogue.start_of_sequence.eq(start_of_sequence)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += [self.tokens.ready.eq(fetch.idle),
                             fetch.start.eq(fetch.idle & self.tokens.valid)]
                with m.If(fetch.start):
                    m.d.sync += [start_of_sequence.eq(self.tokens.p.reset), cycles.eq(0),
                                 fault.eq(0)]
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.sync += cycles.eq(cycles + 1)
                with m.If(fetch.fault):
                    m.d.comb += fetch.stop.eq(1)
                    m.d.sync += fault.eq(1)
                    m.next = "IDLE"
                with m.Elif(sequencer.done):
                    m.d.comb += fetch.stop.eq(1)
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += self.result.valid.eq(1)
                with m.If(self.result.ready):
                    m.next = "IDLE"
        m.d.comb += self.status.busy.eq(~fsm.ongoing("IDLE"))

        # Saturation counters. The top bit of a sum stops its counter at 65535.
        events = (quantiser.saturated.product, quantiser.saturated.square,
                  epilogue.saturated.rescale, epilogue.saturated.gate, epilogue.saturated.residual)
        for index, (site, event) in enumerate(zip(SITES, events, strict=True)):
            counter = Signal(17, name=f"saturated_{site}")
            m.d.comb += self.status.saturations[index].eq(counter | counter[16].replicate(16))
            with m.If(~counter[16]):
                m.d.sync += counter.eq(counter + event)
            with m.If(fetch.start & self.tokens.p.reset):
                m.d.sync += counter.eq(0)

        # The quantiser's codes may come while the next packet has begun.
        quantised = Signal(16)
        with m.If(sequencer.quantise_start):
            m.d.sync += quantised.eq(sequencer.packet)
        m.d.comb += [
            self.trace.packet.eq(Mux(quantiser.busy, quantised, sequencer.packet)),
            self.trace.word.eq(quantiser.vector_write),
            self.trace.element.eq(epilogue.vector_write), self.trace.state.eq(epilogue.state_write),
            self.trace.codes_valid.eq(quantiser.codes_o.valid),
            self.trace.codes.eq(quantiser.codes_o.payload),
        ]
        if self.activity:
            m.d.comb += [self.trace.activity.cause.eq(sequencer.cause),
                         self.trace.activity.packet.eq(sequencer.packet)]
        return m
