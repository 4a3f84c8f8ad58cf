"""LiteDRAM's native ports as a controller plays them, for units that are tested without one."""

from collections import deque
from typing import Any

__all__ = ["NativeMemory"]


class NativeMemory:
    """Two ports to one memory of words, each in order, with a time of its own for each command.

    It checks what a controller relies on: a command stands until it is taken, words to write stand
    when they are needed.
    """

    def __init__(self, dut: Any, words: list[int], *, latency=lambda: 4, refuses=lambda: 0,
                 pause=lambda: 0):
        self.dut, self.words = dut, words
        self.latency, self.refuses, self.pause = latency, refuses, pause
        self.reads: list[list[int]] = [[], []]
        self.writes = 0

    async def port0(self, ctx):
        await self._serve(ctx, self.dut.port0, 0)

    async def port1(self, ctx):
        await self._serve(ctx, self.dut.port1, 1)

    async def _serve(self, ctx, port, index):
        queue: deque[list[Any]] = deque()  # time, address, we, whether its word is due
        refuse, pause, held, taking = self.refuses(), 0, None, False
        ctx.set(port.cmd.ready, not refuse)
        async for _, _, valid, ready, payload, word, stands in ctx.tick().sample(
                port.cmd.valid, port.cmd.ready, port.cmd.payload, port.wdata.payload,
                port.wdata.valid):
            if taking:
                assert stands, "a word to write did not stand when it was needed"
                address = queue.popleft()[1]
                mask = sum(0xFF << 8 * k for k in range(len(port.wdata.p.enable))
                           if word.enable >> k & 1)
                self.words[address] = self.words[address] & ~mask | word.data & mask
                self.writes += 1
            if held is not None:
                assert (valid, payload.address, payload.we) == (1, *held)
            held = (payload.address, payload.we) if valid and not ready else None
            for entry in queue:
                entry[0] -= 1
            if valid and ready:
                queue.append([self.latency(), payload.address, payload.we])
                refuse = self.refuses()
                if not payload.we:
                    self.reads[index].append(payload.address)
            else:
                refuse = max(0, refuse - 1)
            pause = max(0, pause - 1)
            due = bool(queue) and queue[0][0] <= 0 and not pause
            taking = due and bool(queue[0][2])
            ctx.set(port.wdata.ready, taking)
            ctx.set(port.rdata.valid, due and not taking)
            if due and not taking:
                ctx.set(port.rdata.payload, self.words[queue.popleft()[1]])
                pause = self.pause()
            ctx.set(port.cmd.ready, not refuse)
