"""Runs the packets of one token in order."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..isa import HEADER_BITS, HEADERS, Function, Opcode, gather
from .decoder import BeatDecoder
from .lanes import DotProduct

__all__ = ["Cause", "Sequencer", "weights_layout"]


class Cause(enum.Enum, shape=3):
    """What a cycle of a token went to."""

    BETWEEN = 0  #: no packet is under way
    WEIGHTS = 1  #: a beat of weights
    CONSTANTS = 2  #: a beat of constants
    HEADER = 3  #: a beat of a header, or its decoding
    MEMORY = 4  #: a beat is wanted, and none has come
    TILE = 5  #: the codes of the next tile do not stand yet
    VECTOR = 6  #: the quantiser is at work, and has no use for a beat
    DRAIN = 7  #: the last rows of a matrix are on their way to memory


def weights_layout(config: CoreConfig) -> data.StructLayout:
    """A beat as the lanes take it: that of :class:`DotProduct`, with the weights of all cores."""
    row = DotProduct.beat_layout(config)
    return data.StructLayout({**row.members, "data": row["data"].width * config.cores})


class Sequencer(wiring.Component):
    """Reads headers from the stream and drives the units, one packet at a time.

    A MATVEC takes one beat per cycle while its codes stand, waits for quantiser and scale before
    the last tile, and ends when its last row has retired. LOAD and
    QUANTISE end when the quantiser is idle, or needs nothing but the vector RAM any more: the tiles
    but the last of the matrix that follows hide the rest.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and header size.
    causes : bool
        Whether to have the member ``cause``.

    Members
    -------
    run : :py:`In(1)`
        Strobe: a new token's stream begins.
    done : :py:`Out(1)`
        Strobe: END was reached.
    i : :py:`In(stream.Signature(config.beat_bits))`
        Beats of the token.
    header : :py:`Out(128)`
        Current packet header.
    packet : :py:`Out(16)`
        Number of the current packet in the token, from 0.
    matvec : :py:`Out(1)`
        A MATVEC is running.
    quantise_start, matvec_start, scale_start : :py:`Out(1)`
        Strobes; LOAD and QUANTISE both start the quantiser.
    constants : :py:`Out(stream.Signature(config.beat_bits))`
        Beats of LOAD and QUANTISE payloads.
    weights : :py:`Out(stream.Signature(weights_layout(config), always_ready=True))`
        Beats of MATVEC payloads with their row and tile marks; decoded where streams share them.
    quantise_busy, quantise_streaming, ratio_valid, scale_valid, tile_ready : :py:`In(1)`
        State of the units.
    tile_following : :py:`In(1)`
        Only with ``tile_registers=2``: the next tile stands in the cycle after its release.
    tile_release : :py:`Out(1)`
        Strobe: the stationary codes are needed for the last time.
    retired : :py:`In(1)`
        Strobe: a row has left the epilogue.
    head : :py:`In(1)`
        Only with ``streams``: the logits are wanted. Otherwise the token ends ahead of them.
    cause : :py:`Out(Cause)`
        What this cycle goes to; for simulation.
    """

    run: Signal
    done: Signal
    i: stream.Interface
    header: Signal
    packet: Signal
    matvec: Signal
    quantise_start: Signal
    matvec_start: Signal
    scale_start: Signal
    constants: stream.Interface
    weights: stream.Interface
    quantise_busy: Signal
    quantise_streaming: Signal
    ratio_valid: Signal
    scale_valid: Signal
    tile_ready: Signal
    tile_following: Signal
    tile_release: Signal
    retired: Signal
    head: Signal

    def __init__(self, config: CoreConfig, *, causes: bool = False):
        self.config, self.causes = config, causes
        super().__init__({
            "run": In(1), "done": Out(1), "i": In(stream.Signature(config.beat_bits)),
            "header": Out(HEADER_BITS), "packet": Out(16),
            "matvec": Out(1), "quantise_start": Out(1), "matvec_start": Out(1),
            "scale_start": Out(1),
            "constants": Out(stream.Signature(config.beat_bits)),
            "weights": Out(stream.Signature(weights_layout(config), always_ready=True)),
            "quantise_busy": In(1), "quantise_streaming": In(1), "ratio_valid": In(1),
            "scale_valid": In(1), "tile_ready": In(1), "tile_release": Out(1), "retired": In(1),
            **({"tile_following": In(1)} if config.tile_registers > 1 else {}),
            **({"head": In(1)} if config.streams > 1 else {}),
            **({"cause": Out(Cause)} if causes else {}),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        header = Signal(HEADER_BITS, reset_less=True)
        opcode = header[:4]
        matvec = data.View(HEADERS[Opcode.MATVEC], header)
        taken = Signal(range(config.header_beats + 1))
        packet = Signal(16)
        tiles, rows = Signal(8), Signal(16)  # tiles to come, this one included; rows of this tile
        first_tile, last_tile, last_row = Signal(), Signal(), Signal()
        # rows between here and the epilogue's end, in fewer stages than that
        flight = Signal(6 if config.streams == 1 else 6 + (config.streams - 1).bit_length())
        scaled = Signal()
        permitted = Signal()  # quantiser and scale are through: the last tile may begin
        issue, leaves = Signal(), Signal()
        m.d.comb += [self.header.eq(header), self.packet.eq(packet),
                     self.constants.payload.eq(self.i.payload)]
        # What goes to the lanes, in one cycle; wide beats have a register on their way.
        weights = self.i.payload
        if config.decodes_ahead:
            m.submodules.decoder = decoder = BeatDecoder(config)
            m.d.comb += decoder.beat.eq(weights)
            weights = decoder.pairs
        beat = Signal(weights_layout(config), reset_less=True)
        domain = m.d.sync if config.registers_beats else m.d.comb
        domain += [self.tile_release.eq(issue & last_row), self.weights.valid.eq(issue),
                   beat.data.eq(weights), beat.first.eq(first_tile),
                   beat.last.eq(last_tile), beat.end.eq(last_row)]
        m.d.comb += self.weights.payload.eq(beat)
        m.d.comb += leaves.eq(issue & last_tile)
        m.d.sync += permitted.eq(~self.quantise_busy &
                                 (~matvec.scaled | scaled & self.scale_valid))
        with m.If(leaves ^ self.retired):
            m.d.sync += flight.eq(Mux(leaves, flight + 1, flight - 1))

        skips: Value = C(0)
        if config.streams > 1:
            skips = ~self.head & (opcode == Opcode.MATVEC) & (matvec.function == Function.LOGITS)
        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(self.run):
                    m.d.sync += [packet.eq(0), taken.eq(0)]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    gather(m, header, self.i.payload, taken)
                    m.d.sync += taken.eq(taken + 1)
                    with m.If(taken == config.header_beats - 1):
                        m.d.sync += taken.eq(0)
                        m.next = "DISPATCH"
            with m.State("DISPATCH"):
                m.d.sync += [tiles.eq(matvec.tiles), first_tile.eq(1),
                             last_tile.eq(matvec.tiles == 1), rows.eq(matvec.rows),
                             last_row.eq(matvec.rows == 1)]
                with m.Switch(opcode):
                    with m.Case(Opcode.LOAD.value, Opcode.QUANTISE.value):
                        with m.If(~self.quantise_busy):
                            m.d.comb += self.quantise_start.eq(1)
                            m.next = "QUANTISE"
                    with m.Case(Opcode.MATVEC.value):
                        m.d.comb += self.matvec_start.eq(1)
                        m.d.sync += [scaled.eq(0), permitted.eq(0)]
                        m.next = "ROWS"
                        if config.streams > 1:
                            with m.If(skips):  # once the codes are out, though nobody wants them
                                m.d.comb += [self.matvec_start.eq(0),
                                             self.done.eq(~self.quantise_busy)]
                                m.next = "DISPATCH"
                                with m.If(~self.quantise_busy):
                                    m.next = "IDLE"
                    with m.Default():
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
            with m.State("QUANTISE"):
                m.d.comb += [self.constants.valid.eq(self.i.valid),
                             self.i.ready.eq(self.constants.ready)]
                with m.If(~self.quantise_busy | self.quantise_streaming):
                    m.d.sync += packet.eq(packet + 1)
                    m.next = "HEADER"
            with m.State("ROWS"):
                go = Signal()
                stands = self.tile_ready
                if config.registers_beats:  # released, but it does not show yet
                    stays = ~self.tile_release
                    if config.tile_registers > 1:
                        stays |= self.tile_following
                    stands &= stays
                m.d.comb += [go.eq(stands & (~last_tile | permitted)),
                             self.i.ready.eq(go), issue.eq(go & self.i.valid)]
                with m.If(issue):
                    m.d.sync += [rows.eq(rows - 1), last_row.eq(rows == 2)]
                    with m.If(last_row):
                        m.d.sync += [tiles.eq(tiles - 1), first_tile.eq(0),
                                     last_tile.eq(tiles == 2), rows.eq(matvec.rows),
                                     last_row.eq(matvec.rows == 1)]
                        with m.If(last_tile):
                            m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If((flight == 0) | (flight == 1) & self.retired):
                    m.d.sync += packet.eq(packet + 1)
                    m.next = "HEADER"

        running = fsm.ongoing("ROWS") | fsm.ongoing("DRAIN")
        m.d.comb += self.matvec.eq(running)
        m.d.comb += self.scale_start.eq(running & matvec.scaled & ~scaled & self.ratio_valid)
        with m.If(self.scale_start):
            m.d.sync += scaled.eq(1)

        if self.causes:
            def chosen(state: str, cause: Value | Cause) -> None:
                with m.If(fsm.ongoing(state)):
                    m.d.comb += self.cause.eq(cause)

            def taken_as(cause: Cause) -> Value:
                return Mux(self.i.valid, cause, Cause.MEMORY)

            chosen("HEADER", taken_as(Cause.HEADER))
            chosen("DISPATCH", Mux(self.quantise_busy & ((opcode == Opcode.LOAD) | skips |
                                                         (opcode == Opcode.QUANTISE)),
                                   Cause.VECTOR, Cause.HEADER))
            chosen("QUANTISE", Mux(self.constants.ready, taken_as(Cause.CONSTANTS), Cause.VECTOR))
            chosen("ROWS", Mux(go, taken_as(Cause.WEIGHTS),
                               Mux(stands, Cause.VECTOR, Cause.TILE)))
            chosen("DRAIN", Cause.DRAIN)
        return m
