"""The recurrent state RAM."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..numerics import STATE_BITS
from .vector_ram import state_write

__all__ = ["StateRam"]


class StateRam(wiring.Component):
    """``state_depth`` states of 16 bits; one read and one write per cycle.

    Read data stands ``config.operand_latency`` cycles after the address. There is no KV cache: this
    is all that a sequence carries from token to token (spec, section 7).

    Parameters
    ----------
    config : :class:`CoreConfig`
        Depth.

    Members
    -------
    read_address : :py:`In(config.state_address_bits)`
        State address.
    read_data : :py:`Out(signed(16))`
        State, ``config.operand_latency`` cycles later.
    write : :py:`In(state_write(config))`
        Write port.
    """

    read_address: Signal
    read_data: Signal
    write: data.View

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "read_address": In(config.state_address_bits),
            "read_data": Out(signed(STATE_BITS)), "write": In(state_write(config)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=signed(STATE_BITS), init=[],
                                               depth=self.config.state_depth,
                                               attrs={"no_rw_check": 1})
        read, write = ram.read_port(), ram.write_port()
        state = Signal(signed(STATE_BITS), reset_less=True)
        domain = m.d.sync if self.config.operand_latency > 1 else m.d.comb
        domain += state.eq(read.data)
        m.d.comb += [
            self.read_data.eq(state),
            read.addr.eq(self.read_address),
            write.addr.eq(self.write.address), write.data.eq(self.write.data),
            write.en.eq(self.write.enable),
        ]
        return m
