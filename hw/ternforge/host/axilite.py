"""AXI4-Lite slave: reads and writes of a bus, one at a time, for whoever has the registers."""

from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AxiLiteSlave", "axi4_lite"]


def axi4_lite(address_bits: int) -> wiring.Signature:
    """The five channels of AXI4-Lite with 32 bits of data, as their slave sees them."""
    return wiring.Signature({
        "awaddr": In(address_bits), "awprot": In(3), "awvalid": In(1), "awready": Out(1),
        "wdata": In(32), "wstrb": In(4), "wvalid": In(1), "wready": Out(1),
        "bresp": Out(2), "bvalid": Out(1), "bready": In(1),
        "araddr": In(address_bits), "arprot": In(3), "arvalid": In(1), "arready": Out(1),
        "rdata": Out(32), "rresp": Out(2), "rvalid": Out(1), "rready": In(1),
    })


class AxiLiteSlave(wiring.Component):
    """One write and one read under way, independently of each other.

    A write takes effect in the cycle after address and data have both come, in any order, and its
    answer stands one cycle later; likewise a read. A transfer in two cycles is the most. The lowest
    two address bits are ignored.

    Parameters
    ----------
    address_bits : int
        Of both addresses, in bytes.

    Members
    -------
    bus : :py:`Out(axi4_lite(address_bits))`
        To the master.
    write : :py:`Out(1)`
        Strobe: the master writes.
    write_index, write_data, write_bytes : Out
        Number of the register, 32 bits, and which bytes of them are meant.
    write_refused : :py:`In(1)`
        It had no effect; in the cycle of the strobe. The master gets SLVERR.
    read : :py:`Out(1)`
        Strobe: the master reads.
    read_index : Out
        Number of the register.
    read_data : :py:`In(32)`
        What it reads, in the cycle of the strobe.
    read_refused : :py:`In(1)`
        As of a write; the master reads 0.
    """

    bus: Any
    write: Signal
    write_index: Signal
    write_data: Signal
    write_bytes: Signal
    write_refused: Signal
    read: Signal
    read_index: Signal
    read_data: Signal
    read_refused: Signal

    def __init__(self, address_bits: int):
        self.address_bits = address_bits
        super().__init__({
            "bus": Out(axi4_lite(address_bits)),
            "write": Out(1), "write_index": Out(address_bits - 2), "write_data": Out(32),
            "write_bytes": Out(4), "write_refused": In(1),
            "read": Out(1), "read_index": Out(address_bits - 2), "read_data": In(32),
            "read_refused": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.bus

        addressed, filled = Signal(), Signal()  # what has come of a write
        m.d.comb += [
            bus.awready.eq(~addressed), bus.wready.eq(~filled),
            self.write.eq(addressed & filled & ~bus.bvalid),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [addressed.eq(1), self.write_index.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [filled.eq(1), self.write_data.eq(bus.wdata),
                         self.write_bytes.eq(bus.wstrb)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(self.write):
            m.d.sync += [addressed.eq(0), filled.eq(0), bus.bvalid.eq(1),
                         bus.bresp.eq(self.write_refused << 1)]

        # The next read is taken after the answer to this one: what it reads may take that long.
        m.d.comb += bus.arready.eq(~self.read & ~bus.rvalid)
        m.d.sync += self.read.eq(bus.arvalid & bus.arready)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += self.read_index.eq(bus.araddr[2:])
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                bus.rvalid.eq(1), bus.rresp.eq(self.read_refused << 1),
                bus.rdata.eq(Mux(self.read_refused, 0, self.read_data)),
            ]
        return m
