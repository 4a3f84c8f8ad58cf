"""The recurrent state RAM."""

from typing import Any

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..numerics import STATE_BITS
from .several import several
from .vector_ram import state_write

__all__ = ["StateRam"]


class StateRam(wiring.Component):
    """``state_depth`` states of 16 bits; one read and one write per cycle and core.

    Read data stands ``config.operand_latency`` cycles after the address. There is no KV cache: this
    is all that a sequence carries from token to token (spec, section 7).

    Parameters
    ----------
    config : :class:`CoreConfig`
        Depth.
    depth : int
        Instead of its ``state_depth``; addresses beyond it count from 0 again.

    Members
    -------
    read_address : :py:`In(config.state_address_bits)`
        State address.
    read_data : :py:`Out(several(signed(16), config.cores))`
        State, ``config.operand_latency`` cycles later; with several cores it and its neighbours.
    write : :py:`In(state_write(config, cores=config.cores))`
        Write port. With several cores, addresses are multiples of their number.
    """

    read_address: Signal
    read_data: Any  # signed(16), or an array of them
    write: data.View

    def __init__(self, config: CoreConfig, depth: int = 0):
        self.config, self.depth = config, depth or config.state_depth
        super().__init__({
            "read_address": In(config.state_address_bits),
            "read_data": Out(several(signed(STATE_BITS), config.cores)),
            "write": In(state_write(config, cores=config.cores)),
        })

    def elaborate(self, platform):
        m = Module()
        cores = self.config.cores
        skipped = (cores - 1).bit_length()
        shape = signed(STATE_BITS) if cores == 1 else unsigned(STATE_BITS * cores)
        m.submodules.ram = ram = memory.Memory(shape=shape, init=[],
                                               depth=self.depth // cores,
                                               attrs={"no_rw_check": 1})
        read, write = ram.read_port(), ram.write_port()
        state = Signal(shape, reset_less=True)
        domain = m.d.sync if self.config.operand_latency > 1 else m.d.comb
        domain += state.eq(read.data)
        m.d.comb += [
            self.read_data.eq(state),
            read.addr.eq(self.read_address[skipped:]),
            write.addr.eq(self.write.address[skipped:]), write.data.eq(self.write.data),
            write.en.eq(self.write.enable),
        ]
        return m
