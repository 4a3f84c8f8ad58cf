"""Receives requests: finds frames in bytes, checks them, keeps their fields and payload."""

from types import SimpleNamespace
from typing import Any

from amaranth import *
from amaranth.lib import stream

from ternforge.host.beats import BeatBuffer
from ternforge.host.crc import CRC16
from ternforge.host.protocol import SYNC, Command, ExternalCommand

__all__ = ["receive_requests"]

ADDRESS = 3  #: bytes in front of the beats of a WRITE


def receive_requests(m: Module, i: stream.Interface, request: Signal, release: Signal, size: int,
                     timeout: int, *, beats: BeatBuffer | None) -> SimpleNamespace:
    """Add the receiving half of a host port.

    Parameters
    ----------
    m : Module
        Of the port.
    i : stream.Interface
        Bytes from the host; one per cycle, and none while a request waits to be carried out.
    request : Signal
        Is driven: a request waits to be carried out.
    release : Signal
        It is not needed any longer.
    size : int
        Bytes of a payload that are kept; longer ones are refused, unless there are ``beats``.
    timeout : int
        Cycles without a byte after which half a frame is dropped, rounded up to a power of two.
    beats : BeatBuffer, optional
        Takes what follows the address of a WRITE. With it there are the commands of an image memory
        off the chip, and longer payloads.

    Returns
    -------
    SimpleNamespace
        Of the request: ``command``, ``sequence``, ``length``, ``body`` and ``count`` (bytes
        consumed), whether it is ``long`` or ``unknown``, and its ``check`` sum. To be driven:
        ``consume``, which shifts ``body`` by a byte.
    """
    # Each byte of a payload shifts into `body` from the top; behind the frame,
    # `body` shifts on until the first byte is at the bottom.
    external = beats is not None
    longest = beats.lanes * beats.most + 3 if external else size
    codes: Any = 4 if external else Command
    command, sequence, unknown = Signal(codes), Signal(8), Signal()
    length, long = Signal(range(longest + 1)), Signal()
    body, count = Signal(8 * size, reset_less=True), Signal(range(longest + 1))
    silence = Signal((timeout - 1).bit_length() + 1)
    shift, consume, clear = Signal(), Signal(), Signal()
    check = CRC16.create()
    m.submodules.check = ResetInserter(clear)(check)
    m.d.comb += check.valid.eq(i.valid & i.ready)
    m.d.comb += check.data.eq(i.payload)
    m.d.sync += silence.eq(Mux(i.valid, 0, silence + 1))
    moves, byte = Signal(), Signal(8, reset_less=True)
    keeps = shift & (count < size) if external else shift
    m.d.sync += [moves.eq(keeps | consume), byte.eq(i.payload)]
    if external:
        m.d.comb += [beats.byte.eq(i.payload), beats.clear.eq(i.ready & clear)]
    with m.If(shift | consume):
        m.d.sync += count.eq(count + 1)
    with m.If(moves):  # a cycle later: in a wide core, `body` has hundreds of bits
        m.d.sync += body.eq(Cat(body[8:], byte))
    with m.FSM(name="receive"):
        with m.State("SYNC"):
            m.d.comb += [i.ready.eq(1), clear.eq(1)]
            m.d.sync += [count.eq(0), silence.eq(0), long.eq(0)]
            with m.If(i.valid & (i.payload == SYNC)):
                m.next = "LENGTH"
        with m.State("LENGTH"):
            _receive(m, i, silence[-1], "SEQUENCE")
            m.d.sync += length.eq(i.payload)
            with m.If(i.valid & (i.payload > longest)):
                m.d.sync += long.eq(1)
                m.next = "REQUEST"
        with m.State("SEQUENCE"):
            _receive(m, i, silence[-1], "COMMAND")
            with m.If(i.valid):
                m.d.sync += sequence.eq(i.payload)
        with m.State("COMMAND"):
            _receive(m, i, silence[-1], "PAYLOAD")
            if external:
                m.d.sync += [command.eq(i.payload[:4]),
                             unknown.eq(i.payload > ExternalCommand.CHECK.value)]
            else:
                m.d.sync += [command.eq(i.payload[:3]),
                             unknown.eq(i.payload[3:] != 0)]
        with m.State("PAYLOAD"):
            with m.If(count == length):
                m.next = "CRC_HIGH"
            with m.Else():
                _receive(m, i, silence[-1], "PAYLOAD")
                m.d.comb += shift.eq(i.valid)
                if external:
                    m.d.comb += beats.store.eq(i.valid & (count >= ADDRESS))
        with m.State("CRC_HIGH"):
            _receive(m, i, silence[-1], "CRC_LOW")
        with m.State("CRC_LOW"):
            _receive(m, i, silence[-1], "ALIGN")
        with m.State("ALIGN"):
            with m.If(count >= size if external else count == size):
                m.d.sync += count.eq(0)
                m.next = "SETTLE"
            with m.Else():
                m.d.comb += shift.eq(1)
        with m.State("SETTLE"):
            m.next = "ADD" if external else "REQUEST"
        if external:
            with m.State("ADD"):  # where the beats end, and whether the memory does before
                m.next = "COMPARE"
            with m.State("COMPARE"):
                m.next = "REQUEST"
        with m.State("REQUEST"):
            m.d.comb += request.eq(1)
            with m.If(release):
                m.next = "SYNC"
    return SimpleNamespace(consume=consume, command=command, sequence=sequence, unknown=unknown,
                           length=length, long=long, body=body, count=count, check=check)


def _receive(m: Module, i: stream.Interface, expired: Value, then: str) -> None:
    m.d.comb += i.ready.eq(1)
    with m.If(i.valid):
        m.next = then
    with m.Elif(expired):
        m.next = "SYNC"
