"""Reads an SPI flash from one place on."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_MPEG_2
from amaranth.lib.wiring import In, Out

__all__ = ["FLASH_PINS", "SpiFlash"]

WAKE = 0xAB  #: command: release from deep power-down, in which configuration leaves the flash
READ = 0x03  #: command: read from a 24-bit address on, up to 33 or 50 MHz

#: Pins of a flash, from the side of the FPGA.
FLASH_PINS = {"cs_n": Out(1, init=1), "sck": Out(1), "copi": Out(1), "cipo": In(1)}


class SpiFlash(wiring.Component):
    """Bytes of an SPI flash, in order, from a fixed place on.

    After reset come two pauses, each with the wake-up command behind it or in front: the clock runs
    in them too, as some FPGAs lose its first edges. Then the flash is read until ``stop``.

    The flash's clock is half of this one. A byte takes 16 cycles, and waits on ``o``, with the
    clock stopped, until it is taken. The flash has from its clock's fall to the next one for a bit.

    Parameters
    ----------
    offset : int
        Address of the first byte.
    pause : int
        Cycles before and after the wake-up, a power of two; flashes ask for up to 30 us.

    Members
    -------
    pins
        :data:`FLASH_PINS`.
    o : :py:`Out(stream.Signature(8))`
        Bytes.
    stop : :py:`In(1)`
        Deselect the flash, for good.
    sum_fits : :py:`Out(1)`
        The bytes up to the one on ``o`` end with the CRC-32/MPEG-2 of those before, its high byte
        first.
    """

    o: stream.Interface
    stop: Signal
    sum_fits: Signal
    cs_n: Signal
    sck: Signal
    copi: Signal
    cipo: Signal

    def __init__(self, offset: int, pause: int):
        if offset not in range(1 << 24):
            raise ValueError(f"SpiFlash offset must have 24 bits, not {offset!r}")
        if pause < 64 or pause & (pause - 1):
            raise ValueError("SpiFlash pause must be a power of two, and at least 64 cycles, not "
                             f"{pause!r}")
        self.offset, self.pause = offset, pause
        super().__init__({"o": Out(stream.Signature(8)), "stop": In(1), "sum_fits": Out(1),
                          **FLASH_PINS})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sum = total = CRC32_MPEG_2(data_width=1).create()
        # Cycles of a pause, then bits of a command, then of a byte: it wraps to where each begins.
        count, counts = Signal(range(self.pause), init=self.pause - 1), Signal()
        awake, bit = Signal(), Signal()
        commands = Mux(awake, C(READ << 24 | self.offset, 32).bit_select(count[:5], 1),
                       C(WAKE, 8).bit_select(count[:3], 1))
        m.d.comb += [self.copi.eq(commands), total.data.eq(self.cipo), total.valid.eq(bit),
                     self.sum_fits.eq(total.match_detected)]
        with m.If(counts):
            m.d.sync += count.eq(count - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(bit):
            m.d.sync += self.o.payload.eq(Cat(self.cipo, self.o.payload))
        with m.FSM():
            with m.State("PAUSE"):
                m.d.comb += counts.eq(1)
                m.d.sync += self.sck.eq(~self.sck)
                with m.If(count == Mux(awake, 32, 8)):
                    m.d.sync += [self.sck.eq(0), self.cs_n.eq(0)]
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += counts.eq(self.sck)
                m.d.sync += self.sck.eq(~self.sck)
                with m.If(self.sck & (count[:5] == 0)):
                    m.d.sync += [awake.eq(1), self.cs_n.eq(~awake)]
                    m.next = "PAUSE"
                    with m.If(awake):
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += self.sck.eq(~self.sck & ~(self.o.valid & ~self.o.ready))
                with m.If(self.sck):
                    m.d.comb += [bit.eq(1), counts.eq(1)]
                    with m.If(count[:3] == 0):
                        m.d.sync += self.o.valid.eq(1)
                with m.If(self.stop):
                    m.d.sync += [self.cs_n.eq(1), self.o.valid.eq(0)]
                    m.next = "STOP"
            with m.State("STOP"):
                m.d.sync += self.sck.eq(0)
        return m
