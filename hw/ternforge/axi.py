"""What goes into a vendor's part: a core behind an AXI4 read port and AXI4-Lite registers."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .config import CoreConfig
from .core.core import Core
from .host.axilite import axi4_lite
from .host.control import Control
from .host.registers import ADDRESS_BITS
from .mem.axi4 import Axi4Config, Axi4Read, axi4_read
from .mem.burst import BurstFetch

__all__ = ["AxiSystem", "AxiTop"]

#: Beats in the core's own queue. The words that are fetched ahead wait in the adapter's.
FETCHED = 16


class AxiSystem(wiring.Component):
    """:class:`Core` with :class:`BurstFetch`, :class:`Axi4Read` and :class:`Control`.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size of the core; its image memory is off the chip.
    axi : :class:`Axi4Config`
        Port of the image memory.
    queue : int
        Places for steps, and as many for results.

    Raises
    ------
    ValueError
        If the image memory is on the chip, or for several streams.

    Members
    -------
    m_axi : :py:`Out(axi4_read(axi))`
        Reads of the image.
    s_axi : :py:`Out(axi4_lite(ADDRESS_BITS))`
        Registers, see :data:`~ternforge.host.registers.REGISTERS`.
    irq : :py:`Out(1)`
        As of :class:`Control`.
    """

    m_axi: Any
    s_axi: Any
    irq: Signal

    def __init__(self, config: CoreConfig, axi: Axi4Config, queue: int = 64):
        if config.bank_beats:
            raise ValueError("AxiSystem config must have its image memory off the chip "
                             f"(bank_beats=0), not {config.bank_beats}")
        self.config, self.axi = config, axi
        self.core = Core(config, BurstFetch(config, FETCHED))
        self.memory = Axi4Read(config, axi)
        self.control = Control(config, axi, queue)
        super().__init__({"m_axi": Out(axi4_read(axi)), "s_axi": Out(axi4_lite(ADDRESS_BITS)),
                          "irq": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory, m.submodules.control = memory, control = self.memory, self.control
        m.submodules.core = core = ResetInserter(control.clear)(self.core)
        connect(m, memory.axi, flipped(self.m_axi))
        connect(m, control.bus, flipped(self.s_axi))
        connect(m, control.tokens, core.tokens)
        connect(m, core.result, control.result)
        connect(m, core.status, control.status)
        connect(m, core.memory.request, memory.memory.request)
        connect(m, memory.memory.data, core.memory.data)
        m.d.comb += [
            memory.memory.stop.eq(core.memory.stop | control.clear),
            core.memory.idle.eq(memory.memory.idle), control.memory_idle.eq(memory.memory.idle),
            memory.base.eq(control.base), control.failed.eq(memory.failed),
            control.response.eq(memory.response), self.irq.eq(control.irq),
            core.peek_address.eq(control.peek_address), control.peek_data.eq(core.peek_data),
        ]
        return m


class AxiTop(wiring.Component):
    """:class:`AxiSystem` with clock and reset by the names of the AXI specification.

    Parameters
    ----------
    system : :class:`AxiSystem`
        All else.

    Members
    -------
    aclk : :py:`In(1)`
        The one clock.
    aresetn : :py:`In(1)`
        Synchronous reset, active low; 1 cycle suffices.

    The others are those of :class:`AxiSystem`.
    """

    aclk: Signal
    aresetn: Signal

    def __init__(self, system: AxiSystem):
        self.system = system
        super().__init__({"aclk": In(1), "aresetn": In(1), **dict(system.signature.members)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain()
        domain.clk = self.aclk  # not one that is assigned from it, a step later in simulation
        m.d.comb += ResetSignal().eq(~self.aresetn)
        m.submodules.system = self.system
        for name, member in self.system.signature.members.items():
            inner, outer = getattr(self.system, name), getattr(self, name)
            if member.is_port:
                m.d.comb += outer.eq(inner)
            else:
                connect(m, inner, flipped(outer))
        return m
