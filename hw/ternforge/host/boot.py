"""Fills the image memory from an SPI flash after reset, as a host would: frame by frame."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.config import CoreConfig
from ternforge.host.protocol import SYNC, BootState, Command, Frame, MemoryState, capacity

__all__ = ["BOOT_END", "FlashBoot", "boot_header"]

BOOT_END = 0x5A  #: behind the last frame; then the CRC-32/MPEG-2 of all, its high byte first
BOOT_VERSION = 1  #: of what stands in the flash
MAGIC = b"TF"  #: its first bytes

REPLY_BYTES = 6  #: of an answer to WRITE, or of a refusal
REASON = 2  #: bytes of an answer behind the one that says whether it is a refusal


def boot_header(config: CoreConfig) -> bytes:
    """What stands in front of the first frame: for which core they are.

    >>> boot_header(CoreConfig(lanes=8, elements=1)).hex()
    '5446010801'
    """
    return MAGIC + bytes([BOOT_VERSION, config.lanes, config.elements])


class FlashBoot(wiring.Component):
    """Stands between a serial line and a host port, and talks to the port first.

    It sends the port a WRITE that makes beat 0 void, then the frames that stand in the flash behind
    :func:`boot_header`, each once the one before was answered, up to :data:`BOOT_END`. Beat 0,
    which tells an image from none, is written by the last of them. If the CRC-32 of all bytes is
    wrong, or a frame is refused or of an impossible length, beat 0 is made void again. Only WRITE
    can have the lengths that are let through, so each frame has one answer of six bytes.

    Until then, bytes of the line are dropped; afterwards they pass without a delay.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        Of the host port.

    Members
    -------
    flash : :py:`In(stream.Signature(8))`
        Bytes of the flash.
    sum_fits : :py:`In(1)`
        The bytes up to the present one end with the CRC-32 of those before.
    stop : :py:`Out(1)`
        No more of them are wanted.
    memory_state : :py:`In(2)`
        A :class:`~ternforge.host.protocol.MemoryState`; it begins when the memory is ready.
    boot_state : :py:`Out(3)`
        A :class:`~ternforge.host.protocol.BootState`: what came of it.
    line_i, line_o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        From and to the line.
    port_i, port_o : :py:`Out(stream.Signature(8))`, :py:`In(stream.Signature(8))`
        To and from the port.
    """

    flash: stream.Interface
    sum_fits: Signal
    stop: Signal
    memory_state: Signal
    boot_state: Signal
    line_i: stream.Interface
    line_o: stream.Interface
    port_i: stream.Interface
    port_o: stream.Interface

    def __init__(self, config: CoreConfig):
        self.config = config
        byte = stream.Signature(8)
        super().__init__({"flash": In(byte), "sum_fits": In(1), "stop": Out(1),
                          "memory_state": In(2), "boot_state": Out(3),
                          "line_i": In(byte), "line_o": Out(byte), "port_i": Out(byte),
                          "port_o": In(byte)})

    def elaborate(self, platform):
        m = Module()
        external, lanes = not self.config.bank_beats, self.config.lanes
        void = Frame(Command.WRITE.value, 0, bytes(3 + lanes)).to_bytes()
        header, longest = boot_header(self.config), capacity(lanes, external=external)
        left = Signal(range(max(longest + 4, len(void))))  # bytes behind the present one
        flash, into, out = self.flash, self.port_i, self.port_o
        refused, begun = Signal(), Signal()
        own, known = Signal(8), Signal(8)  # bytes of `void` and `header`
        damaged = self.boot_state == BootState.DAMAGED.value
        for target, content in ((own, void), (known, header)):
            with m.Switch(left):
                for index, value in enumerate(content):
                    if value:
                        with m.Case(len(content) - 1 - index):
                            m.d.comb += target.eq(value)
        length = flash.payload
        fits = (length[0] & (length <= longest)) if external else length == longest
        m.d.comb += into.payload.eq(flash.payload)

        def end(state: BootState):
            m.d.sync += self.boot_state.eq(state.value)
            m.next = "PASS"

        def give_up(index: int):
            """Make beat 0 void: ``index`` bytes of that frame have gone out."""
            m.d.sync += [self.boot_state.eq(BootState.DAMAGED.value),
                         left.eq(len(void) - 1 - index)]
            m.next = "VOID"

        def forward():
            m.d.comb += [into.valid.eq(flash.valid), flash.ready.eq(into.ready)]

        with m.FSM() as fsm:
            m.d.comb += [self.stop.eq(damaged | fsm.ongoing("PASS")),
                         self.line_i.ready.eq(1)]
            with m.State("WAIT"):
                m.d.sync += left.eq(len(void) - 1)
                with m.If(self.memory_state == MemoryState.READY.value):
                    m.next = "VOID"
                with m.Elif(self.memory_state != MemoryState.INITIALISING.value):
                    m.next = "PASS"
            with m.State("VOID"):
                m.d.comb += [into.valid.eq(1), into.payload.eq(own)]
                with m.If(into.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.sync += left.eq(REPLY_BYTES - 1)
                        m.next = "REPLY"
            with m.State("REPLY"):
                m.d.comb += out.ready.eq(1)
                with m.If(out.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == REASON):
                        m.d.sync += refused.eq(out.payload[6])
                    with m.If(left == 0):
                        m.next = "SYNC"
                        with m.If(damaged):
                            m.next = "PASS"
                        with m.Elif(~begun):
                            m.d.sync += left.eq(len(header) - 1)
                            m.next = "HEADER"
                        with m.Elif(refused):
                            give_up(0)
            with m.State("HEADER"):
                m.d.comb += flash.ready.eq(1)
                with m.If(flash.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(flash.payload != known):
                        end(BootState.FOREIGN)
                        with m.If(left >= len(header) - len(MAGIC)):
                            end(BootState.BLANK)
                    with m.Elif(left == 0):
                        m.d.sync += begun.eq(1)
                        m.next = "SYNC"
            with m.State("SYNC"):
                with m.If(flash.payload == SYNC):
                    forward()
                    with m.If(into.valid & into.ready):
                        m.next = "LENGTH"
                with m.Elif(flash.valid):
                    m.d.comb += flash.ready.eq(1)
                    m.d.sync += left.eq(3)
                    m.next = "SUM"
                    with m.If(flash.payload != BOOT_END):
                        give_up(0)
            with m.State("LENGTH"):
                with m.If(fits):
                    forward()
                    m.d.sync += left.eq(length + 4 - 1)
                    with m.If(into.valid & into.ready):
                        m.next = "REST"
                with m.Elif(flash.valid):
                    give_up(1)
            with m.State("REST"):
                forward()
                with m.If(into.valid & into.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.d.sync += left.eq(REPLY_BYTES - 1)
                        m.next = "REPLY"
            with m.State("SUM"):
                m.d.comb += flash.ready.eq(1)
                with m.If(flash.valid):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        end(BootState.DONE)
                        with m.If(~self.sum_fits):
                            give_up(0)
            with m.State("PASS"):
                connect(m, flipped(self.line_i), flipped(into))
                connect(m, flipped(out), flipped(self.line_o))
        return m
