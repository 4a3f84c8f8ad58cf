"""Frames between host and core: one definition for the host port, the driver and the docs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amaranth.lib import enum

from ternforge.config import CoreConfig
from ternforge.host.crc import crc16

__all__ = ["BAUD", "COUNTERS", "EXTERNAL_COUNTERS", "EXTERNAL_VERSION", "INFO", "NO_TOKEN",
           "PEEK_BLOCK", "REFUSED", "REPLY", "SYNC", "TOKENS_PER_FRAME", "VERSION", "BootState",
           "Command", "Deframer", "ExternalCommand", "Frame", "MemoryState", "Reason", "capacity",
           "counter_fields", "info_values", "pack", "request_lengths", "step_tokens", "unpack",
           "write_beats"]

VERSION = 1  #: of the protocol; the first byte of an INFO reply, whatever the version
EXTERNAL_VERSION = 3  #: the same where the image memory is off the chip
BAUD = 1_000_000  #: symbols per second of the serial line, unless a board has another rate
SYNC = 0xA5  #: first byte of a frame
REPLY = 0x80  #: set in the code of a reply
REFUSED = 0x40  #: set, beside REPLY, in the code of a refusal; the low bits are a :class:`Reason`
PEEK_BLOCK = 32  #: vector elements in one PEEK reply, from an address that is a multiple of it
TOKENS_PER_FRAME = 8  #: most tokens in one GENERATE reply
NO_TOKEN = 0xFFFF  #: stands for a token that the core could not compute


class Command(enum.Enum, shape=3):
    """What a request asks for."""

    INFO = 0  #: protocol version and size of the core
    WRITE = 1  #: write a beat of the image memory, or several off the chip
    RESET = 2  #: the next step starts a sequence
    STEP = 3  #: feed tokens, answer with the prediction after the last
    GENERATE = 4  #: feed each prediction back, answer with all of them
    PEEK = 5  #: read a block of the vector RAM
    COUNTERS = 6  #: read cycle and saturation counters
    STOP = 7  #: nothing; like any request, it ends a GENERATE under way


class ExternalCommand(enum.Enum, shape=4):
    """What a request may ask for besides, where the image memory is off the chip."""

    CHECK = 8  #: CRC-32 of neighbouring beats of the image memory


class MemoryState(enum.Enum, shape=2):
    """What an image memory off the chip says of itself; the last two stay until a reset."""

    READY = 0  #: reads and writes are served
    INITIALISING = 1  #: not yet
    FAILED = 2  #: its training or its test failed
    BUS_ERROR = 3  #: it answered a read or write with an error


class BootState(enum.Enum, shape=3):
    """What came of filling the image memory from flash, after the last reset."""

    NONE = 0  #: it was not tried: there is no flash to boot from, or the memory cannot be used
    DONE = 1  #: the image memory was filled
    BLANK = 2  #: there is no image in the flash
    FOREIGN = 3  #: it is for another core, or of another version
    DAMAGED = 4  #: it is damaged or cut short


class Reason(enum.Enum, shape=3):
    """Why a request was refused. None of its effects took place, except after FAULT."""

    CRC = 0  #: the check sum is wrong
    LENGTH = 1  #: the command does not go with this payload length
    COMMAND = 2  #: the command is unknown
    FAULT = 3  #: no image in memory, a token outside of its vocabulary, or no memory
    RANGE = 4  #: beats beyond the end of an image memory off the chip


#: INFO reply, in order: field and bytes, little-endian.
INFO = {"version": 1, "lanes": 1, "elements": 1, "memory_beats": 3, "vector_depth": 2,
        "state_depth": 2, "max_rows": 2, "max_fan_in": 2}

#: COUNTERS reply, in order: field and bytes, little-endian. ``exponent`` is signed.
COUNTERS = {"cycles": 4, "product": 2, "square": 2, "rescale": 2, "gate": 2, "residual": 2,
            "mantissa": 2, "exponent": 1, "fault": 1}

#: The same where the image memory is off the chip. ``memory`` is a :class:`MemoryState`.
EXTERNAL_COUNTERS = {**COUNTERS, "memory": 1}


def counter_fields(*, external: bool, boots: bool) -> dict[str, int]:
    """COUNTERS reply of a board: ``boots`` says whether it can fill its memory from flash."""
    return {**(EXTERNAL_COUNTERS if external else COUNTERS), **({"boot": 1} if boots else {})}


def write_beats(lanes: int, *, external: bool) -> int:
    """Most beats in one WRITE: as many as the length byte allows, if the memory is off the chip."""
    return max(1, 252 // lanes) if external else 1


def capacity(lanes: int, *, external: bool = False) -> int:
    """Longest payload of a request in bytes: the address and data of one WRITE."""
    return lanes * write_beats(lanes, external=external) + 3


def step_tokens(lanes: int) -> int:
    """Most tokens in one STEP request."""
    return capacity(lanes) // 2


def request_lengths(command: Command | ExternalCommand, lanes: int, *,
                    external: bool = False) -> range:
    """Payload lengths in bytes that go with a request.

    >>> request_lengths(Command.STEP, 8)
    range(2, 12, 2)
    """
    if command is Command.WRITE:
        return range(lanes + 3, capacity(lanes, external=external) + 1, lanes)
    if command is Command.STEP:
        return range(2, capacity(lanes) + 1, 2)
    if command in (Command.GENERATE, Command.PEEK):
        return range(2, 3)
    if command is ExternalCommand.CHECK:
        return range(6, 7)
    return range(1)


def info_values(config: CoreConfig) -> dict[str, int]:
    """Values of the INFO fields for a core.

    Raises
    ------
    ValueError
        If a size does not fit its field.
    """
    version = VERSION if config.bank_beats else EXTERNAL_VERSION
    values = {"version": version, **{name: getattr(config, name) for name in list(INFO)[1:]}}
    for name, size in INFO.items():
        if values[name] >= 1 << 8 * size:
            raise ValueError(f"CoreConfig.{name} must fit in {size} bytes for a host port, not "
                             f"{values[name]}")
    return values


def pack(fields: dict[str, int], values: dict[str, int]) -> bytes:
    """Payload of the layout ``fields``, such as :data:`INFO`."""
    return b"".join((values[name] & (1 << 8 * size) - 1).to_bytes(size, "little")
                    for name, size in fields.items())


def unpack(fields: dict[str, int], payload: bytes) -> dict[str, int]:
    """Unsigned values in a payload of the layout ``fields``.

    Raises
    ------
    ValueError
        If the length is wrong.
    """
    if len(payload) != sum(fields.values()):
        raise ValueError(f"payload must have {sum(fields.values())} bytes, not {len(payload)}")
    values, start = {}, 0
    for name, size in fields.items():
        values[name] = int.from_bytes(payload[start:start + size], "little")
        start += size
    return values


@dataclass(frozen=True)
class Frame:
    """A request or a reply."""

    code: int  #: command of a request; with REPLY and perhaps REFUSED set in a reply
    sequence: int  #: chosen by the host, 0 to 255; the reply repeats it
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """The frame on the wire.

        >>> Frame(Command.STEP.value, 1, (72).to_bytes(2, "little")).to_bytes().hex(" ")
        'a5 02 01 03 48 00 32 2f'
        """
        body = bytes([len(self.payload), self.sequence, self.code]) + self.payload
        return bytes([SYNC]) + body + crc16(body).to_bytes(2, "big")


class Deframer:
    """Finds frames in a byte stream that may hold damage, in pieces of any size.

    Attributes
    ----------
    damaged : int
        Bytes so far that belonged to no frame.
    """

    def __init__(self):
        self.damaged = 0
        self._rest = b""

    def feed(self, received: Iterable[int]) -> Iterator[Frame]:
        """Add bytes and yield the frames that they complete."""
        self._rest += bytes(received)
        while True:
            start = self._rest.find(SYNC)
            if start:
                self._drop(len(self._rest) if start < 0 else start)
            if len(self._rest) < 2 or len(self._rest) < (size := self._rest[1] + 6):
                return
            body, check = self._rest[1:size - 2], self._rest[size - 2:size]
            if crc16(body) == int.from_bytes(check, "big"):
                self._rest = self._rest[size:]
                yield Frame(body[2], body[1], body[3:])
            else:
                self._drop(1)

    def flush(self) -> Iterator[Frame]:
        """After a pause of the line: give up a frame half received, yield those inside of it."""
        while self._rest:
            self._drop(1)
            yield from self.feed(b"")

    def _drop(self, count: int) -> None:
        self.damaged += count
        self._rest = self._rest[count:]
