"""What goes onto a board: the accelerator behind a serial host port."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from .accelerator import Accelerator
from .config import CoreConfig
from .host.port import HostPort
from .host.uart import Uart, uart_divisor

__all__ = ["BAUD", "System"]

#: Symbols per second of the serial port, on every board.
BAUD = 1_000_000


class System(wiring.Component):
    """:class:`Accelerator`, :class:`HostPort` and :class:`Uart`.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size of core and memory.
    clock_hz : int
        Frequency of the clock, from which the baud rate is divided.
    image : sequence of int
        Beats that the memory starts with, where the device can initialise it.

    Raises
    ------
    ValueError
        For several cores or streams: the host port speaks of one (docs/host-protocol.md).

    Members
    -------
    rx : :py:`In(1)`
        Serial line from the host, 8N1 at :data:`BAUD`; synchronised here.
    tx : :py:`Out(1)`
        Serial line to the host.
    busy : :py:`Out(1)`
        A token is under way.
    fault : :py:`Out(1)`
        The last token failed: no image, or not in its vocabulary.
    """

    rx: Signal
    tx: Signal
    busy: Signal
    fault: Signal

    def __init__(self, config: CoreConfig, clock_hz: int, image: Sequence[int] = ()):
        if config.cores > 1 or config.streams > 1:
            raise ValueError("System config must have one core and one stream, as the host port "
                             f"has, not {config.cores} and {config.streams}")
        self.config, self.clock_hz = config, clock_hz
        self.accelerator = Accelerator(config, image)
        self.uart = Uart(uart_divisor(clock_hz, BAUD))
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1),
                          "fault": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.accelerator = accelerator = self.accelerator
        m.submodules.port = port = HostPort(self.config)
        m.submodules.uart = uart = self.uart
        connect(m, uart.o, port.i)
        connect(m, port.o, uart.i)
        connect(m, port.tokens, accelerator.tokens)
        connect(m, accelerator.result, port.result)
        connect(m, accelerator.status, port.status)
        m.d.comb += [
            uart.rx.eq(self.rx), self.tx.eq(uart.tx),
            accelerator.peek_address.eq(port.peek_address),
            port.peek_data.eq(accelerator.peek_data),
            accelerator.write.eq(port.write),
            self.busy.eq(accelerator.status.busy), self.fault.eq(accelerator.status.fault),
        ]
        return m
