"""Ternary lanes: one beat of packed weights times the stationary codes, summed."""

from collections.abc import Iterator

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.core.decoder import TritDecoder
from ternforge.trits import TRITS_PER_BYTE

__all__ = ["BEHAVIOURAL", "DotProduct"]

#: The family of a simulator that has dot products: instead of the lanes there is an instance of the
#: module ``ternforge_dot_product``, with the same sum in the same cycle.
BEHAVIOURAL = "behavioural"


class DotProduct(wiring.Component):
    """Sum of ``5 * row_lanes`` products of a packed ternary weight and an int8 code.

    What all kinds of lanes have in common: ports, decoders, the tags' way. A kind
    (:mod:`ternforge.lanes`) chooses and adds the terms. The sum is exact for codes from -127 to
    127. One beat per cycle; a result follows its beat after ``latency`` cycles; never stalls.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        ``lanes``, ``cores``, ``streams`` and ``tree_levels`` count.
    packed : bool
        Weights are five to a byte. Otherwise they are pairs of bits (zero, sign; the former in the
        even bit), as :class:`~ternforge.core.decoder.BeatDecoder` makes them once for all streams.

    Attributes
    ----------
    latency : int
        Cycles from a beat on ``i`` to its sum on ``o``.

    Members
    -------
    i : :py:`In(stream.Signature(DotProduct.beat_layout(config), always_ready=True))`
        A beat of weights (byte 0 in bits 7..0, its trit 0 belongs to code 0) and its tag.
    codes : :py:`In(data.ArrayLayout(signed(8), config.tile))`
        The stationary codes; used in the cycle in which a beat is valid on ``i``.
    o : :py:`Out(stream.Signature(DotProduct.sum_layout(config), always_ready=True))`
        The sum and the tag of its beat.
    """

    i: stream.Interface
    codes: data.View
    o: stream.Interface

    latency: int

    @staticmethod
    def beat_layout(config: CoreConfig) -> data.StructLayout:
        """Weights of one row with their tag: first tile of the matrix, last, last of its rows?"""
        bits = 2 * config.tile if config.decodes_ahead else 8 * config.row_lanes
        return data.StructLayout({"data": bits, "first": 1, "last": 1, "end": 1})

    @staticmethod
    def sum_layout(config: CoreConfig) -> data.StructLayout:
        """The sum of a beat with the tag of the beat."""
        return data.StructLayout({"sum": signed(config.dot_bits), "first": 1, "last": 1, "end": 1})

    def __init__(self, config: CoreConfig, *, packed: bool = True):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"DotProduct config must be a CoreConfig, not {config!r}")
        self.packed = packed = packed and not config.decodes_ahead
        self.config = config
        beat = self.beat_layout(config)
        if not packed:
            beat = data.StructLayout({**beat.members, "data": 2 * config.tile})
        super().__init__({
            "i": In(stream.Signature(beat, always_ready=True)),
            **self.operands(config),
            "o": Out(stream.Signature(self.sum_layout(config), always_ready=True)),
        })

    @staticmethod
    def operands(config: CoreConfig) -> dict[str, wiring.Member]:
        """Members by which the stationary codes come."""
        return {"codes": In(data.ArrayLayout(signed(8), config.tile))}

    def total(self, m: Module, trits: Iterator[tuple[Value, Value]], platform) -> Value:
        """The sum, ``latency`` cycles after ``trits`` (nonzero, sign; undefined for zero)."""
        raise NotImplementedError

    def elaborate(self, platform):
        m = Module()
        if getattr(platform, "family", None) == BEHAVIOURAL:
            root = self._instance(m)
        else:
            root = self.total(m, self._trits(m), platform)
        assert len(root) == self.config.dot_bits
        tag, valid = Cat(self.i.p.first, self.i.p.last, self.i.p.end), self.i.valid
        for stage in range(self.latency):
            tag = self.register(m, len(tag), tag)
            following = Signal(name=f"valid_{stage}")
            m.d.sync += following.eq(valid)
            valid = following
        m.d.comb += [
            self.o.p.sum.eq(root),
            Cat(self.o.p.first, self.o.p.last, self.o.p.end).eq(tag),
            self.o.valid.eq(valid),
        ]
        return m

    def _instance(self, m: Module) -> Value:
        assert self.packed or self.config.decodes_ahead
        root = Signal(signed(self.config.dot_bits))
        m.submodules.model = Instance(
            "ternforge_dot_product", i_clk=ClockSignal(), i_data=self.i.p.data,
            i_codes=self.codes.as_value(), o_sum=root)
        for _ in range(self.latency - 1):  # the module has one register
            root = self.register(m, root.shape(), root)
        return root

    @staticmethod
    def register(m: Module, shape: ShapeLike, value: Value) -> Signal:
        """``value`` a cycle later."""
        s = Signal(shape, reset_less=True)
        m.d.sync += s.eq(value)
        return s

    def _trits(self, m: Module) -> Iterator[tuple[Value, Value]]:
        if not self.packed:
            for k in range(self.config.tile):
                yield ~self.i.p.data[2 * k], self.i.p.data[2 * k + 1]
            return
        for lane in range(self.config.row_lanes):
            m.submodules[f"decoder_{lane}"] = decoder = TritDecoder(masked=False)
            m.d.comb += decoder.byte.eq(self.i.p.data.word_select(lane, 8))
            for k in range(TRITS_PER_BYTE):
                yield decoder.nonzero[k], decoder.sign[k]
