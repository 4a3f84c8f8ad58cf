"""Asynchronous serial line, 8 data bits, no parity, 1 stop bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["Uart", "UartReceiver", "UartTransmitter", "uart_divisor"]


def uart_divisor(clock_hz: float, baud: float) -> int:
    """Clock cycles of one bit, rounded.

    Raises
    ------
    ValueError
        If a bit has less than 4 cycles, or rounding makes it more than 2 % too long or short.
    """
    divisor = round(clock_hz / baud)
    if divisor < 4:
        raise ValueError(f"baud must be at most a quarter of the clock of {clock_hz:g} Hz, "
                         f"not {baud:g}")
    if abs(divisor * baud / clock_hz - 1) > 0.02:
        raise ValueError(f"baud must be within 2 % of a fraction of the clock of {clock_hz:g} Hz "
                         f"such as {clock_hz / divisor:.0f}, not {baud:g}")
    return divisor


def _check_divisor(unit: str, divisor: int) -> None:
    if not isinstance(divisor, int) or isinstance(divisor, bool):
        raise TypeError(f"{unit} divisor must be an integer, not {divisor!r}")
    if divisor < 4:
        raise ValueError(f"{unit} divisor must be at least 4, not {divisor!r}")


class UartReceiver(wiring.Component):
    """Bits to bytes.

    Each bit is sampled once, in its middle. A byte stands on ``o`` in the middle of its stop bit. A
    start bit shorter than half a bit is ignored; a byte without a stop bit is dropped, and the
    line has to go high before the next one. There is no buffer: a byte whose start bit
    comes before the last byte was taken is lost.

    Parameters
    ----------
    divisor : int
        Clock cycles of one bit, at least 4.

    Members
    -------
    rx : :py:`In(1)`
        The pin, in any clock domain; high when idle.
    o : :py:`Out(stream.Signature(8))`
        Received bytes.
    """

    rx: Signal
    o: stream.Interface

    def __init__(self, divisor: int):
        _check_divisor("UartReceiver", divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.rx, line, init=1)

        count = Signal(range(self.divisor))
        sample = Signal()
        shift = Signal(9)  # the byte comes in from the top, behind a mark
        m.d.comb += [sample.eq(count == 0), self.o.payload.eq(shift[1:])]
        m.d.sync += count.eq(Mux(sample, self.divisor - 1, count - 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += count.eq(self.divisor // 2 - 1)
                with m.If(~line & ~self.o.valid):
                    m.next = "START"
            with m.State("START"):
                with m.If(sample):
                    m.d.sync += shift.eq(1 << 8)
                    m.next = "BITS"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("BITS"):
                with m.If(sample):
                    with m.If(~shift[0]):
                        m.d.sync += shift.eq(Cat(shift[1:], line))
                    with m.Else():
                        m.d.sync += self.o.valid.eq(line)
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to bits.

    One byte in ``10 * divisor`` cycles, without a pause between bytes.

    Parameters
    ----------
    divisor : int
        Clock cycles of one bit, at least 4.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes to send.
    tx : :py:`Out(1)`
        The pin; high when idle.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor: int):
        _check_divisor("UartTransmitter", divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(self.divisor))
        shift = Signal(10, init=1)  # start, data and stop bit; 1 is left in the end
        last = Signal()
        free = Signal(init=1)  # ``last & (count == 0)``, known a cycle ahead
        m.d.comb += [
            last.eq(shift[1:] == 0),
            self.i.ready.eq(free),
            self.tx.eq(shift[0]),
        ]
        with m.If(count != 0):
            m.d.sync += [count.eq(count - 1), free.eq(last & (count == 1))]
        with m.Elif(~last):
            m.d.sync += [shift.eq(shift >> 1), count.eq(self.divisor - 1)]
        with m.Elif(self.i.valid):
            m.d.sync += [shift.eq(Cat(C(0, 1), self.i.payload, C(1, 1))),
                         count.eq(self.divisor - 1), free.eq(0)]
        return m


class Uart(wiring.Component):
    """Serial line in both directions.

    Parameters
    ----------
    divisor : int
        Clock cycles of one bit, at least 4; see :func:`uart_divisor`.

    Members
    -------
    rx : :py:`In(1)`
        Pin that the host sends to.
    tx : :py:`Out(1)`
        Pin that the host listens to.
    i : :py:`In(stream.Signature(8))`
        Bytes to send, one in ``10 * divisor`` cycles.
    o : :py:`Out(stream.Signature(8))`
        Received bytes. Lost if not taken before the next one starts.
    """

    rx: Signal
    tx: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, divisor: int):
        _check_divisor("Uart", divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1),
                          "i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        wiring.connect(m, receiver.o, wiring.flipped(self.o))
        return m
