"""A core's image memory in SDRAM or DDR3."""

from collections.abc import Mapping
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ..config import CoreConfig
from .dram_init import DramInit, read_levels
from .linear import beat_write, linear_read
from .litedram import LiteDram
from .native import NativeAdapter

__all__ = ["INSIDE", "DramMemory"]

#: Ports of the controller that are wired inside.
INSIDE = ("init_", "level_", "port0_", "port1_")


class DramMemory(wiring.Component):
    """:class:`DramInit`, :class:`NativeAdapter` and the controller, an instance of ``litedram``.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and size of the image memory.
    dram : :class:`LiteDram`
        The controller.
    pins : mapping of str to value, optional
        The controller's other ports, by its names, but for ``clk`` and ``rst`` where these are
        inputs. Without it, those of the DFI become members.

    Members
    -------
    memory : :py:`In(linear_read(config))`
        Reads.
    write : :py:`In(stream.Signature(beat_write(config.beat_bits)))`
        Writes.
    memory_state : :py:`Out(2)`
        A :class:`~ternforge.host.protocol.MemoryState`.

    Without a PHY also ``dfi_*`` and, with DDR3, ``level``.
    """

    memory: Any
    write: stream.Interface
    memory_state: Signal
    level: Any

    def __init__(self, config: CoreConfig, dram: LiteDram,
                 pins: Mapping[str, Any] | None = None):
        if dram.phy and pins is None:
            raise ValueError("DramMemory pins must be given with a controller that has a PHY")
        self.config, self.dram, self.pins = config, dram, pins
        self.groups = dram.config.groups if dram.config.kind == "ddr3" else 0
        members: dict[str, Any] = {}
        if pins is None:
            members |= {port.name: (In if port.direction == "input" else Out)(port.width)
                        for port in dram.ports if port.name.startswith("dfi_")}
            if self.groups:
                members["level"] = Out(read_levels(self.groups))
        super().__init__({"memory": In(linear_read(config)), "memory_state": Out(2),
                          "write": In(stream.Signature(beat_write(config.beat_bits))), **members})

    def elaborate(self, platform):
        m = Module()
        dram = self.dram
        m.submodules.init = init = DramInit(
            self.config, dram.init, groups=self.groups,
            address_bits=max(dram.row_bits, dram.column_bits), bank_bits=dram.bank_bits)
        m.submodules.adapter = adapter = NativeAdapter(
            self.config, address_bits=dram.address_bits, word_bits=dram.config.word_bits,
            segment_words=dram.segment_words)
        connect(m, flipped(self.memory), init.memory)
        connect(m, flipped(self.write), init.write)
        connect(m, init.adapter, adapter.memory)
        connect(m, init.adapter_write, adapter.write)
        m.d.comb += self.memory_state.eq(init.memory_state)

        control = init.control
        ports: dict[str, Any] = {f"i_init_{name}": getattr(control, name)
                                 for name in control.signature.members}
        for index in range(2):
            port = getattr(adapter, f"port{index}")
            name = f"port{index}"
            ports |= {
                f"i_{name}_cmd_valid": port.cmd.valid, f"o_{name}_cmd_ready": port.cmd.ready,
                f"i_{name}_cmd_addr": port.cmd.p.address, f"i_{name}_cmd_we": port.cmd.p.we,
                f"i_{name}_wdata_valid": port.wdata.valid,
                f"o_{name}_wdata_ready": port.wdata.ready,
                f"i_{name}_wdata_data": port.wdata.p.data,
                f"i_{name}_wdata_we": port.wdata.p.enable,
                f"o_{name}_rdata_valid": port.rdata.valid,
                f"o_{name}_rdata_data": port.rdata.payload,
            }
        if self.groups and self.pins is not None:
            for name, member in init.level.signature.members.items():
                direction = "i" if member.flow == Out else "o"
                ports[f"{direction}_level_{name}"] = getattr(init.level, name)
        elif self.groups:
            connect(m, init.level, flipped(self.level))
        for port in dram.ports:
            letter = {"input": "i", "output": "o", "inout": "io"}[port.direction]
            if port.name in ("clk", "rst") and port.direction == "input":
                ports[f"i_{port.name}"] = (ClockSignal() if port.name == "clk"
                                           else ResetSignal(allow_reset_less=True))
            elif not port.name.startswith(INSIDE):
                ports[f"{letter}_{port.name}"] = (getattr(self, port.name) if self.pins is None
                                                  else self.pins[port.name])
        m.submodules.controller = Instance("litedram", **ports)
        return m
