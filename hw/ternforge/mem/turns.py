"""Streams take turns: which token a fetch unit looks at."""

from amaranth import *

__all__ = ["Turns"]


class Turns:
    """Keeps the tokens of all streams, with the one whose turn it is in ``factor``.

    Parameters
    ----------
    m : Module
        Of the fetch unit; statements go to where the methods are called.
    tokens : Value
        16 bits, or an array of as many for each stream.
    streams : int
        How many.
    factor : Signal
        16 bits; may be changed until the next turn.

    Attributes
    ----------
    more : Signal
        It is not the last stream's turn; constant 0 of a single stream.
    """

    def __init__(self, m: Module, tokens: Value, streams: int, factor: Signal):
        self._m, self._streams, self._factor = m, streams, factor
        self._tokens = Value.cast(tokens)
        self.more: Value = C(0)
        if streams > 1:
            self._order = Signal(len(self._tokens), reset_less=True)  # whose turn it is lowest
            self._left = Signal(streams, init=1)  # one bit: how many turns are left, and this one
            self.more = ~self._left[0]

    def begin(self) -> None:
        """Take the tokens: the first stream's turn."""
        sync = self._m.d.sync
        sync += self._factor.eq(self._tokens[:len(self._factor)])
        if self._streams > 1:
            sync += [self._order.eq(self._tokens), self._left.eq(1 << self._streams - 1)]

    def next(self) -> None:
        """The next stream's turn; after the last, the first's again."""
        bits = len(self._factor)
        if self._streams > 1:
            self._m.d.sync += [self._order.eq(self._order.rotate_right(bits)),
                               self._left.eq(self._left.rotate_right(1)),
                               self._factor.eq(self._order.word_select(1, bits))]
