"""A memory behind a linear read port, for units that read beats."""

from typing import Any

__all__ = ["BeatMemory"]


class BeatMemory:
    """A memory of beats with a latency, pauses, and a short memory of what was asked.

    It checks what an adapter relies on: requests lie inside of the image and stand until they are
    taken, and nothing is asked while it stops.
    """

    def __init__(self, port: Any, beats: list[int], *, latency=lambda: 3, pause=lambda: 0,
                 waits=lambda: 0, abandons: bool = True):
        self.port, self.beats, self.latency, self.pause = port, beats, latency, pause
        self.waits, self.abandons = waits, abandons
        self.requests: list[tuple[int, int]] = []
        self.dropped = 0

    async def process(self, ctx):
        port = self.port
        queue: list[list[int]] = []  # of requests: cycles to wait, next address, end
        busy_for, pause, sent, held = self.waits(), 0, 0, None
        ctx.set(port.idle, 1)
        async for _, _, valid, ready, payload, taken, stop in ctx.tick().sample(
                port.request.valid, port.request.ready, port.request.payload, port.data.ready,
                port.stop):
            if held is not None:
                assert (valid, payload.address, payload.beats) == (1, *held)
            accepted, held = valid and ready, None
            if valid and not accepted:
                held = payload.address, payload.beats
            if sent and taken:
                sent = 0
                queue[0][1] += 1
                if queue[0][1] == queue[0][2]:
                    queue.pop(0)
                pause = self.pause()
            if accepted:
                assert payload.beats > 0
                assert payload.address + payload.beats <= len(self.beats)
                self.requests.append((payload.address, payload.beats))
                queue.append([self.latency(), payload.address, payload.address + payload.beats])
            for request in queue:
                request[0] = max(0, request[0] - 1)
            if stop and self.abandons and not sent:
                self.dropped += sum(end - at for _, at, end in queue)
                queue.clear()
            busy_for = self.waits() if accepted else max(0, busy_for - 1)
            pause = max(0, pause - 1) if not sent else pause
            if not sent and queue and not queue[0][0] and not pause:
                sent = 1
                ctx.set(port.data.payload, self.beats[queue[0][1]])
            ctx.set(port.data.valid, sent)
            ctx.set(port.request.ready, len(queue) < 2 and not busy_for)
            ctx.set(port.idle, not queue)
