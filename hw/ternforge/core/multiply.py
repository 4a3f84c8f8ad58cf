"""Pipelined exact multiplier and rounding shifter, sized for small multiplier blocks."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier", "RoundShift"]

#: Operand width of one multiplier block (SB_MAC16 of the iCE40; the ECP5 has 18 bits)
_BLOCK_BITS = 16

#: Bits of a shift that one stage of a shifter takes
_FINE_BITS = 4


class Multiplier(wiring.Component):
    """Exact product of two integers in pipelined multiplier blocks.

    One product per cycle, :attr:`latency` cycles after its operands; never stalls and carries no
    ``valid``. The operands are registered, then the product, so that both registers can move into
    the block. ``a`` wider than 16 bits takes two blocks and one more cycle for their sum. Operands
    of the same signedness fill one block as they are; if a signed ``a`` meets an unsigned 16-bit
    ``b``, the top bit of ``b`` is added by hand, also one cycle later. The product cannot overflow.

    Parameters
    ----------
    a_shape : :class:`Shape`
        Shape of ``a``: signed up to 31 bits, or unsigned up to 16 bits.
    b_shape : :class:`Shape`
        Shape of ``b``: up to 16 bits; unsigned if ``a`` is unsigned.

    Attributes
    ----------
    latency : int
        Cycles from operands to product: 2, or 3 if a sum follows the blocks.
    product_shape : :class:`Shape`
        Shape of ``product``, wide enough for every operand pair.

    Members
    -------
    a : :py:`In(a_shape)`
    b : :py:`In(b_shape)`
    product : :py:`Out(product_shape)`
        ``a * b`` of :attr:`latency` cycles ago.
    """

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, a_shape, b_shape):
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        if a_shape.width > (31 if a_shape.signed else _BLOCK_BITS):
            raise ValueError("Multiplier a_shape must be signed of at most 31 bits or unsigned of "
                             f"at most 16 bits, not {a_shape!r}")
        if b_shape.width > _BLOCK_BITS:
            raise ValueError(f"Multiplier b_shape must have at most 16 bits, not {b_shape!r}")
        if b_shape.signed and not a_shape.signed:
            raise ValueError("Multiplier b_shape must be unsigned if a_shape is, "
                             f"not {b_shape!r}")
        self.a_shape = a_shape
        self.b_shape = b_shape
        self._split = a_shape.width > _BLOCK_BITS
        self._correct = (a_shape.signed and not b_shape.signed and b_shape.width == _BLOCK_BITS)
        self.latency = 3 if self._split or self._correct else 2
        width = a_shape.width + b_shape.width
        self.product_shape = signed(width) if a_shape.signed else unsigned(width)
        super().__init__({"a": In(a_shape), "b": In(b_shape), "product": Out(self.product_shape)})

    def elaborate(self, platform):
        m = Module()
        # Registers without reset, which a multiplier block can take in.
        a = Signal(self.a_shape, reset_less=True)
        b = Signal(self.b_shape, reset_less=True)
        m.d.sync += [a.eq(self.a), b.eq(self.b)]
        factor = b
        if self.a_shape.signed and not self.b_shape.signed:
            factor = b[:_BLOCK_BITS - 1]
            factor = Cat(factor, C(0, 1)).as_signed()

        # Low chunk of 15 bits, which is non-negative as a signed 16-bit operand.
        cut = _BLOCK_BITS - 1 if self._split else 0
        high_product = Signal(signed(len(a) - cut + _BLOCK_BITS) if self.a_shape.signed
                              else self.product_shape, reset_less=True)
        high = a[cut:].as_signed() if self.a_shape.signed else a
        m.d.sync += high_product.eq(high * factor)
        total = high_product
        if self._split:
            low_product = Signal(signed(2 * _BLOCK_BITS - 1), reset_less=True)
            m.d.sync += low_product.eq(Cat(a[:cut], C(0, 1)).as_signed() * factor)
            total = Cat(low_product[:cut], high_product + (low_product >> cut)).as_signed()
        if self._correct:
            top = Signal(self.a_shape, reset_less=True)
            m.d.sync += top.eq(Mux(b[-1], a, 0))
            total = total + (top << (_BLOCK_BITS - 1))
        if self.latency == 3:
            combined = Signal(self.product_shape, reset_less=True)
            m.d.sync += combined.eq(total)
            total = combined
        m.d.comb += self.product.eq(total)
        return m


class RoundShift(wiring.Component):
    """Variable right shift, rounded half up and clipped: ``saturate(rnd(value, shift), out_bits)``.

    One value per cycle, :attr:`latency` cycles after its input; never stalls and carries no
    ``valid``. Exact for every ``shift``, also one beyond the width of the value. ``shift`` must
    stand when the value is given and in the cycle after. A shift of at most 15 takes one cycle
    less.

    Parameters
    ----------
    in_bits : int
        Width of the signed input.
    out_bits : int
        Width of the signed output.
    shift_bits : int
        Width of ``shift``.

    Attributes
    ----------
    latency : int
        Cycles from ``value`` to ``result``: 3, or 2 if ``shift_bits`` is at most 4. ``doubled``
        stands one cycle earlier.

    Members
    -------
    value : :py:`In(signed(in_bits))`
    shift : :py:`In(shift_bits)`
    result : :py:`Out(signed(out_bits))`
    saturated : :py:`Out(1)`
        ``result`` was clipped.
    doubled : :py:`Out(out_bits + 1)`
        Low bits of ``(2 * value) >> shift``, truncated: the result before it is rounded.
    """

    value: Signal
    shift: Signal
    result: Signal
    saturated: Signal
    doubled: Signal

    def __init__(self, in_bits: int, out_bits: int, shift_bits: int = 6):
        for name, bits in (("in_bits", in_bits), ("out_bits", out_bits),
                           ("shift_bits", shift_bits)):
            if not isinstance(bits, int) or bits < 1:
                raise ValueError(f"RoundShift {name} must be a positive integer, not {bits!r}")
        self.in_bits = in_bits
        self.out_bits = out_bits
        self.shift_bits = shift_bits
        self.latency = self.latency_of(shift_bits)
        super().__init__({"value": In(signed(in_bits)), "shift": In(shift_bits),
                          "result": Out(signed(out_bits)), "saturated": Out(1),
                          "doubled": Out(out_bits + 1)})

    @staticmethod
    def latency_of(shift_bits: int) -> int:
        """:attr:`latency` of a shifter with ``shift_bits``."""
        return 3 if shift_bits > _FINE_BITS else 2

    def elaborate(self, platform):
        m = Module()
        # rnd(v, s) == (((2 * v) >> s) + 1) >> 1. Where the result fits, (2 * v) >> s fits this
        # width; the most negative one, -2**out_bits - 1, takes the last bit.
        window = self.out_bits + 2
        fine_bits = min(_FINE_BITS, self.shift_bits)

        def shift_right(value, count, bit):
            return Mux(self.shift[bit], value >> count, value)

        # Stage 1: by multiples of 16.
        coarse = Signal(signed(self.in_bits + 1), reset_less=True)
        value = Cat(C(0, 1), self.value).as_signed()
        for bit in reversed(range(fine_bits, self.shift_bits)):
            value = shift_right(value, 1 << bit, bit)
        domain = m.d.sync if self.shift_bits > fine_bits else m.d.comb
        domain += coarse.eq(value)

        # Stage 2: by 0 to 15. Bits that no further shift brings into the window only tell
        # whether the value overflows.
        value, overflow = coarse, []
        for bit in reversed(range(fine_bits)):
            value = shift_right(value, 1 << bit, bit)
            keep = window + (1 << bit) - 1
            if len(value) > keep:
                above = value[keep - 1:]
                overflow.append(above.any() & ~above.all())
                value = value[:keep].as_signed()
        if len(value) < window:
            value = Cat(value, value[-1].replicate(window - len(value))).as_signed()
        shifted = Signal(signed(window), reset_less=True)
        overflows = Signal(max(1, len(overflow)), reset_less=True)
        negative = Signal(reset_less=True)
        m.d.sync += [shifted.eq(value), overflows.eq(Cat(overflow)), negative.eq(coarse[-1])]
        m.d.comb += self.doubled.eq(shifted)

        # Stage 3: round and clip.
        rounded = Signal(signed(window - 1))
        clip = Signal()
        top = (1 << (self.out_bits - 1)) - 1
        m.d.comb += [
            rounded.eq((shifted >> 1) + shifted[0]),
            clip.eq(overflows.any() | (rounded[-1] ^ rounded[-2])),
        ]
        result = Signal(signed(self.out_bits), reset_less=True)
        saturated = Signal(reset_less=True)
        m.d.sync += [
            saturated.eq(clip),
            result.eq(Mux(clip, Mux(negative, ~top, top), rounded[:self.out_bits])),
        ]
        m.d.comb += [self.result.eq(result), self.saturated.eq(saturated)]
        return m
