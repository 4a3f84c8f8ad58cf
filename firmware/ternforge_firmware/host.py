"""Driver of a board: the requests of the host port as calls."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ternforge.host.protocol import (
    NO_TOKEN,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    BootState,
    Command,
    ExternalCommand,
    MemoryState,
    step_tokens,
)
from ternforge.system import BAUD

from .image import Image
from .link import Link, damaged
from .transport import HostError, SerialTransport, Transport
from .upload import BLOCK_BYTES, upload

__all__ = ["Board", "Counters"]

SITES = ("product", "square", "rescale", "gate", "residual")


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What the core counts."""

    cycles: int  #: clock cycles of the last token
    saturations: dict[str, int]  #: events since the last reset, by site, at most 65535
    mantissa: int  #: ``max|v| / sqrt(sum of squares)`` of the last codes is
    exponent: int  #: ``mantissa * 2**exponent``
    fault: bool  #: the last step failed
    memory: MemoryState = MemoryState.READY  #: of an image memory off the chip
    boot: BootState = BootState.NONE  #: what came of filling it from flash


class Board(Link):
    """A core behind a host port.

    Requests are repeated when they came to the board damaged. An answer that is lost is asked for
    again, except that of a step: repeating it could feed a token twice.

    Parameters
    ----------
    transport : Transport
        Connection to the board; closed with :meth:`close` or at the end of a ``with`` block.
    timeout : float
        Seconds without any byte after which an answer is taken for lost.
    retries : int
        How often a request is repeated.

    Attributes
    ----------
    version, core
        As in :class:`~.link.Link`.

    Raises
    ------
    HostError
        If the board does not answer or speaks another version of the protocol. So do all methods,
        if the board falls silent.
    """

    def __init__(self, transport: Transport, *, timeout: float = 1.0, retries: int = 3):
        super().__init__(transport, timeout=timeout, retries=retries)

    @classmethod
    def open(cls, port: str, *, baud: int = BAUD, timeout: float = 1.0,
             retries: int = 3) -> "Board":
        """The board on a serial port, such as ``/dev/ttyUSB1``.

        Raises
        ------
        HostError
            If the port cannot be opened, or no board answers there.
        """
        transport = SerialTransport(port, baud)
        try:
            return cls(transport, timeout=timeout, retries=retries)
        except BaseException:
            transport.close()
            raise

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def load(self, memory: Image | Sequence[Any],
             progress: Callable[[int, int], object] | None = None, *, resume: bool = True,
             block_bytes: int = BLOCK_BYTES) -> int:
        """Fill the image memory from beat 0 up; returns how many beats were written.

        Beat 0, which tells an image from none, is made void first and written last: a board whose
        upload was interrupted answers, and refuses steps.

        Parameters
        ----------
        memory : Image or sequence
            An image, checked against the core, or its beats: ``lanes`` bytes each.
        progress : callable, optional
            Called with the beats done so far and all of them.
        resume : bool
            Leave out blocks that stand in the memory already. Only a memory off the chip can tell;
            it is also summed up before the image is made valid.
        block_bytes : int
            Size of such a block.

        Raises
        ------
        HostError, ImageError
            If the image is for another core or does not fit, or the memory does not keep it.
        """
        if isinstance(memory, Image):
            memory.check_core(self.core)
            beats = [bytes(beat) for beat in memory.memory()]
        else:
            beats = [bytes(beat) for beat in memory]
        return upload(self, beats, progress, resume=resume, block_bytes=block_bytes)

    def await_memory(self, patience: float = 5.0) -> MemoryState:
        """Ask until an image memory off the chip is set up and tested; what it says then.

        Without an answer in ``patience`` seconds it is still initialising.
        """
        until = time.monotonic() + patience
        while ((state := self.counters().memory) is MemoryState.INITIALISING
               and time.monotonic() < until):
            time.sleep(0.01)
        return state

    def reset(self) -> None:
        """Make the next step the first of a sequence: the recurrent state counts as zero."""
        self.request(Command.RESET)

    def step(self, tokens: Sequence[int]) -> int:
        """Feed ``tokens``, at least one; the token that the model predicts after the last.

        Raises
        ------
        HostError
            If there is no image, a token is outside of its vocabulary, or the answer is lost.
        """
        tokens = list(tokens)
        for token in tokens:
            if token not in range(NO_TOKEN):
                raise ValueError(f"a token must be in 0 to {NO_TOKEN - 1}, not {token!r}")
        if not tokens:
            raise ValueError("tokens must not be empty")
        size, answer = step_tokens(self.core.lanes), b""
        for start in range(0, len(tokens), size):
            content = b"".join(token.to_bytes(2, "little") for token in tokens[start:start + size])
            answer = self.request(Command.STEP, content, repeatable=False)
        if len(answer) != 2:
            raise self.malformed(Command.STEP)
        return int.from_bytes(answer, "little")

    def generate(self, count: int, *, prompt: Sequence[int] = (),
                 ) -> Generator[int, None, None]:
        """Feed the last prediction back, ``count`` times, and yield each new one.

        With a ``prompt`` a sequence starts with it, and the first of the ``count`` tokens is what
        the model predicts after it. The board goes on by itself; tokens come in groups. If the
        iterator is closed early, the core has read some tokens more than were yielded:
        :meth:`reset` comes next.
        """
        if prompt and count > 0:
            self.reset()
            yield self.step(prompt)
            count -= 1
        rest, failures = count, 0
        while rest > 0:
            chunk = min(rest, 1 << 16)
            sequence, request = self.frame(Command.GENERATE,
                                            (chunk & 0xFFFF).to_bytes(2, "little"))
            intact = self.deframer.damaged
            self.transport.write(request)
            refused = done = False
            try:
                while chunk:
                    reply = self.receive()
                    if reply is None or (damaged(reply) and reply.sequence == sequence):
                        # Damage on the way to the board ends a generation, but loses no token.
                        failures += 1
                        if not (refused or reply) or self.deframer.damaged != intact:
                            raise self.lost()
                        if failures > self.retries:
                            raise self.silent()
                        break
                    if damaged(reply):
                        refused = True
                    elif reply.sequence == sequence and reply.code & REFUSED:
                        raise self.refusal(reply)
                    elif reply.sequence == sequence:
                        if self.deframer.damaged != intact:
                            raise self.lost()
                        if reply.code != REPLY | Command.GENERATE.value or len(reply.payload) % 2:
                            raise self.malformed(Command.GENERATE)
                        for k in range(0, len(reply.payload), 2):
                            token = int.from_bytes(reply.payload[k:k + 2], "little")
                            if token == NO_TOKEN:
                                raise self.fault()
                            chunk, rest = chunk - 1, rest - 1
                            yield token
                else:
                    done = True
            finally:
                if not done:
                    self.received.clear()
                    self.abandon()

    def check(self, address: int, beats: int) -> int:
        """CRC-32 of neighbouring beats of an image memory off the chip; the board calculates it.

        Raises
        ------
        HostError
            If the image memory is on the chip, or ends before the beats.
        """
        if not self.external:
            raise HostError(f"the image memory of {self.transport.name} cannot be checked: it is "
                            "on the chip, and the board speaks version 1 of the host protocol")
        for value in (address, beats):
            if value not in range(1 << 24):
                raise ValueError(f"addresses of beats must be in 0 to 16777215, not {value}")
        answer = self.request(ExternalCommand.CHECK, address.to_bytes(3, "little")
                              + beats.to_bytes(3, "little"))
        if len(answer) != 4:
            raise self.malformed(ExternalCommand.CHECK)
        return int.from_bytes(answer, "little")

    def peek(self, address: int, count: int) -> list[int]:
        """``count`` elements of the vector RAM from ``address`` on, after the last step."""
        if address < 0 or count < 0 or address + count > self.core.vector_depth:
            raise ValueError(f"elements must be in 0 to {self.core.vector_depth - 1}, not "
                             f"{address} to {address + count - 1}")
        first, values = address - address % PEEK_BLOCK, []
        for block in range(first, address + count, PEEK_BLOCK):
            content = self.request(Command.PEEK, block.to_bytes(2, "little"))
            if len(content) != 4 * PEEK_BLOCK:
                raise self.malformed(Command.PEEK)
            values += [int.from_bytes(content[k:k + 4], "little", signed=True)
                       for k in range(0, len(content), 4)]
        return values[address - first:address - first + count]

    def counters(self) -> Counters:
        """Cycles of the last token, and what was counted since the last reset."""
        values = self.counter_values()
        exponent = values["exponent"]
        return Counters(cycles=values["cycles"], saturations={key: values[key] for key in SITES},
                        mantissa=values["mantissa"], fault=bool(values["fault"]),
                        memory=MemoryState(values.get("memory", 0) & 3),
                        boot=BootState(values.get("boot", 0)),
                        exponent=exponent - 256 if exponent > 127 else exponent)
