"""What one sequence has to itself: vectors, codes, states, and the arithmetic on them."""

from typing import Any

from amaranth import *
from amaranth.lib import data
from amaranth.lib.wiring import connect

from ..config import CoreConfig
from ..isa import HEADERS, Function, Opcode
from ..lanes import dot_product, holds_tiles
from .accumulate import Accumulator
from .argmax import Argmax
from .delay import DelayLine
from .epilogue import Epilogue
from .quantise import Quantiser
from .scale import ScaleUnit
from .sequencer import Sequencer
from .several import part
from .state_ram import StateRam
from .tile import TileBuffer
from .vector_ram import VectorRam, element_write, state_write

__all__ = ["CHAIN", "Datapath"]

#: Cycles by which each sequence of a chain is behind the one before: from the stage in which a
#: state meets the candidate to the cycle after its write.
CHAIN = Epilogue.finish_latency + 1


class Datapath:
    """The units of one sequence, which become parts of the core's module.

    Quantiser, vector RAM, state RAM, tile buffer and scale unit serve all ``cores``; each core has
    lanes, accumulators and an epilogue. The datapaths of a core do the same packets in step; only
    the quantisers' scalar units take as long as their values want.

    Parameters
    ----------
    m : Module
        Of the core.
    config : CoreConfig
        Size.
    sequencer : Sequencer
        What drives it.
    number : int
        Which of ``config.streams``.

    Attributes
    ----------
    element, state : Value
        What the epilogues write in this cycle: :func:`.element_write`, :func:`.state_write`.
    token : Value
        Row of the largest logit, ``token_latency`` cycles after the last one's write.
    """

    def __init__(self, m: Module, config: CoreConfig, sequencer: Sequencer, number: int = 0):
        self.m, self.config, self.sequencer, self.number = m, config, sequencer, number
        cores = range(config.cores)
        stream = f"_{number}" if config.streams > 1 else ""

        def add(name: str, unit: Any, core: int = 0) -> Any:
            m.submodules[f"{name}{stream}{f'_{core}' if len(cores) > 1 else ''}"] = unit
            return unit

        m.submodules["quantiser" + stream] = self.quantiser = Quantiser(config)
        self.tiles: list[Any] = []  # what holds the codes: for all cores, or in the lanes of each
        if not holds_tiles(config.lane):
            m.submodules["tile" + stream] = tile = TileBuffer(config)
            self.tiles = [tile]
        self.lanes = [add("lanes", dot_product(config), core) for core in cores]
        self.tiles = self.tiles or self.lanes
        self.tile = self.tiles[0]
        self.accumulators = [add("accumulator", Accumulator(config), core) for core in cores]
        m.submodules["scale_unit" + stream] = self.scale = ScaleUnit()
        self.epilogues = [add("epilogue", Epilogue(config), core) for core in cores]
        self.epilogue = self.epilogues[0]  # for what is the same in all of them
        m.submodules["vector_ram" + stream] = self.vectors = VectorRam(config)
        last = number == config.streams - 1
        m.submodules["state_ram" + stream] = self.states = StateRam(
            config, 0 if last else config.prefill_states)
        self.token_latency = 1
        if len(cores) > 1:
            m.submodules["argmax" + stream] = self.argmax = Argmax(config.acc_bits, len(cores))
            self.token_latency += self.argmax.latency
            self.token = self.argmax.token
            self.element = self._grouped(element_write(cores=len(cores)), "vector_write")
            self.state = self._grouped(state_write(config, cores=len(cores)), "state_write")
        else:
            self.token = self.epilogue.token
            self.element, self.state = self.epilogue.vector_write, self.epilogue.state_write

    def _grouped(self, layout: data.StructLayout, port: str) -> Any:
        """The writes of all cores as one."""
        written = Signal(layout, name=f"{port}_{self.number}")
        one = getattr(self.epilogue, port)
        self.m.d.comb += [written.enable.eq(one.enable), written.address.eq(one.address)]
        self.m.d.comb += [written.data[core].eq(getattr(epilogue, port).data)
                          for core, epilogue in enumerate(self.epilogues)]
        return written

    def wire_lanes(self) -> None:
        """From the sequencer's beats to the accumulators."""
        weights = self.sequencer.weights
        if len(self.lanes) == 1:
            connect(self.m, weights, self.lanes[0].i)
        else:
            width = len(weights.p.data) // len(self.lanes)
            for core, lanes in enumerate(self.lanes):
                self.m.d.comb += [
                    lanes.i.valid.eq(weights.valid), lanes.i.p.first.eq(weights.p.first),
                    lanes.i.p.last.eq(weights.p.last), lanes.i.p.end.eq(weights.p.end),
                    lanes.i.p.data.eq(weights.p.data.word_select(core, width)),
                ]
        for lanes, accumulator in zip(self.lanes, self.accumulators, strict=True):
            connect(self.m, lanes.o, accumulator.i)

    def keep_tiles(self) -> None:
        """How many tiles the vector has: the next headers must not disturb the loader."""
        quantise = data.View(HEADERS[Opcode.QUANTISE], self.sequencer.header)
        self.tile_count = Signal(8, name="tiles")
        with self.m.If(self.quantiser.restart):
            self.m.d.sync += self.tile_count.eq(quantise.tiles)

    def wire_tiles(self) -> None:
        """Quantiser and sequencer to the tile buffer."""
        quantiser = self.quantiser
        for tile in self.tiles:
            self.m.d.comb += [
                tile.restart.eq(quantiser.restart), tile.complete.eq(quantiser.complete),
                tile.tiles.eq(self.tile_count), tile.release.eq(self.sequencer.tile_release),
            ]

    def wire_codes(self) -> None:
        """Quantiser to tile buffer to lanes."""
        m, quantiser = self.m, self.quantiser
        if not holds_tiles(self.config.lane):
            m.d.comb += [lanes.codes.eq(self.tile.codes) for lanes in self.lanes]
        if len(self.tiles) == 1:
            connect(m, quantiser.codes_o, self.tile.codes_i)
        else:  # a stream goes to one place, unless it is wired by hand
            for tile in self.tiles:
                m.d.comb += [tile.codes_i.payload.eq(quantiser.codes_o.payload),
                             tile.codes_i.valid.eq(quantiser.codes_o.valid)]

    def wire_scale(self) -> None:
        """Scale of a matrix's rows."""
        scale, sequencer = self.scale, self.sequencer
        matvec = data.View(HEADERS[Opcode.MATVEC], sequencer.header)
        self.m.d.comb += [
            scale.start.eq(sequencer.scale_start), scale.mantissa.eq(matvec.scale_mantissa),
            scale.exponent.eq(matvec.scale_exponent.as_signed()),
            scale.ratio.eq(self.quantiser.ratio),
        ]

    def wire_rows(self, *, active: Value | None = None, chained: Value | None = None) -> None:
        """Rescale and epilogues.

        ``chained``: this packet's rows wait for those of the stream before.
        """
        m, quantiser, sequencer = self.m, self.quantiser, self.sequencer
        matvec = data.View(HEADERS[Opcode.MATVEC], sequencer.header)
        cores = self.config.cores
        row: Value = self.accumulators[0].o.valid
        accs: list[Value] = [accumulator.o.payload for accumulator in self.accumulators]
        if chained is not None:
            row, accs = self._delayed(row, accs, chained)
        m.d.comb += [part(quantiser.acc, core, cores).eq(acc) for core, acc in enumerate(accs)]
        m.d.comb += [quantiser.scale.eq(self.scale.scale),
                     quantiser.scaled.eq(self.epilogue.scaled)]
        for core, epilogue in enumerate(self.epilogues):
            m.d.comb += [
                epilogue.row.eq(row),
                epilogue.rescaled.eq(part(quantiser.rescaled, core, cores)),
                epilogue.rescaled_saturated.eq(quantiser.rescaled_saturated[core]),
                epilogue.header.eq(matvec), epilogue.start.eq(sequencer.matvec_start),
            ]
            if active is not None:
                m.d.comb += epilogue.active.eq(active)
        if cores > 1:
            is_logits = matvec.function == Function.LOGITS
            m.d.comb += [
                self.argmax.clear.eq(sequencer.matvec_start & is_logits & ~matvec.continued),
                self.argmax.valid.eq(self.epilogue.retired & is_logits),
            ]
            m.d.comb += [self.argmax.value[core].eq(epilogue.vector_write.data)
                         for core, epilogue in enumerate(self.epilogues)]

    def _delayed(self, row: Value, accs: list[Value], chained: Value) -> tuple[Value, list[Value]]:
        """Rows of the accumulators, later by the sequence's place in the chain if ``chained``."""
        m, cycles, bits = self.m, CHAIN * self.number, self.config.acc_bits
        delay = DelayLine(bits * len(accs), cycles)
        m.submodules[f"delay_{self.number}"] = delay
        rows = Signal(cycles, name=f"rows_{self.number}")
        m.d.comb += delay.i.eq(Cat(accs))
        m.d.sync += rows.eq(Cat(row & chained, rows))
        return (Mux(chained, rows[-1], row),
                [Mux(chained, delay.o.word_select(core, bits).as_signed(), acc)
                 for core, acc in enumerate(accs)])

    def wire_memories(self, peek_address: Value, state_read_address: Value | None = None,
                      state_read_data: Value | None = None) -> None:
        """Vector RAM; state address and data are the epilogues' own unless given."""
        m, config, vectors, quantiser = self.m, self.config, self.vectors, self.quantiser
        m.d.comb += [
            vectors.read_address.eq(peek_address), vectors.word.eq(quantiser.vector_write),
            vectors.element.eq(self.element), quantiser.vector_read_data.eq(vectors.read_word),
        ]
        m.d.comb += [epilogue.vector_read_data.eq(part(vectors.read_element, core, config.cores))
                     for core, epilogue in enumerate(self.epilogues)]
        self._states = (self.epilogue.state_read_address if state_read_address is None
                        else state_read_address,
                        self.states.read_data if state_read_data is None else state_read_data)

    def share_vectors(self) -> None:
        """The quantiser owns the read port of the vector RAM while it is busy.

        The epilogues, whose rows come with the last tile, wait for that.
        """
        m, vectors, quantiser = self.m, self.vectors, self.quantiser
        low = self.config.elements.bit_length() - 1
        with m.If(quantiser.busy):
            m.d.comb += vectors.read_address.eq(quantiser.vector_read_address << low)
        with m.Elif(self.sequencer.matvec):
            m.d.comb += vectors.read_address.eq(self.epilogue.vector_read_address)

    def wire_states(self) -> None:
        """State RAM."""
        address, read_data = self._states
        self.m.d.comb += self.states.read_address.eq(address)
        self.m.d.comb += [
            epilogue.state_read_data.eq(part(read_data, core, self.config.cores))
            for core, epilogue in enumerate(self.epilogues)]
        self.m.d.comb += self.states.write.eq(self.state)
