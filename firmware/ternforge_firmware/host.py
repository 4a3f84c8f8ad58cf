"""Driver of a board: the requests of the host port as calls."""

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ternforge.config import CoreConfig
from ternforge.host.protocol import (
    COUNTERS,
    INFO,
    NO_TOKEN,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    VERSION,
    Command,
    Deframer,
    Frame,
    Reason,
    capacity,
    step_tokens,
    unpack,
)
from ternforge_firmware.image import Image
from ternforge_firmware.transport import HostError, Transport

__all__ = ["Board", "Counters"]

WINDOW = 32  #: WRITE requests under way at a time, so that the latency of USB does not count
SITES = ("product", "square", "rescale", "gate", "residual")


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What the core counts."""

    cycles: int  #: clock cycles of the last token
    saturations: dict[str, int]  #: events since the last reset, by site, at most 65535
    mantissa: int  #: ``max|v| / sqrt(sum of squares)`` of the last codes is
    exponent: int  #: ``mantissa * 2**exponent``
    fault: bool  #: the last step failed


class Board:
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
    core : CoreConfig
        Size of the core, as far as it bounds an image.

    Raises
    ------
    HostError
        If the board does not answer or speaks another version of the protocol. So do all methods,
        if the board falls silent.
    """

    def __init__(self, transport: Transport, *, timeout: float = 1.0, retries: int = 3):
        self.transport, self.timeout, self.retries = transport, timeout, retries
        self._deframer = Deframer()
        self._received: list[Frame] = []
        self._sequence = 0
        info = self._request(Command.INFO)
        if info[:1] != bytes([VERSION]):
            raise HostError(f"{transport.name} speaks version {info[0] if info else 0} of the host "
                            f"protocol, this program version {VERSION}: load a bitstream built by "
                            "this version of ternforge")
        values: dict[str, Any] = self._unpack(INFO, info)
        del values["version"]
        try:
            self.core = CoreConfig(**values)
        except ValueError as error:
            raise HostError(f"{transport.name} describes a core that cannot be: {error}: load a "
                            "bitstream built by this version of ternforge") from None

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def load(self, memory: Image | Sequence[Any],
             progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the image memory from beat 0 up.

        Parameters
        ----------
        memory : Image or sequence
            An image, checked against the core, or its beats: ``lanes`` bytes each.
        progress : callable, optional
            Called with the beats written so far and all of them.

        Raises
        ------
        HostError, ImageError
            If the image is for another core or does not fit.
        """
        if isinstance(memory, Image):
            memory.check_core(self.core)
            beats = [bytes(beat) for beat in memory.memory()]
        else:
            beats = [bytes(beat) for beat in memory]
        lanes = {len(beat) for beat in beats} - {self.core.lanes}
        if lanes:
            raise HostError(f"the image is packed for a core with lanes={lanes.pop()}, but the one "
                            f"on {self.transport.name} has lanes={self.core.lanes}")
        if len(beats) > self.core.memory_beats:
            raise HostError(f"the image has {len(beats)} beats, "
                            f"{len(beats) - self.core.memory_beats} more than the image memory of "
                            f"{self.transport.name}")
        # Writes name their address: they may come twice and in any order.
        todo = list(enumerate(beats))[::-1]
        flying: dict[int, tuple[int, bytes]] = {}
        written = failures = 0
        while todo or flying:
            batch = b""
            while todo and len(flying) < WINDOW:
                address, beat = todo.pop()
                sequence, request = self._frame(Command.WRITE,
                                                address.to_bytes(3, "little") + beat)
                flying[sequence] = address, beat
                batch += request
            if batch:
                self.transport.write(batch)
            reply = self._receive()
            if reply is not None and reply.code == REPLY | Command.WRITE.value:
                if flying.pop(reply.sequence, None):
                    written, failures = written + 1, 0
                    if progress is not None:
                        progress(written, len(beats))
            elif reply is None or _damaged(reply):
                failures += 1
                # One damaged request may cause several refusals; wait until the line is quiet.
                while reply is not None:
                    reply = self._receive(self.timeout / 10)
                    if reply is not None and reply.code == REPLY | Command.WRITE.value:
                        written += flying.pop(reply.sequence, None) is not None
                if failures > self.retries:
                    raise self._silent()
                todo += sorted(flying.values(), reverse=True)
                flying.clear()
            elif reply.code & REFUSED and reply.sequence in flying:
                raise self._refusal(reply)

    def reset(self) -> None:
        """Make the next step the first of a sequence: the recurrent state counts as zero."""
        self._request(Command.RESET)

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
            answer = self._request(Command.STEP, content, repeatable=False)
        if len(answer) != 2:
            raise self._malformed(Command.STEP)
        return int.from_bytes(answer, "little")

    def generate(self, count: int) -> Generator[int, None, None]:
        """Feed the last prediction back, ``count`` times, and yield each new one.

        The board goes on by itself; tokens come in groups. If the iterator is closed early, the
        core has read some tokens more than were yielded: :meth:`reset` comes next.
        """
        rest, failures = count, 0
        while rest > 0:
            chunk = min(rest, 1 << 16)
            sequence, request = self._frame(Command.GENERATE,
                                            (chunk & 0xFFFF).to_bytes(2, "little"))
            intact = self._deframer.damaged
            self.transport.write(request)
            refused = done = False
            try:
                while chunk:
                    reply = self._receive()
                    if reply is None or (_damaged(reply) and reply.sequence == sequence):
                        # Damage on the way to the board ends a generation, but loses no token.
                        failures += 1
                        if not (refused or reply) or self._deframer.damaged != intact:
                            raise self._lost()
                        if failures > self.retries:
                            raise self._silent()
                        break
                    if _damaged(reply):
                        refused = True
                    elif reply.sequence == sequence and reply.code & REFUSED:
                        raise self._refusal(reply)
                    elif reply.sequence == sequence:
                        if self._deframer.damaged != intact:
                            raise self._lost()
                        if reply.code != REPLY | Command.GENERATE.value or len(reply.payload) % 2:
                            raise self._malformed(Command.GENERATE)
                        for k in range(0, len(reply.payload), 2):
                            token = int.from_bytes(reply.payload[k:k + 2], "little")
                            if token == NO_TOKEN:
                                raise self._fault()
                            chunk, rest = chunk - 1, rest - 1
                            yield token
                else:
                    done = True
            finally:
                if not done:
                    self._received.clear()
                    self._abandon()

    def peek(self, address: int, count: int) -> list[int]:
        """``count`` elements of the vector RAM from ``address`` on, after the last step."""
        if address < 0 or count < 0 or address + count > self.core.vector_depth:
            raise ValueError(f"elements must be in 0 to {self.core.vector_depth - 1}, not "
                             f"{address} to {address + count - 1}")
        first, values = address - address % PEEK_BLOCK, []
        for block in range(first, address + count, PEEK_BLOCK):
            content = self._request(Command.PEEK, block.to_bytes(2, "little"))
            if len(content) != 4 * PEEK_BLOCK:
                raise self._malformed(Command.PEEK)
            values += [int.from_bytes(content[k:k + 4], "little", signed=True)
                       for k in range(0, len(content), 4)]
        return values[address - first:address - first + count]

    def counters(self) -> Counters:
        """Cycles of the last token, and what was counted since the last reset."""
        values = self._unpack(COUNTERS, self._request(Command.COUNTERS))
        exponent = values["exponent"]
        return Counters(cycles=values["cycles"], saturations={key: values[key] for key in SITES},
                        mantissa=values["mantissa"], fault=bool(values["fault"]),
                        exponent=exponent - 256 if exponent > 127 else exponent)

    def _frame(self, command: Command, payload: bytes) -> tuple[int, bytes]:
        self._sequence = (self._sequence + 1) % 256
        return self._sequence, Frame(command.value, self._sequence, payload).to_bytes()

    def _receive(self, timeout: float | None = None) -> Frame | None:
        """The next frame; None if the line is silent."""
        while not self._received:
            content = self.transport.read(self.timeout if timeout is None else timeout)
            self._received += self._deframer.feed(content) if content else self._deframer.flush()
            if not content and not self._received:
                return None
        return self._received.pop(0)

    def _request(self, command: Command, payload: bytes = b"", *,
                 repeatable: bool = True) -> bytes:
        """Payload of the answer."""
        reply, refused = None, False
        for _ in range(self.retries + 1):
            sequence, request = self._frame(command, payload)
            refused, intact = False, self._deframer.damaged
            self.transport.write(request)
            while (reply := self._receive()) is not None:
                if reply.sequence != sequence:  # of an earlier request, or ours was damaged
                    refused |= _damaged(reply)
                    continue
                if reply.code == REPLY | command.value:
                    return reply.payload
                if _damaged(reply):
                    break
                if reply.code & REFUSED:
                    raise self._refusal(reply)
            # Silence after a refusal means that the board did nothing, if no answer came damaged.
            if reply is None and not repeatable and (
                    not refused or self._deframer.damaged != intact):
                raise self._lost()
        raise self._silent() if reply is None and not refused else self._noisy()

    def _abandon(self) -> None:
        """End a generation, whatever the state of the link."""
        with suppress(HostError):  # another error is on its way
            self._request(Command.STOP)

    def _unpack(self, fields: dict[str, int], payload: bytes) -> dict[str, int]:
        try:
            return unpack(fields, payload)
        except ValueError:
            raise HostError(f"{self.transport.name} sent an answer of a wrong length: load a "
                            "bitstream built by this version of ternforge") from None

    def _silent(self) -> HostError:
        return HostError(f"{self.transport.name} does not answer: check that the bitstream is "
                         "loaded, the cable, and the baud rate")

    def _noisy(self) -> HostError:
        return HostError(f"requests come damaged to {self.transport.name}: check the baud rate and "
                         "the cable")

    def _lost(self) -> HostError:
        return HostError(f"an answer of {self.transport.name} was lost, so that the state of the "
                         "sequence is unknown: reset and start again")

    def _fault(self) -> HostError:
        return HostError(f"{self.transport.name} refused a step: it has no image, or a token is "
                         "outside of the image's vocabulary")

    def _malformed(self, command: Command) -> HostError:
        return HostError(f"{self.transport.name} sent a malformed answer to {command.name}: load a "
                         "bitstream built by this version of ternforge")

    def _refusal(self, reply: Frame) -> HostError:
        reason = reply.code & 7
        if reason == Reason.FAULT.value:
            return self._fault()
        what = {Reason.LENGTH.value: "its length", Reason.COMMAND.value: "its command"}
        return HostError(f"{self.transport.name} refused a request for "
                         f"{what.get(reason, f'reason {reason}')}: load a bitstream built by this "
                         f"version of ternforge (longest payload: {capacity(self.core.lanes)})")


def _damaged(reply: Frame) -> bool:
    """Whether the board got a damaged frame and did nothing."""
    return reply.code in (REPLY | REFUSED | Reason.CRC.value, REPLY | REFUSED | Reason.LENGTH.value)
