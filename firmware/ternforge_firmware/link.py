"""Requests to a board and their answers, repeated where that is safe."""

from contextlib import suppress
from typing import Any

from ternforge.config import CoreConfig
from ternforge.host.protocol import (
    EXTERNAL_VERSION,
    INFO,
    REFUSED,
    REPLY,
    VERSION,
    BootState,
    Command,
    Deframer,
    ExternalCommand,
    Frame,
    MemoryState,
    Reason,
    capacity,
    counter_fields,
    unpack,
)

from .transport import HostError, Transport

__all__ = ["Link", "damaged"]

#: Why an image memory off the chip cannot be used, and what to do.
MEMORY_STATES = {
    MemoryState.INITIALISING.value: "is still initialising: try again, and check the memory's "
                                    "clock if it stays so",
    MemoryState.FAILED.value: "failed its training or its test: reset the board, and check the "
                              "memory if it fails again",
    MemoryState.BUS_ERROR.value: "answered with an error: reset the board, and check the address "
                                 "range of its image memory",
}

#: Why a board that boots from flash has no image, and what to do.
BOOT_STATES = {
    BootState.BLANK.value: "its flash holds none",
    BootState.FOREIGN.value: "that in its flash is for another core or version",
    BootState.DAMAGED.value: "that in its flash is damaged or cut short",
}


class Link:
    """Frames to and from a board.

    Parameters
    ----------
    transport : Transport
        Connection to the board.
    timeout : float
        Seconds without any byte after which an answer is taken for lost.
    retries : int
        How often a request is repeated.

    Attributes
    ----------
    version : int
        Of the protocol, as the board speaks it.
    core : CoreConfig
        Size of the core, as far as it bounds an image.

    Raises
    ------
    HostError
        If the board does not answer or speaks another version of the protocol.
    """

    def __init__(self, transport: Transport, *, timeout: float = 1.0, retries: int = 3):
        self.transport, self.timeout, self.retries = transport, timeout, retries
        self.deframer = Deframer()
        self.received: list[Frame] = []
        self._sequence = 0
        info = self.request(Command.INFO)
        self.version = info[0] if info else 0
        if self.version not in (VERSION, EXTERNAL_VERSION):
            raise HostError(f"{transport.name} speaks version {self.version} of the host "
                            f"protocol, this program versions {VERSION} and {EXTERNAL_VERSION}: "
                            "load a bitstream built by this version of ternforge")
        values: dict[str, Any] = self.unpack(INFO, info)
        del values["version"]
        if self.external:
            values["bank_beats"] = 0
        try:
            self.core = CoreConfig(**values)
        except ValueError as error:
            raise HostError(f"{transport.name} describes a core that cannot be: {error}: load a "
                            "bitstream built by this version of ternforge") from None

    @property
    def external(self) -> bool:
        """Whether the image memory is off the chip, so that it can be checked."""
        return self.version == EXTERNAL_VERSION

    def frame(self, command: Command | ExternalCommand, payload: bytes) -> tuple[int, bytes]:
        """Sequence number and bytes of a request."""
        self._sequence = (self._sequence + 1) % 256
        return self._sequence, Frame(command.value, self._sequence, payload).to_bytes()

    def receive(self, timeout: float | None = None) -> Frame | None:
        """The next frame; None if the line is silent."""
        while not self.received:
            content = self.transport.read(self.timeout if timeout is None else timeout)
            self.received += self.deframer.feed(content) if content else self.deframer.flush()
            if not content and not self.received:
                return None
        return self.received.pop(0)

    def request(self, command: Command | ExternalCommand, payload: bytes = b"", *,
                 repeatable: bool = True) -> bytes:
        """Payload of the answer.

        Raises
        ------
        HostError
            If it is refused, or no answer comes.
        """
        reply, refused = None, False
        for _ in range(self.retries + 1):
            sequence, request = self.frame(command, payload)
            refused, intact = False, self.deframer.damaged
            self.transport.write(request)
            while (reply := self.receive()) is not None:
                if reply.sequence != sequence:  # of an earlier request, or ours was damaged
                    refused |= damaged(reply)
                    continue
                if reply.code == REPLY | command.value:
                    return reply.payload
                if damaged(reply):
                    break
                if reply.code & REFUSED:
                    raise self.refusal(reply)
            # Silence after a refusal means that the board did nothing, if no answer came damaged.
            if reply is None and not repeatable and (
                    not refused or self.deframer.damaged != intact):
                raise self.lost()
        raise self.silent() if reply is None and not refused else self.noisy()

    def abandon(self) -> None:
        """End a generation, whatever the state of the link."""
        with suppress(HostError):  # another error is on its way
            self.request(Command.STOP)

    def unpack(self, fields: dict[str, int], payload: bytes) -> dict[str, int]:
        """Values of the answer ``payload``."""
        try:
            return unpack(fields, payload)
        except ValueError:
            raise HostError(f"{self.transport.name} sent an answer of a wrong length: load a "
                            "bitstream built by this version of ternforge") from None

    def counter_values(self) -> dict[str, int]:
        """Fields of a COUNTERS reply. Only its length tells whether a board boots from flash."""
        answer = self.request(Command.COUNTERS)
        fields = counter_fields(external=self.external, boots=False)
        if len(answer) > sum(fields.values()):
            fields = counter_fields(external=self.external, boots=True)
        return self.unpack(fields, answer)

    def silent(self) -> HostError:
        """The board does not answer."""
        return HostError(f"{self.transport.name} does not answer: check that the bitstream is "
                         "loaded, the cable, and the baud rate")

    def noisy(self) -> HostError:
        """Requests come damaged."""
        return HostError(f"requests come damaged to {self.transport.name}: check the baud rate and "
                         "the cable")

    def lost(self) -> HostError:
        """An answer that cannot be asked for again was lost."""
        return HostError(f"an answer of {self.transport.name} was lost, so that the state of the "
                         "sequence is unknown: reset and start again")

    def fault(self) -> HostError:
        """A step was refused, or another request for the sake of the memory."""
        values: dict[str, int] = {}
        with suppress(HostError):
            values = self.counter_values()
        if state := values.get("memory", 0):
            return HostError(f"the image memory of {self.transport.name} "
                             f"{MEMORY_STATES[state & 3]}")
        why = BOOT_STATES.get(values.get("boot", 0), "")
        if why:
            why = f" ({why}: upload one, or write it there with `ternforge program --image`)"
        return HostError(f"{self.transport.name} refused a step: it has no image{why}, or a token "
                         "is outside of the image's vocabulary")

    def malformed(self, command: Command | ExternalCommand) -> HostError:
        """An answer is not what it should be."""
        return HostError(f"{self.transport.name} sent a malformed answer to {command.name}: load a "
                         "bitstream built by this version of ternforge")

    def refusal(self, reply: Frame) -> HostError:
        """The board refused an intact request."""
        reason = reply.code & 7
        if reason == Reason.FAULT.value:
            return self.fault()
        what = {Reason.LENGTH.value: "its length", Reason.COMMAND.value: "its command",
                Reason.RANGE.value: "beats beyond the end of its image memory"}
        return HostError(f"{self.transport.name} refused a request for "
                         f"{what.get(reason, f'reason {reason}')}: load a bitstream built by this "
                         f"version of ternforge (longest payload: "
                         f"{capacity(self.core.lanes, external=self.external)})")


def damaged(reply: Frame) -> bool:
    """Whether the board got a damaged frame and did nothing."""
    return reply.code in (REPLY | REFUSED | Reason.CRC.value, REPLY | REFUSED | Reason.LENGTH.value)
