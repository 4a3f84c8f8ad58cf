"""What goes onto a board: the accelerator behind a serial host port."""

from collections.abc import Sequence
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .accelerator import Accelerator
from .config import CoreConfig
from .core.core import Core
from .host.boot import FlashBoot
from .host.port import HostPort
from .host.protocol import BAUD
from .host.uart import Uart, uart_divisor
from .mem.burst import BurstFetch
from .mem.check import MemoryCheck
from .mem.flash import FLASH_PINS, SpiFlash
from .mem.linear import beat_write, linear_read

__all__ = ["BAUD", "System"]


class System(wiring.Component):
    """:class:`Accelerator`, :class:`HostPort` and :class:`Uart`.

    With ``flash_offset``, :class:`FlashBoot` and :class:`SpiFlash` fill the image memory after
    reset; until they have, requests of the host are dropped.

    Where the image memory is off the chip (``config.bank_beats == 0``), a :class:`Core` with
    :class:`BurstFetch` takes the accelerator's place, and :class:`MemoryCheck` stands between it
    and the memory.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size of core and memory.
    clock_hz : int
        Frequency of the clock, from which the baud rate is divided.
    baud : int
        Symbols per second of the serial line.
    image : sequence of int
        Beats that a memory on the chip starts with, where the device can initialise it.
    baud : int
        Symbols per second of the serial line.

    flash_offset : int, optional
        Where in an SPI flash the frames stand that fill the memory.

    Raises
    ------
    ValueError
        For an image of a memory off the chip, and for several cores or streams: the host port
        speaks of one (docs/host-protocol.md).

    Members
    -------
    rx : :py:`In(1)`
        Serial line from the host, 8N1; synchronised here.
    tx : :py:`Out(1)`
        Serial line to the host.
    busy : :py:`Out(1)`
        A token is under way.
    fault : :py:`Out(1)`
        The last token failed: no image, or not in its vocabulary.

    With a flash also its pins, :data:`~ternforge.mem.flash.FLASH_PINS` with ``flash_`` in front.

    With an image memory off the chip also

    memory : :py:`Out(linear_read(config))`
        Reads.
    write : :py:`Out(stream.Signature(beat_write(config.beat_bits)))`
        Writes, those of a frame one after the other, none while beats are read. A read that
        is requested after a write was taken must see it.
    memory_state : :py:`In(2)`
        A :class:`~ternforge.host.protocol.MemoryState`.
    """

    rx: Signal
    tx: Signal
    busy: Signal
    fault: Signal
    memory: Any
    write: stream.Interface
    memory_state: Signal

    def __init__(self, config: CoreConfig, clock_hz: int, image: Sequence[int] = (), *,
                 baud: int = BAUD, flash_offset: int | None = None):
        if config.cores > 1 or config.streams > 1:
            raise ValueError("System config must have one core and one stream, as the host port "
                             f"has, not {config.cores} and {config.streams}")
        self.config, self.clock_hz = config, clock_hz
        self.uart = Uart(uart_divisor(clock_hz, baud))
        members: dict[str, Any] = {"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1),
                                   "fault": Out(1)}
        self.accelerator: Accelerator | Core
        if config.bank_beats:
            self.accelerator = Accelerator(config, image)
        else:
            if len(image):
                raise ValueError("System image must be empty with an image memory off the chip, "
                                 f"not of {len(image)} beats")
            self.accelerator = Core(config, BurstFetch(config))
            members |= {"memory": Out(linear_read(config)), "memory_state": In(2),
                        "write": Out(stream.Signature(beat_write(config.beat_bits)))}
        self.flash: SpiFlash | None = None
        if flash_offset is not None:
            # flashes want up to 30 us after they were woken
            pause = 1 << round(clock_hz * 30e-6).bit_length()
            self.flash = SpiFlash(flash_offset, max(64, pause))
            members |= {f"flash_{name}": member for name, member in FLASH_PINS.items()}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        m.submodules.port = port = HostPort(self.config, boots=self.flash is not None)
        m.submodules.uart = uart = self.uart
        if self.flash is None:
            connect(m, uart.o, port.i)
            connect(m, port.o, uart.i)
        else:
            self._boot(m, uart, port, self.flash)
        connect(m, port.tokens, accelerator.tokens)
        connect(m, accelerator.result, port.result)
        connect(m, accelerator.status, port.status)
        m.d.comb += [
            uart.rx.eq(self.rx), self.tx.eq(uart.tx),
            accelerator.peek_address.eq(port.peek_address),
            port.peek_data.eq(accelerator.peek_data),
        ]
        if isinstance(accelerator, Accelerator):
            m.d.comb += accelerator.write.eq(port.write)
        else:
            m.submodules.check = check = MemoryCheck(self.config)
            core: Any = accelerator
            connect(m, core.memory, check.core)
            connect(m, check.memory, flipped(self.memory))
            connect(m, port.check, check.i)
            connect(m, check.o, port.sum)
            connect(m, port.write, flipped(self.write))
            m.d.comb += [check.busy.eq(accelerator.status.busy),
                         port.memory_state.eq(self.memory_state)]
        m.d.comb += [self.busy.eq(accelerator.status.busy),
                     self.fault.eq(accelerator.status.fault)]
        return m

    def _boot(self, m: Module, uart: Uart, port: HostPort, flash: SpiFlash) -> None:
        """The flash, and what plays the host to the port before the serial line does."""
        m.submodules.flash = flash
        m.submodules.boot = boot = FlashBoot(self.config)
        connect(m, flash.o, boot.flash)
        connect(m, uart.o, boot.line_i)
        connect(m, boot.line_o, uart.i)
        connect(m, boot.port_i, port.i)
        connect(m, port.o, boot.port_o)
        m.d.comb += [
            boot.sum_fits.eq(flash.sum_fits), flash.stop.eq(boot.stop),
            port.boot_state.eq(boot.boot_state),
        ]
        for name, member in FLASH_PINS.items():
            pin, inside = getattr(self, f"flash_{name}"), getattr(flash, name)
            m.d.comb += pin.eq(inside) if member.flow == Out else inside.eq(pin)
        if not self.config.bank_beats:
            m.d.comb += boot.memory_state.eq(self.memory_state)
