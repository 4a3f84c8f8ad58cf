"""A host's serial line to a simulated netlist."""

from collections import deque

from ternforge_firmware.transport import Transport

from .simulator import GateSimulator

__all__ = ["GateLine"]

#: Looks at the line in each bit.
LOOKS = 6


class GateLine(Transport):
    """Serial line on the pins ``uart_rx`` and ``uart_tx``; time passes only while the host waits.

    Parameters
    ----------
    gates : GateSimulator
        A board's design.
    divisor : int
        Clock cycles of a bit.
    clock_hz : float
        Seconds of a timeout are seconds of this clock.
    """

    name = "the simulated netlist"

    def __init__(self, gates: GateSimulator, divisor: int, clock_hz: float):
        self.gates, self.divisor, self.clock_hz = gates, divisor, clock_hz
        self._step = max(1, divisor // LOOKS)
        self._rx, self._tx = (gates.netlist.names[name] for name in ("uart_rx", "uart_tx"))
        self._to_send: deque[int] = deque()  # bits
        self._next_bit = 0  # cycle
        self._bit, self._look, self._byte = -1, 0, 0  # bits seen; cycle of the next look

    def write(self, content: bytes) -> None:
        for byte in content:
            self._to_send.extend((0, *(byte >> k & 1 for k in range(8)), 1))

    def read(self, timeout: float) -> bytes:
        quiet, patience = 0, round(timeout * self.clock_hz)
        while quiet < patience:
            if (byte := self._advance()) is not None:
                return bytes([byte])
            quiet = 0 if self._to_send or self._bit >= 0 else quiet + self._step
        return b""

    def close(self) -> None:
        """Nothing to let go of."""

    def _advance(self) -> int | None:
        """A few cycles; the byte that they completed."""
        gates = self.gates
        if gates.cycle >= self._next_bit and self._to_send:
            gates.set(self._rx, bool(self._to_send.popleft()))
            self._next_bit = (self._next_bit if gates.cycle < self._next_bit + self.divisor
                              else gates.cycle) + self.divisor
        gates.run(min(self._step, max(1, self._next_bit - gates.cycle)) if self._to_send
                  else self._step)
        level = gates.value(self._tx)
        if self._bit < 0:
            if not level:  # a start bit, half a step ago
                self._bit = 0
                self._look, self._byte = gates.cycle + self.divisor // 2, 0
            return None
        if gates.cycle < self._look:
            return None
        self._look += self.divisor
        self._bit += 1
        if 2 <= self._bit <= 9:
            self._byte |= level << self._bit - 2
        if self._bit < 10:
            return None
        self._bit = -1
        return self._byte if level else None
