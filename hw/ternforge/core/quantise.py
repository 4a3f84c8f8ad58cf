"""Turns a vector into int8 codes, loads constants, and rescales rows with the same multiplier."""

from typing import Any

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.core.largest import Largest
from ternforge.core.multiply import Multiplier, RoundShift
from ternforge.core.scalar import RATIO, ScalarUnit
from ternforge.core.scale import SCALE
from ternforge.core.several import parts, several
from ternforge.isa import HEADERS, Opcode, SumOf
from ternforge.numerics import ACTIVATION_BITS, CONSTANT_BITS, SCALE_BITS, VECTOR_BITS

__all__ = ["Quantiser"]

_HEADER = HEADERS[Opcode.QUANTISE]

#: A constant times 2**15, shifted right by 15 less the left shift, which is its complement.
LOAD_SHIFT_BITS = HEADERS[Opcode.LOAD]["shift"].width
LOAD_POWER = (1 << LOAD_SHIFT_BITS) - 1


class Quantiser(wiring.Component):
    """Executes QUANTISE and LOAD packets, and rescales the rows of a matrix in between:
    ``docs/integer-contract.md``.

    Pass 1 multiplies the vector by the constants, ``elements`` per cycle and as fast as they come.
    If codes are wanted, it writes the products back, and pass 2 reads them again, aligns them with
    the largest and multiplies by its reciprocal, without stalls. Between the passes lie about 40
    cycles. LOAD is a pass 1 in which a power of two stands for the vector, and all that it does
    is to write.

    All three send their elements through the same multipliers and shifters. While no packet is
    under way, the first of these rescale the accumulators of the ``cores``: ``rescaled`` is
    ``saturate(rnd(acc * scale.mantissa, scale.shift), 24)``, or ``acc``, one per cycle and core,
    ``rescale_latency`` cycles after it.

    Parameters
    ----------
    config : :class:`CoreConfig`
        ``elements`` per cycle, the depth of the vector RAM, which bounds ``count``, and the width
        of accumulators, at most 24 bits.

    Attributes
    ----------
    rescale_latency : int
        Cycles from ``acc`` to ``rescaled``: 6.

    Members
    -------
    header : :py:`In(HEADERS[Opcode.QUANTISE])`
        Of either packet, as their layouts agree. Held from ``start`` until ``busy`` falls or
        ``streaming`` rises.
    start : :py:`In(1)`
        Only while not busy. If the ratio of an earlier packet is due, this packet waits for it.
    busy : :py:`Out(1)`
        From the cycle after ``start`` until the vector RAM is no longer used and all codes are out.
    streaming : :py:`Out(1)`
        Pass 2 is under way: header and constants are not needed any more.
    constants : :py:`In(stream.Signature(ArrayLayout(signed(16), elements)))`
        ``header.count`` weights; taken in pass 1 only, where it is always ready.
    vector_read_address : :py:`Out(16)`
        Word address; the data stand one cycle later.
    vector_read_data : :py:`In(ArrayLayout(signed(24), elements))`
    vector_write : :py:`Out(StructLayout(enable, address, data))`
        ``address`` counts words.
    restart : :py:`Out(1)`
        Strobe ahead of the first code; only if codes are wanted.
    codes_o : :py:`Out(stream.Signature(ArrayLayout(signed(8), elements), always_ready=True))`
        Codes in order of the elements.
    complete : :py:`Out(1)`
        Strobe after the last code.
    ratio : :py:`Out(RATIO)`
        Of the last packet with codes.
    ratio_valid : :py:`Out(1)`
        Low from the cycle after such a packet's ``start`` until its ratio stands.
    saturated : :py:`Out(StructLayout(product, square))`
        How many elements were clipped in this cycle, at either site.
    acc : :py:`In(several(signed(config.acc_bits), config.cores))`
        Accumulators to rescale; not while ``busy``.
    scaled : :py:`In(1)`
        Multiply; held while rows are under way and from two cycles before, as is ``scale``.
    scale : :py:`In(SCALE)`
        Multiplier of the rows.
    rescaled : :py:`Out(several(signed(24), config.cores))`
        Rescaled accumulators.
    rescaled_saturated : :py:`Out(config.cores)`
        Which of them were clipped.
    """

    rescale_latency = 6

    header: data.View
    start: Signal
    busy: Signal
    streaming: Signal
    constants: stream.Interface
    vector_read_address: Signal
    vector_read_data: data.View
    vector_write: data.View
    restart: Signal
    codes_o: stream.Interface
    complete: Signal
    ratio: data.View
    ratio_valid: Signal
    saturated: data.View
    acc: Any  # signed(config.acc_bits), or an array of them
    scaled: Signal
    scale: data.View
    rescaled: Any  # signed(24), or an array of them
    rescaled_saturated: Signal

    def __init__(self, config: CoreConfig):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"Quantiser config must be a CoreConfig, not {config!r}")
        if config.acc_bits > VECTOR_BITS:
            raise ValueError(f"Quantiser config.acc_bits must be at most {VECTOR_BITS}, "
                             f"not {config.acc_bits}")
        self.config = config
        count = range(config.elements + 1)
        vector = data.ArrayLayout(signed(VECTOR_BITS), config.elements)
        super().__init__({
            "header": In(_HEADER),
            "start": In(1),
            "busy": Out(1),
            "streaming": Out(1),
            "constants": In(stream.Signature(
                data.ArrayLayout(signed(CONSTANT_BITS), config.elements))),
            "vector_read_address": Out(16),
            "vector_read_data": In(vector),
            "vector_write": Out(data.StructLayout({"enable": 1, "address": 16, "data": vector})),
            "restart": Out(1),
            "codes_o": Out(stream.Signature(data.ArrayLayout(signed(8), config.elements),
                                            always_ready=True)),
            "complete": Out(1),
            "ratio": Out(RATIO),
            "ratio_valid": Out(1),
            "saturated": Out(data.StructLayout({"product": count, "square": count})),
            "acc": In(several(signed(config.acc_bits), config.cores)),
            "scaled": In(1),
            "scale": In(SCALE),
            "rescaled": Out(several(signed(VECTOR_BITS), config.cores)),
            "rescaled_saturated": Out(config.cores),
        })

    @property
    def sum_bits(self) -> int:
        """Width of the sum of squares: ``vector_depth`` times ``2**30``, even."""
        bits = max(32, (self.config.vector_depth << 30).bit_length())
        return bits + bits % 2

    def elaborate(self, platform):
        m = Module()
        header = self.header
        elements = self.config.elements
        low = elements.bit_length() - 1
        words = range(self.config.vector_depth // elements + 1)

        m.submodules.scalar = scalar = ScalarUnit(self.sum_bits)
        m.submodules.largest = largest = Largest(elements)

        # Reads. Bit k of `valid`: an element was read k + 1 cycles ago.
        second = Signal()  # pass 2
        run = Signal()
        issue = Signal()
        remaining = Signal(words)
        read_address = Signal(words)
        write_address = Signal(words)
        last_product = 5 + largest.latency  # bit that counts in the largest value
        valid = Signal(max(9, last_product + 1))
        wanted = Signal()  # another word of constants, known a cycle ahead
        m.d.comb += [
            self.constants.ready.eq(wanted),
            issue.eq(Mux(second, run & remaining.any(), wanted & self.constants.valid)),
            self.vector_read_address.eq(read_address),
        ]
        drained = Signal()  # no element was on its way a cycle ago
        m.d.sync += [valid.eq(Cat(issue, valid)),
                     drained.eq(~(issue | valid[:last_product].any()
                                  | second & valid[last_product:].any()))]
        with m.If(issue):
            m.d.sync += [remaining.eq(remaining - 1), read_address.eq(read_address + 1)]
            with m.If(remaining == 1):
                m.d.sync += wanted.eq(0)

        # Pass 1: v = x * weight in 3 cycles, shifted and rounded in 3 more; to load, x is 2**15.
        # Pass 2: v times 2**14 or -2**14, and the shifter aligns (|v| << 15) >> align in 2 cycles.
        # Rescale: an accumulator for x, the scale's mantissa for the weight.
        loading = Signal()  # this packet is a LOAD
        weigh, rescale = Signal(), Signal()  # what the next weight is
        m.d.comb += [weigh.eq(self.busy & ~second), rescale.eq(~self.busy)]
        shift = Signal(6)
        m.d.sync += shift.eq(Mux(rescale, Mux(self.scaled, self.scale.shift, 0),
                                 Mux(second, scalar.align,
                                     header.shift ^ loading.replicate(LOAD_SHIFT_BITS))))
        multipliers, shifters = [], []
        for index in range(elements):
            x = self.vector_read_data[index]
            weight = Signal(signed(CONSTANT_BITS), name=f"weight_{index}", reset_less=True)
            multiplier = Multiplier(signed(VECTOR_BITS), signed(CONSTANT_BITS))
            shifter = RoundShift(VECTOR_BITS + CONSTANT_BITS, VECTOR_BITS)
            multipliers.append(multiplier)
            shifters.append(shifter)
            m.submodules[f"multiplier_{index}"] = multiplier
            m.submodules[f"shifter_{index}"] = shifter
            chosen = self.constants.payload[index] & weigh.replicate(CONSTANT_BITS)
            if index < self.config.cores:
                chosen = (chosen | self.scale.mantissa & (rescale & self.scaled).replicate(
                    SCALE_BITS) | (rescale & ~self.scaled))
            m.d.sync += weight.eq(chosen | second << (CONSTANT_BITS - 2))
            m.d.comb += [
                multiplier.a.eq(Mux(loading, 1 << LOAD_POWER, x)),
                multiplier.b.eq(Cat(weight[:-1], weight[-1] | (second & x[-1]))),
                shifter.value.eq(multiplier.product),
                shifter.shift.eq(shift),
                self.vector_write.data[index].eq(shifter.result),
                largest.i[index].eq(shifter.result),
            ]
        cores = self.config.cores
        with m.If(rescale):
            m.d.comb += [multiplier.a.eq(acc) for multiplier, acc
                         in zip(multipliers, parts(self.acc, cores), strict=False)]
        assert multipliers[0].latency + shifters[0].latency == self.rescale_latency
        m.d.comb += [rescaled.eq(shifter.result) for rescaled, shifter
                     in zip(parts(self.rescaled, cores), shifters, strict=False)]
        m.d.comb += self.rescaled_saturated.eq(
            Cat(shifter.saturated for shifter in shifters[:cores]))
        product_valid = valid[6] & ~second
        m.d.comb += [
            self.vector_write.enable.eq(product_valid & (header.codes | loading)),
            self.vector_write.address.eq(write_address),
            largest.update.eq(valid[last_product] & ~second),
            self.saturated.product.eq(
                Mux(product_valid, sum(shifter.saturated for shifter in shifters), 0)),
        ]
        with m.If(self.vector_write.enable):
            m.d.sync += write_address.eq(write_address + 1)

        # Squares of x or v. Bit k of `square_valid`: z stood k cycles ago.
        squares = Signal(self.sum_bits, reset_less=True)
        square_bits = header.square_shift.shape().width
        square_latency = RoundShift.latency_of(square_bits)
        square_valid = Signal(square_latency + 3)
        of_product = header.sum_of == SumOf.PRODUCT
        keep = header.sum_of == SumOf.KEEP
        square_shifters, products = [], []
        for index, shifter in enumerate(shifters):
            z = Signal(signed(VECTOR_BITS), name=f"z_{index}", reset_less=True)
            square_shifter = RoundShift(VECTOR_BITS, ACTIVATION_BITS, square_bits)
            square = Multiplier(signed(ACTIVATION_BITS), signed(ACTIVATION_BITS))
            square_shifters.append(square_shifter)
            products.append(square.product[:2 * ACTIVATION_BITS - 1])
            m.submodules[f"square_shifter_{index}"] = square_shifter
            m.submodules[f"square_{index}"] = square
            m.d.sync += z.eq(Mux(of_product, shifter.result, self.vector_read_data[index]))
            m.d.comb += [
                square_shifter.value.eq(z),
                square_shifter.shift.eq(header.square_shift),
                square.a.eq(square_shifter.result),
                square.b.eq(square_shifter.result),
            ]
        z_valid = Mux(of_product, valid[6], valid[0]) & ~keep & ~second
        m.d.sync += square_valid.eq(Cat(z_valid, square_valid))
        m.d.comb += self.saturated.square.eq(
            Mux(square_valid[square_latency],
                sum(shifter.saturated for shifter in square_shifters), 0))
        settled = Signal()  # no square was on its way a cycle ago
        total, total_valid = sum(products), square_valid[-1]
        if elements > 1:
            total = Signal(2 * ACTIVATION_BITS - 1 + low, reset_less=True)
            total_valid = Signal()
            m.d.sync += [total.eq(sum(products)), total_valid.eq(square_valid[-1])]
        m.d.sync += settled.eq(~(z_valid | square_valid.any() | total_valid))
        clear_squares = Signal()
        with m.If(total_valid | clear_squares):
            m.d.sync += squares.eq(Mux(clear_squares, 0, squares + total))

        # Codes. `sign` delays the sign to the product of magnitude and reciprocal.
        for index, shifter in enumerate(shifters):
            sign = Signal(7, name=f"sign_{index}", reset_less=True)
            code = Multiplier(16, 16)
            m.submodules[f"code_{index}"] = code
            m.d.sync += sign.eq(Cat(self.vector_read_data[index][-1], sign))
            m.d.comb += [
                code.a.eq(shifter.doubled),
                code.b.eq(scalar.reciprocal),
            ]
            # Bits 31..24 plus bit 23; negated, that is their complement plus the bit's complement.
            negative = sign[6]
            rounded = Signal(8, name=f"rounded_{index}", reset_less=True)
            m.d.comb += self.codes_o.payload[index].eq(rounded)
            m.d.sync += rounded.eq(
                (code.product[24:] ^ negative.replicate(8)) + (code.product[23] ^ negative))
        m.d.comb += self.codes_o.valid.eq(valid[8] & second)

        # Control
        due = Signal()  # the ratio of this packet is wanted and not begun
        m.d.comb += [
            scalar.largest.eq(largest.largest),
            scalar.squares.eq(squares),
            self.ratio.eq(scalar.ratio),
            self.ratio_valid.eq(scalar.ratio_valid & ~due),
        ]
        with m.FSM() as fsm:
            m.d.comb += [self.busy.eq(~fsm.ongoing("IDLE")),
                         self.streaming.eq(fsm.ongoing("CODES"))]
            with m.State("IDLE"):
                m.d.sync += [second.eq(0), loading.eq(0)]
                with m.If(self.start):
                    m.d.sync += [due.eq(header.codes), loading.eq(header.op == Opcode.LOAD)]
                    m.next = "PREPARE"
            with m.State("PREPARE"):
                m.d.sync += [
                    remaining.eq(header.count >> low),
                    read_address.eq(header.src >> low),
                    write_address.eq(header.dst >> low),
                ]
                with m.If(scalar.ratio_valid):
                    m.d.comb += [largest.clear.eq(1), self.restart.eq(header.codes)]
                    m.d.comb += clear_squares.eq(~keep)
                    m.d.sync += wanted.eq(1)
                    m.next = "PRODUCTS"
            with m.State("PRODUCTS"):
                with m.If(~remaining.any()):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(drained):
                    with m.If(header.codes):
                        m.d.comb += scalar.start.eq(1)
                        m.d.sync += due.eq(0)
                        m.next = "RECIPROCAL"
                    with m.Elif(settled):
                        m.next = "IDLE"
            with m.State("RECIPROCAL"):
                m.d.sync += [
                    second.eq(1),
                    remaining.eq(header.count >> low),
                    read_address.eq(header.dst >> low),
                ]
                with m.If(scalar.reciprocal_valid & second):
                    m.next = "CODES"
            with m.State("CODES"):
                m.d.comb += run.eq(1)
                with m.If(~remaining.any() & drained):
                    m.d.comb += self.complete.eq(1)
                    m.next = "IDLE"
        return m
