"""A memory behind AXI4 read channels, for Amaranth's simulator; it checks what a master does."""

from collections import deque
from collections.abc import Callable
from typing import Any

from ternforge.mem.axi4 import PAGE, Axi4Config

__all__ = ["OKAY", "Axi4Memory"]

OKAY = 0  #: RRESP of a read without an error


def _never() -> bool:
    return False


class Axi4Memory:
    """Answers bursts in order.

    Parameters
    ----------
    axi : interface of :func:`~ternforge.mem.axi4.axi4_read`
        The master's port.
    config : Axi4Config
        Its size.
    read : callable
        From the byte address of a word to its value and RRESP.
    latency : callable
        Gives the cycles from a burst to its first word, at least 1.
    stalled : callable
        Whether no word comes in a cycle.
    waits : callable
        Gives the cycles in which no burst is taken, after each one.

    Attributes
    ----------
    bursts : list of (int, int)
        Byte address and words of each, as they came.
    words : int
        Words that were given.
    chances : int
        Cycles without a stall, from the first burst to the last word.
    most : int
        Most bursts that were under way together.
    """

    def __init__(self, axi: Any, config: Axi4Config, read: Callable[[int], tuple[int, int]], *,
                 latency: Callable[[], int] = lambda: 3, stalled: Callable[[], bool] = _never,
                 waits: Callable[[], int] = lambda: 0):
        self.axi, self.config, self.read = axi, config, read
        self.latency, self.stalled, self.waits = latency, stalled, waits
        self.bursts: list[tuple[int, int]] = []
        self.words = self.chances = self.most = 0

    def _check(self, address: int, length: int, constants: tuple[int, ...]) -> None:
        size = self.config.word_bytes
        assert constants == (0, size.bit_length() - 1, 1), constants
        assert address % size == 0, hex(address)
        assert length <= self.config.burst_words, length
        last = address + size * length - 1
        assert address // PAGE == last // PAGE, f"{length} words from {address:#x} cross a page"

    async def process(self, ctx):
        """For ever."""
        axi, queue = self.axi, deque()  # queue of bursts: first cycle, next address, end
        cycle = due = closed = chances = 0
        held, given = None, False
        async for _, _, valid, ready, taken, *burst in ctx.tick().sample(
                axi.arvalid, axi.arready, axi.rready,
                axi.araddr, axi.arlen, axi.arid, axi.arsize, axi.arburst):
            cycle += 1
            address, length, *constants = burst
            assert held is None or (valid, burst) == (1, held), "a burst must stand until taken"
            held = burst if valid and not ready else None
            if given and taken:
                self.words += 1
                self.chances = chances
                queue[0][1] += self.config.word_bytes
                if queue[0][1] == queue[0][2]:
                    queue.popleft()
                given = False
            if valid and ready:
                self._check(address, length + 1, tuple(constants))
                self.bursts.append((address, length + 1))
                due = max(due, cycle + self.latency() - 1)
                queue.append([due, address, address + (length + 1) * self.config.word_bytes])
                self.most = max(self.most, len(queue))
                closed = self.waits()
            else:
                closed = max(0, closed - 1)
            if not given:
                stalled = self.stalled()
                chances += bool(self.bursts) and not stalled
                if not stalled and queue and queue[0][0] <= cycle:
                    given = True
                    value, response = self.read(queue[0][1])
                    ctx.set(axi.rdata, value)
                    ctx.set(axi.rresp, response)
                    ctx.set(axi.rlast, queue[0][1] + self.config.word_bytes == queue[0][2])
            ctx.set(axi.rvalid, given)
            if not given:
                ctx.set(axi.rlast, 0)
            ctx.set(axi.arready, not closed)
