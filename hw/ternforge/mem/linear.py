"""The read port between a core and an image memory outside of it."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig

__all__ = ["beat_write", "linear_read", "read_request"]


def beat_write(width: int) -> data.StructLayout:
    """Write of one beat of ``width`` bits to a memory off the chip; ``address`` counts beats."""
    return data.StructLayout({"address": 24, "data": width})


def read_request() -> data.StructLayout:
    """``beats`` neighbouring beats, at least one, from beat address ``address`` up."""
    return data.StructLayout({"address": 24, "beats": 24})


def linear_read(config: CoreConfig) -> wiring.Signature:
    """Reads of any length, as the core sees them; a memory adapter has the flipped side.

    A token makes three requests: directory, embedding row, program. An adapter cuts them into the
    bursts of its memory. It may take a request while it serves the one before, so that the next row
    or burst opens early; any latency, and pauses wherever they come, cost time alone.

    Members
    -------
    request : :py:`Out(stream.Signature(read_request()))`
        Served in order.
    data : :py:`In(stream.Signature(config.beat_bits))`
        As many beats as were requested, in order.
    stop : :py:`Out(1)`
        What is under way is not needed any more. The adapter may leave out the rest of it, and
        takes a request that still waits; beats that come are dropped. High until ``idle``.
    idle : :py:`In(1)`
        No request is under way. Low from the cycle after one was taken until its last beat was, or
        until the adapter has dropped it.
    """
    return wiring.Signature({
        "request": Out(stream.Signature(read_request())),
        "data": In(stream.Signature(config.beat_bits)),
        "stop": Out(1), "idle": In(1),
    })
