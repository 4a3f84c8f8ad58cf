"""What a host port does with any bytes: a model, for the fuzzing of the host link."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from zlib import crc32

from ternforge.config import CoreConfig
from ternforge.host.crc import crc16
from ternforge.host.protocol import (
    COUNTERS,
    EXTERNAL_COUNTERS,
    INFO,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    SYNC,
    TOKENS_PER_FRAME,
    Command,
    ExternalCommand,
    Frame,
    Reason,
    capacity,
    info_values,
    pack,
    request_lengths,
)
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Program
from ternforge_model.toy import random_program

__all__ = ["CORE", "OUTSIDE", "Receiver", "core_image"]

CORE = CoreConfig(lanes=4, elements=2, vector_depth=64, state_depth=16, max_rows=32,
                  max_fan_in=32, memory_beats=512)
OUTSIDE = replace(CORE, bank_beats=0)  #: the same with its image memory off the chip


def _program() -> Program:
    return random_program(5, d=8, layers=1, m=16, vocab=16)


def core_image() -> list[int]:
    """Beats of the image that the port's core has."""
    return [int.from_bytes(beat.tobytes(), "little") for beat in lower(_program(), CORE).memory()]


class Receiver:
    """What a host port does with any bytes: the frames that it answers, and how.

    Parameters
    ----------
    beats : dict of int to bytes
        The image, which stands in the memory.
    core : CoreConfig
        :data:`CORE` or :data:`OUTSIDE`.

    Attributes
    ----------
    fed : tuple of int
        Tokens of the sequence so far.
    accepted : int
        Requests that were carried out.
    """

    def __init__(self, beats: dict[int, bytes], core: CoreConfig = CORE):
        self.core, self._external = core, not core.bank_beats
        self._counters = EXTERNAL_COUNTERS if self._external else COUNTERS
        self.fed: tuple[int, ...] = ()
        self.last = 0  # the token that GENERATE feeds
        self.accepted = 0
        self.sequence = 0
        self.starts = True
        self._beats = beats
        self._model = IntegerModel(_program())
        self._known: dict[tuple[int, ...], tuple[int, Any]] = {}
        self._rest = b""

    def reset(self) -> None:
        """The reset pin: half a frame, sequence and token are forgotten."""
        self._rest, self.last, self.sequence, self.starts = b"", 0, 0, True

    def pause(self) -> None:
        """Half a frame is dropped."""
        self._rest = b""

    def feed(self, content: bytes) -> Iterator[tuple[Frame, bool]]:
        """Answers, and whether their payload is known."""
        rest = self._rest + content
        while True:
            start = rest.find(SYNC)
            rest = rest[start:] if start >= 0 else b""
            if len(rest) < 2:
                break
            if rest[1] > capacity(CORE.lanes, external=self._external):
                rest = rest[2:]
                yield self._refuse(Reason.LENGTH), True
                continue
            size = rest[1] + 6
            if len(rest) > 2:
                self.sequence = rest[2]
            if len(rest) < size:
                break
            frame, rest = rest[:size], rest[size:]
            yield from self._carry_out(frame)
        self._rest = rest

    def _refuse(self, reason: Reason) -> Frame:
        return Frame(REPLY | REFUSED | reason.value, self.sequence)

    def _reply(self, code: int, payload: bytes = b"") -> Frame:
        return Frame(REPLY | code, self.sequence, payload)

    def _carry_out(self, frame: bytes) -> Iterator[tuple[Frame, bool]]:
        code, payload = frame[3], frame[4:-2]
        if crc16(frame[1:]):
            yield self._refuse(Reason.CRC), True
            return
        if code > (ExternalCommand.CHECK.value if self._external else 7):
            yield self._refuse(Reason.COMMAND), True
            return
        command = Command(code) if code <= 7 else ExternalCommand(code)
        if len(payload) not in request_lengths(command, CORE.lanes, external=self._external):
            yield self._refuse(Reason.LENGTH), True
            return
        self.accepted += 1
        if isinstance(command, ExternalCommand):
            start, count = (int.from_bytes(payload[k:k + 3], "little") for k in (0, 3))
            yield self._reply(code, crc32(self._stored(start, count)).to_bytes(4, "little")), True
            return
        if command is Command.INFO:
            yield self._reply(code, pack(INFO, info_values(self.core))), True
        elif command is Command.WRITE:
            address = int.from_bytes(payload[:3], "little")
            content = self._stored(address, len(payload[3:]) // CORE.lanes)
            assert content == payload[3:], "no request writes anything else"
            yield self._reply(code), True
        elif command is Command.RESET:
            self.starts = True
            yield self._reply(code), True
        elif command is Command.STEP:
            token = None
            for k in range(0, len(payload), 2):
                token = self._step(int.from_bytes(payload[k:k + 2], "little"))
                if token is None:
                    yield self._refuse(Reason.FAULT), True
                    return
            assert token is not None
            yield self._reply(code, token.to_bytes(2, "little")), True
        elif command is Command.GENERATE:
            count, tokens = int.from_bytes(payload, "little"), []
            for _ in range(count):
                token = self._step(self.last)
                assert token is not None
                tokens.append(token)
            for k in range(0, count, TOKENS_PER_FRAME):
                yield self._reply(code, b"".join(
                    token.to_bytes(2, "little") for token in tokens[k:k + TOKENS_PER_FRAME])), True
        elif command is Command.PEEK:
            yield self._reply(code, bytes(4 * PEEK_BLOCK)), False
        elif command is Command.COUNTERS:
            yield self._reply(code, bytes(sum(self._counters.values()))), False
        else:
            yield self._reply(code), True

    def _stored(self, start: int, count: int) -> bytes:
        return b"".join(self._beats[place] for place in range(start, start + count))

    def _step(self, token: int) -> int | None:
        """Prediction after a token; None outside of the vocabulary, which changes no state."""
        before = () if self.starts else self.fed
        if token >= self._model.program.vocab_size:
            self.last, self.starts = 0xFFFF, False
            self.fed = before
            return None
        self.fed, self.starts = (*before, token), False
        if self.fed not in self._known:
            state = self._known[before][1] if before else None
            result = self._model.step(token, state)
            self._known[self.fed] = int(result.tokens[-1]), result.state
        self.last = self._known[self.fed][0]
        return self.last
