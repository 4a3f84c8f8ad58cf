"""The payload of a host port's replies, byte by byte."""

from collections.abc import Sequence
from typing import Any

from amaranth import *
from amaranth.lib import data

from ternforge.host.protocol import Command, ExternalCommand

__all__ = ["reply_payload"]


def reply_payload(m: Module, code: Value, rest: Value, *, info: bytes,
                  counters: Sequence[tuple[Any, int]], element: Value, total: Value | None,
                  token: Value, fresh: Value) -> tuple[Signal, Signal]:
    """Choose one byte of a reply.

    Parameters
    ----------
    m : Module
        Gets the choice.
    code : Value
        Which request is answered.
    rest : Value
        Which byte, counted from the payload's end.
    info : bytes
        The INFO reply.
    counters : sequence of (value, int)
        Values of the COUNTERS reply, and the bytes of each. They come two cycles late.
    element : Value
        Of the vector, for PEEK.
    total : Value, optional
        The sum, for CHECK; None if there is no such request.
    token : Value
        For STEP and GENERATE.
    fresh : Value
        Whether it is known yet.

    Returns
    -------
    Signal, Signal
        The byte, and whether it is known yet.
    """
    payload, ready = Signal(8), Signal(init=1)
    counted_bits = Cat(Value.cast(value) if len(Value.cast(value)) == 8 * size else
                       Cat(value, C(0, 8 * size - len(Value.cast(value))))
                       for value, size in counters)
    from_end = [counted_bits[k:k + 8] for k in reversed(range(0, len(counted_bits), 8))]
    groups = []
    for first in range(0, len(from_end), 4):
        groups.append(group := Signal(8, name=f"counted_{first}", reset_less=True))
        m.d.sync += group.eq(Array(from_end[first:first + 4])[rest[:2]])
    counted = Signal(8, reset_less=True)
    m.d.sync += counted.eq(Array(groups)[rest[2:5]])
    extended = Cat(element, element[-1].replicate(8))
    with m.Switch(code):
        with m.Case(Command.INFO.value):
            table = data.ArrayLayout(8, 16).const([*info[::-1], 0, 0])
            m.d.comb += payload.eq(table.as_value().word_select(rest[:4], 8))
        with m.Case(Command.PEEK.value):
            m.d.comb += payload.eq(extended.word_select(~rest[:2], 8))
        with m.Case(Command.COUNTERS.value):
            m.d.comb += payload.eq(counted)
        if total is not None:
            with m.Case(ExternalCommand.CHECK.value):
                m.d.comb += payload.eq(total.word_select(~rest[:2], 8))
        with m.Default():
            m.d.comb += [payload.eq(token.word_select(~rest[0], 8)), ready.eq(fresh)]
    return payload, ready
