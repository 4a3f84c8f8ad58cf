"""A core with the side of its image memory: what is simulated, and what boards build."""

from collections.abc import Sequence
from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, connect, flipped

from .config import CoreConfig
from .core.core import Core
from .mem.burst import BurstFetch
from .mem.fetch import Fetch
from .mem.onchip import OnChipMemory, memory_write

__all__ = ["Accelerator", "accelerator"]


class Accelerator(wiring.Component):
    """:class:`Core` and :class:`OnChipMemory`.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Size of core and memory.
    image : sequence of int
        Beats that the memory starts with, where the device can initialise it.
    activity : bool
        As in :class:`Core`.

    Members
    -------
    tokens, result, peek_address, peek_data, status, trace
        As in :class:`Core`.
    write : :py:`In(memory_write(config.beat_bits))`
        Writes the image memory, one beat per cycle; only while no token is under way.
    """

    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Signal
    write: data.View
    status: Any
    trace: Any

    def __init__(self, config: CoreConfig, image: Sequence[int] = (), *, activity: bool = False):
        self.config = config
        self.memory = OnChipMemory(config, image)
        self.core = Core(config, Fetch(config, self.memory.latency), activity=activity)
        inherited = {name: member for name, member in self.core.signature.members.items()
                     if not name.startswith("read_")}
        super().__init__({**inherited, "write": In(memory_write(config.beat_bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = self.core
        m.submodules.memory = self.memory
        m.d.comb += [
            self.memory.read_address.eq(self.core.read_address),
            self.core.read_data.eq(self.memory.read_data),
            self.memory.write.eq(self.write),
            self.core.peek_address.eq(self.peek_address),
            self.peek_data.eq(self.core.peek_data),
        ]
        connect(m, flipped(self.tokens), self.core.tokens)
        connect(m, self.core.result, flipped(self.result))
        connect(m, self.core.status, flipped(self.status))
        connect(m, self.core.trace, flipped(self.trace))
        return m


def accelerator(config: CoreConfig) -> Accelerator | Core:
    """The core for the image memory of ``config``, empty where it is on the chip; to simulate.

    Off the chip the core itself has the port :func:`~ternforge.mem.linear.linear_read`, named
    ``memory``, instead of ``write``; nothing else differs.
    """
    if config.bank_beats:
        return Accelerator(config, activity=True)
    return Core(config, BurstFetch(config), activity=True)
