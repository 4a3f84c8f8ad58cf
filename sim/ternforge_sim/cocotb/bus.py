"""Access of the benches to the ports of a unit: values by layout, clock, streams.

Everything is driven at the falling edge of the clock and sampled before the rising one, when all
has settled: no race, whatever the simulator.
"""

from collections.abc import Callable, Iterable
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data
from amaranth.lib.wiring import In
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, with_timeout

from .units import BENCHES, ports

__all__ = ["Unit", "until", "within"]


class Unit:
    """One unit of a bench.

    Parameters
    ----------
    dut
        The top module.
    bench, name : str
        Where :data:`~ternforge_sim.cocotb.units.BENCHES` has it.
    """

    def __init__(self, dut, bench: str, name: str):
        self.component: Any = BENCHES[bench]()[name]
        self.clock: Any = getattr(dut, "clk", None)  # None: only combinational units
        self._ports = {port: (getattr(dut, f"{name}_{port}"), value.shape(), member.flow)
                       for port, (member, value) in ports(self.component).items()}

    def set(self, **values) -> None:
        """Drive inputs; structures and arrays as dictionaries and lists."""
        for port, value in values.items():
            handle, shape, _ = self._ports[port]
            if isinstance(shape, data.Layout):
                handle.value = shape.const(value).as_bits()
            else:
                handle.value = int(value) & ((1 << Shape.cast(shape).width) - 1)

    def get(self, port: str) -> Any:
        """Value of a port: a number, or a constant with fields."""
        handle, shape, _ = self._ports[port]
        raw = int(handle.value)  # one bit is no array
        if isinstance(shape, data.Layout):
            return shape.from_bits(raw)
        if shape.signed and raw >> (shape.width - 1):
            raw -= 1 << shape.width
        return raw

    async def reset(self, dut) -> None:
        """Start the clock with all inputs 0, and leave reset at a falling edge."""
        for handle, _, flow in self._ports.values():
            if flow == In:
                handle.value = 0
        dut.rst.value = 1
        Clock(dut.clk, 10, unit="ns").start()
        for _ in range(3):
            await FallingEdge(dut.clk)
        dut.rst.value = 0

    async def sample(self, *ports: str) -> list:
        """What ``ports`` show at the rising edge to come."""
        await ReadOnly()
        return [self.get(port) for port in ports]

    async def tick(self, *ports: str) -> Any:
        """Wait for the next falling edge; return what ``ports`` showed at the rising edge."""
        values = await self.sample(*ports)
        await FallingEdge(self.clock)
        return values[0] if len(ports) == 1 else values

    async def put(self, stream: str, payloads: Iterable[Any],
                  pause: Callable[[], int] = lambda: 0) -> None:
        """Send ``payloads``, idling ``pause()`` cycles before each."""
        for payload in payloads:
            for _ in range(pause()):
                await self.tick()
            self.set(**{f"{stream}_payload": payload, f"{stream}_valid": 1})
            if f"{stream}_ready" in self._ports:
                while not await self.tick(f"{stream}_ready"):
                    pass
            else:
                await self.tick()
            self.set(**{f"{stream}_valid": 0})

    async def take(self, stream: str, count: int, pause: Callable[[], int] = lambda: 0) -> list:
        """Receive ``count`` payloads; where the stream can wait, stall before each."""
        taken = []
        stalls = f"{stream}_ready" in self._ports
        while len(taken) < count:
            if stalls:
                for _ in range(pause()):
                    await self.tick()
                self.set(**{f"{stream}_ready": 1})
            valid, payload = False, None
            while not valid:
                valid, payload = await self.tick(f"{stream}_valid", f"{stream}_payload")
            taken.append(payload)
            if stalls:
                self.set(**{f"{stream}_ready": 0})
        return taken


async def within(cycles: int, task: Any) -> Any:
    """Result of ``task``, or a failure after ``cycles`` clock cycles."""
    return await with_timeout(task, 10 * cycles, "ns")


async def until(unit: Unit, port: str, cycles: int) -> int:
    """Wait until ``port`` is not 0; cycles that it took, the one that showed it left out."""
    for waited in range(cycles):
        if await unit.tick(port):
            return waited
    raise TimeoutError(f"{port} stays 0 for {cycles} cycles")
