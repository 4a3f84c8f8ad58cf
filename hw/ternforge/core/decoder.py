"""Decoder of one byte of packed weights."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..trits import TRITS_PER_BYTE

__all__ = ["BeatDecoder", "TritDecoder"]


class TritDecoder(wiring.Component):
    """Unpack the five trits of a byte into nonzero and sign bits.

    Combinational, three levels of four-input logic. The code (:mod:`ternforge.trits`) is chosen
    so that this takes 18 four-input tables (16 without masked signs) instead of a hundred. The
    result for the 13 unused bytes is undefined.

    Parameters
    ----------
    masked : bool
        Signs are 0 where the trit is zero. Otherwise they are undefined there.

    Members
    -------
    byte : :py:`In(8)`
        Packed weights.
    nonzero : :py:`Out(5)`
        Bit k is set if trit k is not zero.
    sign : :py:`Out(5)`
        Bit k is set if trit k is minus one. See ``masked`` for zero trits.
    """

    byte: Signal
    nonzero: Signal
    sign: Signal

    def __init__(self, *, masked: bool = True):
        self.masked = masked
        super().__init__({"byte": In(8), "nonzero": Out(5), "sign": Out(5)})

    def elaborate(self, platform):
        m = Module()
        b = self.byte
        signs = Signal(5)

        # The 11 escape says that a pair is (0,0); the other pair's code then stands in b[5:3].
        escape = Signal()
        first = Signal(3)
        first_valid = Signal()
        second = b[3:6]
        second_valid = Signal()
        m.d.comb += [
            escape.eq(b[6:8].all()),
            first.eq(Mux(escape, b[3:6], b[0:3])),
            first_valid.eq(~escape | (b[2] & ~b[0:2].all())),
            second_valid.eq(~(escape & b[2])),
        ]
        for k, (pair, valid) in enumerate([(first, first_valid), (second, second_valid)]):
            one, which = pair[2], pair[1]  # one: only one is nonzero, and `which` says which
            m.d.comb += [
                self.nonzero[2 * k].eq(valid & ~(one & which)),
                self.nonzero[2 * k + 1].eq(valid & ~(one & ~which)),
                signs[2 * k].eq(pair[0]),
                signs[2 * k + 1].eq(Mux(one, pair[0], which)),
            ]

        # Trit 4 is b[7:6], or in an escape b[1:0], or if that is 11 as well b[4:3].
        single = Signal(2)
        m.d.comb += [
            single.eq(Mux(b[0:2].all(), b[3:5], b[0:2])),
            self.nonzero[4].eq(Mux(escape, single.any(), b[6:8].any())),
            signs[4].eq(Mux(escape, single[1], b[7])),
            self.sign.eq(signs & self.nonzero if self.masked else signs),
        ]
        return m


class BeatDecoder(wiring.Component):
    """Unpack a whole beat, once for all lanes that share it. Combinational.

    Parameters
    ----------
    config : CoreConfig
        Beat width.

    Members
    -------
    beat : :py:`In(config.beat_bits)`
        Packed weights.
    pairs : :py:`Out(2 * 5 * config.lanes)`
        Two bits a trit, the first trit lowest: zero (even bit) and sign, which is undefined there.
    """

    beat: Signal
    pairs: Signal

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({"beat": In(config.beat_bits),
                          "pairs": Out(2 * TRITS_PER_BYTE * config.lanes)})

    def elaborate(self, platform):
        m = Module()
        for lane in range(self.config.lanes):
            m.submodules[f"decoder_{lane}"] = decoder = TritDecoder(masked=False)
            m.d.comb += decoder.byte.eq(self.beat.word_select(lane, 8))
            for k in range(TRITS_PER_BYTE):
                m.d.comb += self.pairs.word_select(TRITS_PER_BYTE * lane + k, 2).eq(
                    Cat(~decoder.nonzero[k], decoder.sign[k]))
        return m
