"""Lanes on the carry chains of the ECP5: a cell negates both operands while it adds them."""

from collections.abc import Iterator, Sequence
from itertools import count, groupby

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.lanes.tree import Addition, Node, adder_tree, tree_levels

__all__ = ["AdderChain", "Lanes", "add_on_chains"]

#: Contents of half a CCU2C. It adds P(A, B) and Q(C, D): its table holds P ^ Q, and the first four
#: entries (C = D = 0) are its carry where P = Q. So Q(0, 0) must be 0.
NEGATING = 0x6996  #: (A ^ B) + (C ^ D)
PLAIN = 0x66AA  #: A + B while C = D = 1, which unused inputs are
HEAD = 0x000A  #: while C = D = 1: A as carry out, whatever comes in


class AdderChain(wiring.Component):
    """Adders of two numbers and a carry, one after the other on one carry chain of the ECP5.

    Combinational. Each adder begins with half a cell that takes nothing from the one before, so
    that they are independent; an odd number of half cells would leave one unused. For other parts
    it is what it computes.

    Parameters
    ----------
    width : int
        Bits of an operand, without those of its sign's extension.
    count : int
        Adders.
    negating : bool
        Operands may be inverted.

    Members
    -------
    a, b : :py:`In(data.ArrayLayout(signed(width), count))`
        Operands.
    invert_a, invert_b : :py:`In(count)`
        Operands whose bits are inverted; only if ``negating``.
    carry : :py:`In(count)`
        One more to add.
    sum : :py:`Out(data.ArrayLayout(signed(width + 1), count))`
        ``(a ^ invert_a) + (b ^ invert_b) + carry``; exact.
    """

    a: data.View
    b: data.View
    invert_a: Signal
    invert_b: Signal
    carry: Signal
    sum: data.View

    def __init__(self, width: int, count: int, *, negating: bool):
        self.width, self.count, self.negating = width, count, negating
        operands = In(data.ArrayLayout(signed(width), count))
        super().__init__({
            "a": operands, "b": operands, "carry": In(count),
            **({"invert_a": In(count), "invert_b": In(count)} if negating else {}),
            "sum": Out(data.ArrayLayout(signed(width + 1), count)),
        })

    def elaborate(self, platform):
        m = Module()
        if getattr(platform, "family", None) == "ecp5":
            self._chain(m)
            return m
        for k in range(self.count):
            a, b = self.a[k], self.b[k]
            if self.negating:
                a ^= self.invert_a[k].replicate(self.width).as_signed()
                b ^= self.invert_b[k].replicate(self.width).as_signed()
            m.d.comb += self.sum[k].eq(a + b + self.carry[k])
        return m

    def _chain(self, m: Module):
        """Half cells from the lowest bit of the first adder on, two to a CCU2C."""
        halves: list[tuple[int, dict[str, Value], Value | None]] = []
        for k in range(self.count):
            halves.append((HEAD, {"A": self.carry[k]}, None))
            for bit in range(self.width + 1):
                a, b = (operand[k][min(bit, self.width - 1)] for operand in (self.a, self.b))
                inputs = ({"A": a, "B": self.invert_a[k], "C": b, "D": self.invert_b[k]}
                          if self.negating else {"A": a, "B": b})
                halves.append((NEGATING if self.negating else PLAIN, inputs, self.sum[k][bit]))
        if len(halves) % 2:
            halves.append((0, {}, None))
        carry: Value = C(0, 1)
        for cell, pair in enumerate(zip(halves[0::2], halves[1::2], strict=True)):
            following = Signal(name=f"carry_{cell}")
            pins: dict[str, Value | str] = {"i_CIN": carry, "o_COUT": following}
            for half, (init, inputs, output) in enumerate(pair):
                pins |= {f"p_INIT{half}": C(init, 16), f"p_INJECT1_{half}": "NO"}
                pins |= {f"i_{pin}{half}": inputs.get(pin, C(1, 1)) for pin in "ABCD"}
                pins[f"o_S{half}"] = Signal(name="unused") if output is None else output
            m.submodules[f"cell_{cell}"] = Instance("CCU2C", **pins)
            carry = following


class Lanes(DotProduct):
    """Registers choose the codes of nonzero weights; a tree of carry chains negates and adds.

    A flip-flop with reset masks a bit for nothing, and the chains of the first level negate both of
    their terms for nothing.

    Parameters
    ----------
    config, packed
        See :class:`DotProduct`.
    """

    def __init__(self, config: CoreConfig, *, packed: bool = True):
        super().__init__(config, packed=packed)
        self.latency = -(-tree_levels(config.tile) // config.tree_levels) + 1

    def total(self, m: Module, trits: Iterator[tuple[Value, Value]], platform) -> Value:
        nodes, numbers = [], count()
        for k, (nonzero, sign) in enumerate(trits):
            code = Signal(signed(8), name=f"code_{k}", reset_less=True)
            m.d.sync += code.eq(self.codes[k])
            with m.If(~nonzero):
                m.d.sync += code.eq(0)
            negative = self.register(m, 1, sign)
            nodes.append(Node(code, 1, negative, negative))

        return adder_tree(nodes, self.config.tree_levels,
                          lambda additions: add_on_chains(m, additions, numbers),
                          lambda shape, value: self.register(m, shape, value))


def add_on_chains(m: Module, additions: Sequence[Addition], numbers: Iterator[int]) -> list[Value]:
    """Makes the adders of one level of a tree, each on a carry chain.

    Parameters
    ----------
    m : Module
        Gets the chains as submodules.
    additions : sequence of Addition
        The adders.
    numbers : iterator of int
        Numbers of the chains that are made.
    """
    sums = []
    widths = groupby(additions, lambda each: max(len(each.left.value), len(each.right.value)))
    for width, group in widths:
        same = list(group)
        # A head and an even number of bits make an odd number of half cells.
        per_chain = 1 if width % 2 == 0 else 2
        for start in range(0, len(same), per_chain):
            sums += _chain(m, width, same[start:start + per_chain], next(numbers))
    return [value[:each.result.width].as_signed()
            for value, each in zip(sums, additions, strict=True)]


def _chain(m: Module, width: int, additions: list[Addition], number: int) -> list[Value]:
    negating = additions[0].left.invert is not None
    chain = AdderChain(width, len(additions), negating=negating)
    m.submodules[f"chain_{number}"] = chain
    for k, each in enumerate(additions):
        m.d.comb += [chain.a[k].eq(each.left.value), chain.b[k].eq(each.right.value),
                     chain.carry[k].eq(each.carry)]
        if negating:
            m.d.comb += [chain.invert_a[k].eq(each.left.invert),
                         chain.invert_b[k].eq(each.right.invert)]
    return [chain.sum[k] for k in range(len(additions))]
