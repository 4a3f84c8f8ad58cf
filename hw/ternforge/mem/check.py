"""Sums up what stands in an image memory off the chip, through the port of the core."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from .linear import linear_read, read_request

__all__ = ["MemoryCheck"]


class MemoryCheck(wiring.Component):
    """CRC-32 of neighbouring beats, as :func:`zlib.crc32` gives it of their bytes.

    Stands between core and memory, and takes the port while no token is under way. One byte per
    cycle as long as the memory has beats: about ``lanes * beats`` cycles after the latency of the
    memory. No beats have the sum 0.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width.

    Members
    -------
    i : :py:`In(stream.Signature(read_request()))`
        What to sum up; taken together with its sum. If ``valid`` falls before, the sum is given up.
    o : :py:`Out(stream.Signature(32))`
        The sum.
    busy : :py:`In(1)`
        A token is under way. None may begin while ``i`` is valid, or before ``memory.idle``.
    core : :py:`In(linear_read(config))`
        From the core.
    memory : :py:`Out(linear_read(config))`
        To the memory.
    """

    i: stream.Interface
    o: stream.Interface
    busy: Signal
    core: Any
    memory: Any

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(read_request())), "o": Out(stream.Signature(32)),
            "busy": In(1), "core": In(linear_read(config)), "memory": Out(linear_read(config)),
        })

    def elaborate(self, platform):
        m = Module()
        core, memory, lanes = self.core, self.memory, self.config.lanes
        clear, ours = Signal(), Signal()
        crc = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.crc = ResetInserter(clear)(crc)
        beat = Signal(self.config.beat_bits, reset_less=True)
        count = Signal(range(lanes))  # bytes of `beat` behind the one that is summed up
        address, left = Signal(24, reset_less=True), Signal(24)  # beats that have not come
        ready, taken, end, stop = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            memory.request.valid.eq(core.request.valid & ~ours),
            memory.request.payload.eq(Mux(ours, Cat(address, left),
                                               core.request.payload)),
            core.request.ready.eq(memory.request.ready & ~ours),
            memory.data.ready.eq(Mux(ours, ready, core.data.ready)),
            core.data.valid.eq(memory.data.valid & ~ours),
            core.data.payload.eq(memory.data.payload), self.i.ready.eq(self.o.valid & self.o.ready),
            memory.stop.eq(Mux(ours, stop, core.stop)), core.idle.eq(memory.idle),
            taken.eq(memory.data.valid & ready & ~stop), end.eq(count == 0),
            crc.data.eq(beat[:8]), self.o.payload.eq(crc.crc),
        ]
        m.d.sync += [beat.eq(beat >> 8), count.eq(count - 1)]
        with m.If(taken):
            m.d.sync += [beat.eq(memory.data.payload), count.eq(lanes - 1), left.eq(left - 1)]

        with m.FSM() as fsm:
            def end_if_withdrawn():
                with m.If(~self.i.valid):
                    m.next = "FLUSH"

            m.d.comb += ours.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                m.d.comb += clear.eq(1)
                m.d.sync += [address.eq(self.i.p.address), left.eq(self.i.p.beats)]
                with m.If(self.i.valid & ~self.busy & ~core.stop & ~core.request.valid
                          & memory.idle):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += memory.request.valid.eq(left.any())
                with m.If(~left.any()):
                    m.next = "SUM"
                with m.Elif(memory.request.ready):
                    m.next = "BEAT"
                    end_if_withdrawn()
            with m.State("BEAT"):
                m.d.comb += ready.eq(1)
                with m.If(taken):
                    m.next = "BYTES"
                end_if_withdrawn()
            with m.State("BYTES"):
                m.d.comb += [crc.valid.eq(1), ready.eq(end & left.any())]
                with m.If(end & ~taken):
                    m.next = "BEAT"
                    with m.If(~left.any()):
                        m.next = "SUM"
                end_if_withdrawn()
            with m.State("SUM"):
                m.d.comb += self.o.valid.eq(self.i.valid)
                with m.If(self.o.ready | ~self.i.valid):
                    m.next = "IDLE"
            with m.State("FLUSH"):
                m.d.comb += [stop.eq(1), ready.eq(1)]
                with m.If(memory.idle):
                    m.next = "IDLE"
        return m
