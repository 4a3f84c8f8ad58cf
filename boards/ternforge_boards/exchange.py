"""What a host asks of a core over its serial line, and what the integer model says it answers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ternforge.config import CoreConfig
from ternforge.host.protocol import (
    COUNTERS,
    INFO,
    PEEK_BLOCK,
    REPLY,
    Command,
    Frame,
    info_values,
    pack,
)
from ternforge.numerics import VECTOR_BITS
from ternforge_firmware.image import Image
from ternforge_model.integer import IntegerModel, IntegerResult
from ternforge_model.program import Matvec, Op, Program

__all__ = ["Exchange", "exchanges", "to_mem"]


@dataclass(frozen=True)
class Exchange:
    """One request and its reply."""

    request: Frame
    reply: Frame
    known: tuple[bool, ...]  #: for each byte of the reply's payload, whether the model tells it
    note: str  #: for people


def _ask(number: int, command: Command, content: bytes = b"", answer: bytes = b"", note: str = "",
         known: tuple[bool, ...] | None = None) -> Exchange:
    return Exchange(Frame(command.value, number, content),
                    Frame(command.value | REPLY, number, answer),
                    (True,) * len(answer) if known is None else known, note)


def _logits(image: Image, head: Op, result: IntegerResult,
            ) -> Iterator[tuple[int, bytes, tuple[bool, ...]]]:
    """Address, contents and known bytes of each PEEK block that holds logits of the last token."""
    addresses = [vector["address"] for vector in image.metadata["vectors"]
                 if vector["name"] == "logits"]
    if not addresses or not isinstance(head, Matvec) or not head.store:
        return
    values = np.clip(result.acc[-1], -(1 << VECTOR_BITS - 1), (1 << VECTOR_BITS - 1) - 1)
    at = {addresses[0] + row: int(value) for row, value in enumerate(values)}
    for block in range(addresses[0] // PEEK_BLOCK * PEEK_BLOCK, max(at) + 1, PEEK_BLOCK):
        elements = range(block, block + PEEK_BLOCK)
        content = b"".join(at.get(k, 0).to_bytes(4, "little", signed=True) for k in elements)
        yield block, content, tuple(k in at for k in elements for _ in range(4))


def exchanges(core: CoreConfig, image: Image, program: Program,
              tokens: list[int]) -> list[Exchange]:
    """A host's session: size of the core, first beat of the image, ``tokens``, logits, counters.

    ``program`` is that of ``image``, whose beats after the first are taken to be in memory already.
    """
    first = image.memory()[0].tobytes()
    session = [_ask(0, Command.INFO, answer=pack(INFO, info_values(core)), note="size of the core"),
               _ask(1, Command.WRITE, bytes(3) + first, note="beat 0 of the image"),
               _ask(2, Command.RESET, note="a sequence begins")]
    result = IntegerModel(program).forward(tokens)
    for token, following in zip(tokens, result.tokens.tolist(), strict=True):
        session.append(_ask(len(session), Command.STEP, token.to_bytes(2, "little"),
                            following.to_bytes(2, "little"),
                            f"after token {token} comes {following}"))
    for block, content, known in _logits(image, program.ops[-1], result):
        session.append(_ask(len(session), Command.PEEK, block.to_bytes(2, "little"), content,
                            f"logits in elements {block} to {block + PEEK_BLOCK - 1}", known))
    ratio = result.ratio()
    counters = {**result.saturations, "cycles": 0, "mantissa": ratio.mantissa,
                "exponent": ratio.exponent, "fault": 0}
    answer = pack(COUNTERS, counters)
    cycles = COUNTERS["cycles"]
    session.append(_ask(len(session), Command.COUNTERS, answer=answer, note="counters",
                        known=(False,) * cycles + (True,) * (len(answer) - cycles)))
    return session


def to_mem(session: list[Exchange]) -> str:
    """``$readmemh`` text, one byte a line: ``0xx`` to send, ``1xx`` to expect, ``2xx`` any byte."""
    lines = []
    for exchange in session:
        sent = exchange.request.to_bytes()
        lines += [f"0{byte:02x}" for byte in sent]
        lines[-len(sent)] += f" // {Command(exchange.request.code).name}: {exchange.note}"
        whole = exchange.reply.to_bytes()
        known = (True,) * 4 + exchange.known + (all(exchange.known),) * 2
        lines += [f"{1 if sure else 2}{byte:02x}" for byte, sure in zip(whole, known, strict=True)]
    return "".join(f"{line}\n" for line in lines)
