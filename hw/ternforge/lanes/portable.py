"""Lanes for any part: logic and adders, as synthesis makes them."""

from collections.abc import Iterator

from amaranth import *

from ternforge.config import CoreConfig
from ternforge.core.lanes import DotProduct
from ternforge.lanes.tree import Addition, Node, adder_tree, tree_levels

__all__ = ["Lanes"]


class Lanes(DotProduct):
    """A product is the code, masked for weight 0, inverted for weight -1.

    The one that completes the negation enters the adder tree as carry of an adder. With 8 lanes it
    takes 0.9k logic cells of an iCE40, with 40 lanes 4.5k tables of an ECP5.

    Parameters
    ----------
    config, packed
        See :class:`DotProduct`.
    """

    def __init__(self, config: CoreConfig, *, packed: bool = True):
        super().__init__(config, packed=packed)
        # With one level to a stage, choosing the terms is a stage as well.
        self._select_stage = config.tree_levels == 1
        self.latency = -(-tree_levels(config.tile) // config.tree_levels) + self._select_stage

    def total(self, m: Module, trits: Iterator[tuple[Value, Value]], platform) -> Value:
        # Select: the code or 0, inverted by the sign. An inverted 0 and its one add up to 0, so
        # that the sign of a zero trit does not matter.
        nodes = []
        for k, (nonzero, sign) in enumerate(trits):
            term = Signal(signed(8), name=f"term_{k}")
            m.d.comb += term.eq((self.codes[k] & nonzero.replicate(8)) ^ sign.replicate(8))
            nodes.append(Node(term, 1, sign))
        if self._select_stage:
            nodes = [Node(self.register(m, signed(8), node.value), 1,
                          self.register(m, 1, node.lacks)) for node in nodes]

        def add(additions: list[Addition]) -> list[Value]:
            sums = []
            for each in additions:
                s = Signal(signed(each.result.width))
                m.d.comb += s.eq(_add(each.left.value, each.right.value, each.carry))
                sums.append(s)
            return sums

        return adder_tree(nodes, self.config.tree_levels, add,
                          lambda shape, value: self.register(m, shape, value))


def _add(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` as one adder: an extra bit below makes the carry into the others."""
    return (Cat(C(1, 1), a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()
