"""A stage between two streams that no combinational path crosses."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

__all__ = ["RegisterSlice", "through_slice"]


class RegisterSlice(wiring.Component):
    """Registers payload, valid and ready of a stream.

    One payload per cycle, one cycle late. Two places are filled and emptied in turn: ``ready`` of
    ``o`` chooses between them, and enables none of their many registers.

    Parameters
    ----------
    width : int
        Bits of a payload.

    Members
    -------
    clear : :py:`In(1)`
        Drop what is held; a payload that comes at the same time is dropped, too.
    i, o : stream.Signature(width)
        Payloads in order.
    """

    clear: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, width: int):
        self.width = width
        super().__init__({"clear": In(1), "i": In(stream.Signature(width)),
                          "o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()
        places = [Signal(self.width, name=f"place_{k}", reset_less=True) for k in range(2)]
        full = Signal(2)
        first, end = Signal(), Signal()  # the place to empty next, and the one to fill next
        filled, emptied = Signal(2), Signal(2)
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(end, 1)), self.o.valid.eq(full.bit_select(first, 1)),
            self.o.payload.eq(Mux(first, places[1], places[0])),
            filled.eq((self.i.valid & self.i.ready) << end),
            emptied.eq((self.o.valid & self.o.ready) << first),
        ]
        for k, place in enumerate(places):
            with m.If(~full[k]):
                m.d.sync += place.eq(self.i.payload)
        m.d.sync += [full.eq(full & ~emptied | filled), first.eq(first ^ emptied.any()),
                     end.eq(end ^ filled.any())]
        with m.If(self.clear):
            m.d.sync += [full.eq(0), first.eq(0), end.eq(0)]
        return m


def through_slice(m: Module, o: stream.Interface, clear: Value) -> stream.Interface:
    """What to drive in place of ``o``, an output of the component: a slice stands between."""
    m.submodules.slice = between = RegisterSlice(len(Value.cast(o.payload)))
    m.d.comb += between.clear.eq(clear)
    connect(m, between.o, flipped(o))
    return between.i
