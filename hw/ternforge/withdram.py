"""A core, or a whole system, with its image memory in SDRAM or DDR3."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from .config import CoreConfig
from .core.core import Core
from .mem.burst import BurstFetch
from .mem.dram import DramMemory
from .mem.litedram import LiteDram
from .system import System

__all__ = ["WithDram", "dram_accelerator"]


class WithDram(wiring.Component):
    """What has the members of a memory off the chip, and :class:`DramMemory` behind these.

    Parameters
    ----------
    inner : :class:`Core` or :class:`System`
        Of a configuration with ``bank_beats=0``.
    dram : :class:`LiteDram`
        A controller without PHY, whose DFI becomes members: to simulate.

    Members
    -------
    memory_state : :py:`Out(2)`
        As that of :class:`DramMemory`; so are ``dfi_*`` and ``level``.
    others
        Those of ``inner``, but for its memory's.
    """

    memory_state: Signal

    def __init__(self, inner: Core | System, dram: LiteDram):
        self.inner, self.dram = inner, dram
        self.image_memory = DramMemory(inner.config, dram)
        ours = {"memory", "write", "memory_state"}
        self._inner = {name: member for name, member in inner.signature.members.items()
                       if name not in ours}
        self._memory = {name: member for name, member in
                        self.image_memory.signature.members.items()
                        if name not in {"memory", "write"}}
        super().__init__({**self._inner, **self._memory})

    def elaborate(self, platform):
        m = Module()
        inner: Any = self.inner
        m.submodules.inner = inner
        m.submodules.image_memory = memory = self.image_memory
        connect(m, inner.memory, memory.memory)
        if isinstance(inner, System):
            connect(m, inner.write, memory.write)
            m.d.comb += inner.memory_state.eq(memory.memory_state)
        for part, members in ((inner, self._inner), (memory, self._memory)):
            for name, member in members.items():
                inside, outside = getattr(part, name), getattr(self, name)
                if member.is_signature:
                    connect(m, inside, flipped(outside))
                elif member.flow == wiring.In:
                    m.d.comb += inside.eq(outside)
                else:
                    m.d.comb += outside.eq(inside)
        return m


def dram_accelerator(config: CoreConfig, dram: LiteDram) -> WithDram:
    """The core with this memory, as :func:`~ternforge.accelerator.accelerator` has it without."""
    return WithDram(Core(config, BurstFetch(config), activity=True), dram)
