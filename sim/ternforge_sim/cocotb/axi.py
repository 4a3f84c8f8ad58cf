"""Both ends of an AXI system: a memory with latency and errors, and a host that knows registers."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiReadBus, AxiResp, AxiSlaveRead

from ternforge.host.registers import register
from ternforge.mem.axi4 import PAGE

__all__ = ["Host", "Refused", "SlowMemory", "pauses"]


def pauses(rng: Random, share: float) -> Iterator[bool]:
    """For ever: whether a channel pauses, in ``share`` of the cycles."""
    while True:
        yield rng.random() < share


def quiet(*models: Any) -> None:
    """Keep transfers out of the log, of which they would be nearly all."""
    for model in models:
        model.log.setLevel(logging.WARNING)


class SlowMemory(AxiSlaveRead):
    """Answers each word ``latency()`` cycles after its burst, or later; checks the bursts.

    Parameters
    ----------
    dut
        The top module.
    prefix : str
        Of the port.
    contents : mapping of int to bytes
        Regions by address; all else reads as 0.
    latency : callable
        Gives the cycles from a burst to its first word.

    Attributes
    ----------
    responses : dict of int to AxiResp
        For words that answer with an error, by address; only until the first such answer.
    bursts : list of (int, int)
        Address and bytes of each.
    most : int
        Most bursts that were under way together.
    refused : int
        Words that answered with an error.
    """

    def __init__(self, dut, prefix: str, contents: Mapping[int, bytes],
                 latency: Callable[[], int]):
        super().__init__(AxiReadBus.from_prefix(dut, prefix), dut.clk, dut.rst)
        self.contents, self.latency = contents, latency
        self.responses: dict[int, AxiResp] = {}
        self.bursts: list[tuple[int, int]] = []
        self.most = self.refused = 0
        self._cycle, self._due, self._under_way = 0, deque(), 0
        self._response = AxiResp.OKAY
        self.ar_channel.queue_occupancy_limit = 64
        self._send = self.r_channel.send
        self.r_channel.send = self._answer
        quiet(self, self.ar_channel, self.r_channel)

    def watch(self) -> None:
        """From now on, check and count the bursts, and answer them; once, after the reset."""
        cocotb.start_soon(self._bursts(self.clock))

    async def _bursts(self, clock) -> None:
        """Watch both channels at the rising edge to come."""
        ar, r, waiting = self.bus.ar, self.bus.r, None
        while True:
            await ReadOnly()
            if waiting is not None or ar.arvalid.value:
                waiting = self._burst(waiting)
            if r.rvalid.value and r.rready.value and r.rlast.value:
                self._under_way -= 1
            await FallingEdge(clock)
            self._cycle += 1

    def _burst(self, waiting: tuple[int, ...] | None) -> tuple[int, ...] | None:
        """Look at the address channel; returns the burst that it offers on, if it was not taken."""
        ar = self.bus.ar
        burst = tuple(int(getattr(ar, name).value) for name in (
            "araddr", "arlen", "arid", "arsize", "arburst", "arlock", "arcache", "arprot"))
        valid = bool(ar.arvalid.value)
        assert waiting is None or (valid and burst == waiting), "a burst must stand until taken"
        if not ar.arready.value:
            return burst
        size = self.byte_lanes * (burst[1] + 1)
        assert burst[0] // PAGE == (burst[0] + size - 1) // PAGE, "a burst crosses a page"
        assert burst[2:] == (0, self.max_burst_size, 1, 0, 3, 0)
        self.bursts.append((burst[0], size))
        self._due.extend([self._cycle + self.latency()] * (burst[1] + 1))
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        return None

    async def _read(self, address: int, length: int) -> bytes:
        while not self._due or self._cycle < self._due[0]:
            await FallingEdge(self.clock)
        self._due.popleft()
        self._response = self.responses.get(address, AxiResp.OKAY)
        for base, content in self.contents.items():
            if base <= address < base + len(content):
                return content[address - base:][:length].ljust(length, b"\0")
        return bytes(length)

    async def _answer(self, word: Any) -> None:
        word.rresp = self._response
        if self._response != AxiResp.OKAY:
            word.rdata = 0
            self.refused += 1
        await self._send(word)


class Refused(Exception):
    """The core answered SLVERR."""


class Host:
    """Reads and writes registers by name.

    Parameters
    ----------
    dut
        The top module.
    prefix : str
        Of the port.
    """

    def __init__(self, dut, prefix: str):
        self.master: Any = AxiLiteMaster(AxiLiteBus.from_prefix(dut, prefix), dut.clk, dut.rst)
        write, read = self.master.write_if, self.master.read_if
        self._channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                          read.r_channel)
        quiet(write, read, *self._channels)

    def slow(self, rng: Random, share: float) -> None:
        """All five channels pause in ``share`` of the cycles, each by itself."""
        for channel in self._channels:
            channel.set_pause_generator(pauses(rng, share))

    async def poke(self, address: int, content: bytes) -> None:
        """Write bytes; :class:`Refused` unless all goes well."""
        answer = await self.master.write(address, content)
        if answer.resp != AxiResp.OKAY:
            assert answer.resp == AxiResp.SLVERR
            raise Refused(hex(address))

    async def write(self, name: str, **fields: int) -> None:
        """Write a register, with the fields that are not named 0."""
        entry = register(name)
        await self.poke(entry.offset, entry.pack(**fields).to_bytes(4, "little"))

    async def word(self, address: int) -> int:
        """Read 32 bits; :class:`Refused` unless all goes well."""
        answer = await self.master.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            assert answer.resp == AxiResp.SLVERR
            raise Refused(hex(address))
        return int.from_bytes(answer.data, "little")

    async def read(self, name: str) -> dict[str, int]:
        """Fields of a register."""
        entry = register(name)
        return entry.unpack(await self.word(entry.offset))

    async def value(self, name: str) -> int:
        """A register with a single field."""
        (value,) = (await self.read(name)).values()
        return value

    async def result(self) -> dict[str, int]:
        """Wait for the next result."""
        while not (found := await self.read("RESULT"))["valid"]:
            pass
        return found

    async def finish(self) -> None:
        """Wait until all is done."""
        while (await self.read("STATUS"))["busy"]:
            pass
