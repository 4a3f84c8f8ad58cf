"""The design of a board whose image memory is SDRAM or DDR3, with its controller and pins."""

from dataclasses import replace
from typing import Any

from amaranth import *
from amaranth.hdl import IOPort
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from ternforge.config import CoreConfig
from ternforge.host.protocol import BAUD
from ternforge.mem.dram import INSIDE, DramMemory
from ternforge.mem.litedram import LiteDram, generate_litedram
from ternforge.system import System
from ternforge_boards.board import Board

__all__ = ["DramSystem", "controller"]


def controller(board: Board, clock_hz: int) -> LiteDram:
    """Controller, with its PHY, of the board's memory; ``clock_hz`` is that of the core.

    Raises
    ------
    UserError
        If LiteDRAM is not installed.
    """
    assert board.memory is not None
    return generate_litedram(replace(board.memory.dram, clock_hz=clock_hz))


class DramSystem(wiring.Component):
    """:class:`~ternforge.system.System` with its image memory in a chip beside the FPGA.

    Its clock is the controller's. With SDR, ``clk`` and ``rst`` are inputs; a DDR3 PHY makes them
    from ``clk_2x``, ``clk_init`` and ``locked``.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size of the core.
    clock_hz : int
        Clock of core and controller.
    dram : :class:`LiteDram`
        The controller, with its PHY; its Verilog stands beside that of this component.
    baud : int
        Symbols per second of the serial line.
    flash_offset : int, optional
        Where in an SPI flash the image stands that the memory is filled with.

    Attributes
    ----------
    extra_ports : dict
        Ports that are driven from both sides, for :func:`~ternforge.verilog.generate`.

    Members
    -------
    rx, tx, busy, fault, flash_*
        As in :class:`~ternforge.system.System`.
    others
        The controller's, by its names: clocks of its PHY, pins of the chip.
    """

    rx: Signal
    tx: Signal
    busy: Signal
    fault: Signal

    def __init__(self, config: CoreConfig, clock_hz: int, dram: LiteDram, *, baud: int = BAUD,
                 flash_offset: int | None = None):
        self.system = System(config, clock_hz, baud=baud, flash_offset=flash_offset)
        self.config, self.dram = config, dram
        ports = [port for port in dram.ports if not port.name.startswith(INSIDE)]
        self.own_clock = any(p.name == "clk" and p.direction == "output" for p in ports)
        pads = {p.name: IOPort(p.width, name=p.name) for p in ports if p.direction == "inout"}
        self.extra_ports = {name: (pad, None) for name, pad in pads.items()}
        flows: dict[str, Any] = {"input": In, "output": Out}
        pins = {p.name: flows[p.direction](p.width) for p in ports
                if p.direction in flows and p.name not in ("clk", "rst")}
        self._through = {name: member for name, member in self.system.signature.members.items()
                         if name not in ("memory", "write", "memory_state")}
        super().__init__({**self._through, **pins})
        self._pins: dict[str, Any] = {**{name: getattr(self, name) for name in pins}, **pads}

    def elaborate(self, platform):
        m = Module()
        pins = dict(self._pins)
        if self.own_clock:
            m.domains.sync = ClockDomain()
            pins |= {"clk": Signal(name="clk"), "rst": Signal(name="rst")}
            m.d.comb += [ClockSignal().eq(pins["clk"]), ResetSignal().eq(pins["rst"])]
        m.submodules.system = system = self.system
        m.submodules.memory = memory = DramMemory(self.config, self.dram, pins)
        connect(m, system.memory, memory.memory)
        connect(m, system.write, memory.write)
        m.d.comb += system.memory_state.eq(memory.memory_state)
        for name, member in self._through.items():
            inside, outside = getattr(system, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        return m
