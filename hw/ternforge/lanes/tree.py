"""Adder tree over terms that may still lack the one of a negation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth import *
from amaranth.hdl import ShapeLike

from ternforge.numerics import CODE_MAX

__all__ = ["Addition", "Node", "adder_tree", "tree_levels"]


@dataclass
class Node:
    """A partial sum of the tree and the one that it still lacks (the +1 of a negation)."""

    value: Value
    terms: int
    lacks: Value | None
    invert: Value | None = None  #: if set, all bits of ``value`` are yet to be inverted

    @property
    def width(self) -> int:
        """Exact signed width: each term may reach 127, and -128 if its one is still lacking."""
        low = CODE_MAX * self.terms + (self.lacks is not None)
        return max((low - 1).bit_length(), (CODE_MAX * self.terms).bit_length()) + 1


@dataclass
class Addition:
    """One adder: ``left + right + carry``."""

    left: Node
    right: Node
    carry: Value
    result: Node  #: all but its value


def tree_levels(terms: int) -> int:
    """Levels of adders that add up ``terms``."""
    return (terms - 1).bit_length()


def adder_tree(nodes: Sequence[Node], per_stage: int,
               add: Callable[[list[Addition]], list[Value]],
               register: Callable[[ShapeLike, Value], Value]) -> Value:
    """Sum of ``nodes``, complete. Either all of them lack their one, or none does.

    Each adder takes one of the lacking ones as its carry. There is one more of them than adders;
    the first node that stays alone on a level takes it. The number of such terms must not be a
    power of two, so that there is such a node.

    Parameters
    ----------
    nodes : sequence of Node
        The terms.
    per_stage : int
        Levels between two registers. The last level has one behind it.
    add : callable
        Makes the adders of one level; returns a signed value for each, of its result's width.
    register : callable
        Makes a register of a shape, without reset.
    """
    nodes, completed, levels = list(nodes), False, tree_levels(len(nodes))
    for level in range(levels):
        additions = []
        for left, right in zip(nodes[0::2], nodes[1::2], strict=False):
            # Prefer to keep the right one's: at most one of both is complete.
            carry, lacks = ((left.lacks, right.lacks) if left.lacks is not None
                            else (right.lacks, None))
            additions.append(Addition(left, right, C(0, 1) if carry is None else carry,
                                      Node(C(0), left.terms + right.terms, lacks)))
        alone = nodes[-1] if len(nodes) % 2 else None
        if alone is not None and not completed and alone.lacks is not None:
            additions.append(Addition(alone, Node(C(0, signed(1)), 0, None), alone.lacks,
                                      Node(C(0), alone.terms, None)))
            alone, completed = None, True
        for addition, value in zip(additions, add(additions), strict=True):
            addition.result.value = value
        nodes = [addition.result for addition in additions] + ([alone] if alone else [])
        # The first stage, which also decodes and selects, is the one with fewer levels.
        if (levels - 1 - level) % per_stage == 0:
            nodes = [Node(register(signed(node.width), node.value), node.terms,
                          None if node.lacks is None else register(1, node.lacks))
                     for node in nodes]
    (root,) = nodes
    assert root.lacks is None
    return root.value
