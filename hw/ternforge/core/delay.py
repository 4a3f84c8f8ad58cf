"""A delay of many cycles in a small RAM."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DelayLine"]


class DelayLine(wiring.Component):
    """Puts out each word ``cycles`` cycles later, in a ring that is read one place ahead.

    What comes out in the first ``cycles`` cycles is undefined. Parts with small RAMs in their logic
    cells need few of these, where as many registers would be long and wide.

    Parameters
    ----------
    bits : int
        Width of a word.
    cycles : int
        Delay, at least 3.

    Members
    -------
    i : :py:`In(bits)`
    o : :py:`Out(bits)`
    """

    i: Signal
    o: Signal

    def __init__(self, bits: int, cycles: int):
        if cycles < 3:
            raise ValueError(f"DelayLine cycles must be at least 3, not {cycles}")
        self.bits, self.cycles = bits, cycles
        super().__init__({"i": In(bits), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        depth = self.cycles
        m.submodules.ram = ram = memory.Memory(shape=unsigned(self.bits), depth=depth, init=[],
                                               attrs={"no_rw_check": 1})
        read, write = ram.read_port(), ram.write_port()
        place, ahead = Signal(range(depth)), Signal(range(depth), init=1)
        # `ahead` was written depth - 1 cycles ago, and is read a cycle before it is shown.
        m.d.sync += [place.eq(ahead), ahead.eq(Mux(ahead == depth - 1, 0, ahead + 1))]
        m.d.comb += [write.addr.eq(place), write.en.eq(1), write.data.eq(self.i),
                     read.addr.eq(ahead), self.o.eq(read.data)]
        return m
