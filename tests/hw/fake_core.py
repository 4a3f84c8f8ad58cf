"""A core that is quick to simulate, and a driver's transport into the simulator."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from zlib import crc32

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.config import CoreConfig
from ternforge.core.core import status_signature, step_layout
from ternforge.host.port import HostPort
from ternforge.host.uart import Uart
from ternforge.mem.onchip import memory_write
from ternforge_firmware.transport import Transport
from ternforge_sim.bench import get, no_pause, put, simulate

__all__ = ["STATUS", "Bench", "FakeCore", "peeked", "predict", "run_bytes", "run_driver"]

#: What the fake core reports; the cycles are those of its latency.
STATUS = {"saturations": [1, 2, 0x300, 4, 0xFFFF], "mantissa": 0xABCD, "exponent": -9}


def predict(tokens: list[int], state: int = 0) -> int:
    """State after ``tokens``; the lower 12 bits are the prediction."""
    for token in tokens:
        state = (state * 5 + token + 1) & 0xFFFF
    return state


def peeked(address: int) -> int:
    """Element of the vector RAM."""
    value = (address * 74_565 + 0x700000) & 0xFFFFFF
    return value - ((value & 0x800000) << 1)


class FakeCore(wiring.Component):
    """Predicts a token ``latency`` cycles after a step; refuses tokens from 0xFF00 on.

    ``fault_from``: number of the step in a sequence from which on all steps fail.
    """

    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Signal
    write: data.View
    status: Any

    def __init__(self, config: CoreConfig, latency: int, fault_from: int = 1 << 15):
        self.latency, self.fault_from = latency, fault_from
        super().__init__({
            "tokens": In(stream.Signature(step_layout())), "result": Out(stream.Signature(16)),
            "peek_address": In(16), "peek_data": Out(signed(24)),
            "write": In(memory_write(config.beat_bits)), "status": Out(status_signature()),
        })

    def elaborate(self, platform):
        m = Module()
        state, steps, busy, wait = Signal(16), Signal(16), Signal(), Signal(16)
        address = Signal(16)
        m.d.sync += [address.eq(self.peek_address),
                     self.peek_data.eq(address * 74_565 + 0x700000)]
        m.d.comb += [
            self.tokens.ready.eq(~busy & ~self.result.valid),
            self.status.busy.eq(busy | self.result.valid), self.status.cycles.eq(self.latency),
            self.status.ratio.mantissa.eq(STATUS["mantissa"]),
            self.status.ratio.exponent.eq(STATUS["exponent"]),
            *(self.status.saturations[k].eq(value)
              for k, value in enumerate(STATUS["saturations"])),
        ]
        with m.If(self.tokens.valid & self.tokens.ready):
            m.d.sync += [busy.eq(1), wait.eq(self.latency - 1), self.status.fault.eq(0),
                         steps.eq(Mux(self.tokens.p.reset, 1, steps + 1))]
            with m.If((self.tokens.p.token < 0xFF00) &
                      (self.tokens.p.reset | (steps < self.fault_from))):
                m.d.sync += state.eq(Mux(self.tokens.p.reset, 0, state * 5)
                                     + self.tokens.p.token + 1)
            with m.Else():
                m.d.sync += [wait.eq(0), self.status.fault.eq(1)]
        with m.If(busy):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.sync += [busy.eq(0), self.result.valid.eq(~self.status.fault),
                             self.result.payload.eq(state & 0xFFF)]
        with m.If(self.result.valid & self.result.ready):
            m.d.sync += self.result.valid.eq(0)
        return m


class Bench(wiring.Component):
    """Host port and fake core; with a ``divisor``, two serial lines lie in between.

    With an image memory off the chip, ``memory_state`` is what it says of itself, and ``pause``
    gives the cycles that it lets a write or a sum wait.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, config: CoreConfig, *, latency: int = 20, fault_from: int = 1 << 15,
                 timeout: int = 4096, divisor: int | None = None):
        self.config, self.divisor = config, divisor
        self.memory_state, self.pause = 0, no_pause
        self.core = FakeCore(config, latency, fault_from)
        self.port = HostPort(config, timeout)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.port = port = self.port
        m.submodules.core = core = self.core
        connect(m, port.tokens, core.tokens)
        connect(m, port.result, core.result)
        connect(m, port.status, core.status)
        m.d.comb += [core.peek_address.eq(port.peek_address), port.peek_data.eq(core.peek_data)]
        if self.config.bank_beats:
            m.d.comb += core.write.eq(port.write)
        if self.divisor is None:
            connect(m, flipped(self.i), port.i)
            connect(m, port.o, flipped(self.o))
        else:
            m.submodules.board = board = Uart(self.divisor)
            m.submodules.host = host = Uart(self.divisor)
            connect(m, board.o, port.i)
            connect(m, port.o, board.i)
            connect(m, flipped(self.i), host.i)
            connect(m, host.o, flipped(self.o))
            m.d.comb += [board.rx.eq(host.tx), host.rx.eq(board.tx)]
        return m

    def recorder(self, memory: dict[int, int]):
        """A simulator process that keeps the writes to the image memory."""
        async def record(ctx):
            write = self.port.write
            async for _, _, enable, address, beat in ctx.tick().sample(
                    write.enable, write.address, write.data):
                if enable:
                    memory[address] = beat

        async def serve(ctx):
            port, lanes = self.port, self.config.lanes
            wait = self.pause()
            async for _, _, write, ready, payload, check, beats, sent, taken in ctx.tick().sample(
                    port.write.valid, port.write.ready, port.write.payload, port.check.valid,
                    port.check.payload, port.sum.valid, port.sum.ready):
                if write and ready:
                    memory[payload.address] = payload.data
                if (write and ready) or (sent and taken):
                    wait = self.pause()
                wait = max(0, wait - (write or check))
                content = b"".join(memory.get(beats.address + n, 0).to_bytes(lanes, "little")
                                   for n in range(beats.beats if check else 0))
                ctx.set(port.write.ready, write and not ready and not wait)
                ctx.set(port.sum.valid, check and not (sent and taken) and not wait)
                ctx.set(port.sum.payload, crc32(content))
                ctx.set(port.memory_state, self.memory_state)
        return record if self.config.bank_beats else serve


def run_bytes(bench: Bench, requests: list[bytes], replies: int,
              pauses: tuple[Callable[[], int], Callable[[], int]] = (no_pause, no_pause),
              gap: int = 0) -> tuple[bytes, dict[int, int]]:
    """Send ``requests``, ``gap`` cycles apart; the ``replies`` bytes that come, and the writes."""
    received: list[int] = []
    memory: dict[int, int] = {}

    async def host(ctx):
        for request in requests:
            await put(ctx, bench.i, request, pauses[0])
            if gap:
                await ctx.tick().repeat(gap)

    async def listen(ctx):
        received.extend(await get(ctx, bench.o, replies, pauses[1]))

    simulate(bench, host, listen, processes=[bench.recorder(memory)])
    return bytes(received), memory


class BenchTransport(Transport):
    """A driver's bytes, into the simulator; a second without an answer is ``second`` cycles.

    The simulation only runs while the driver waits, so that each run is the same.
    """

    name = "the bench"

    def __init__(self, second: int):
        self.second = second
        self.to_board: deque[int] = deque()
        self.from_board = bytearray()
        self.limit = 0
        self.waits, self.goes = threading.Semaphore(0), threading.Semaphore(0)
        self.done = False

    def write(self, content: bytes) -> None:
        self.to_board += content

    def read(self, timeout: float) -> bytes:
        if not self.from_board:
            self.limit = int(timeout * self.second)
            self.waits.release()
            assert self.goes.acquire(timeout=60)
        content = bytes(self.from_board)
        self.from_board.clear()
        return content

    def close(self) -> None:
        pass


def run_driver(bench: Bench, driver: Callable[[BenchTransport], None], second: int = 8000,
               ) -> dict[int, int]:
    """Run ``driver`` against the simulated port; the writes to the image memory."""
    transport = BenchTransport(second)
    memory: dict[int, int] = {}
    errors: list[BaseException] = []

    def run():
        try:
            driver(transport)
        except BaseException as error:
            errors.append(error)
        finally:
            transport.done = True
            transport.waits.release()

    thread = threading.Thread(target=run, daemon=True)

    async def host(ctx):
        thread.start()
        ctx.set(bench.o.ready, 1)
        while True:
            assert transport.waits.acquire(timeout=60)
            if transport.done:
                return
            silent = 0
            while silent < transport.limit and not (transport.from_board and silent > 0):
                ctx.set(bench.i.valid, bool(transport.to_board))
                if transport.to_board:
                    ctx.set(bench.i.payload, transport.to_board[0])
                _, _, taken, valid, byte = await ctx.tick().sample(
                    bench.i.ready & bench.i.valid, bench.o.valid, bench.o.payload)
                silent += 1
                if taken:
                    transport.to_board.popleft()
                    silent = 0
                if valid:
                    transport.from_board.append(byte)
                    silent = 0
            transport.goes.release()

    simulate(bench, host, processes=[bench.recorder(memory)], max_cycles=1_000_000)
    thread.join()
    if errors:
        raise errors[0]
    return memory
