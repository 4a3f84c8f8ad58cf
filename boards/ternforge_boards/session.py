"""A host at the registers of an AXI system, and what the integer model says that it reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ternforge.config import CoreConfig
from ternforge.core.core import SITES
from ternforge.host.registers import constants, register
from ternforge.mem.axi4 import Axi4Config
from ternforge.numerics import VECTOR_BITS
from ternforge_firmware.image import Image
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Matvec, Program

__all__ = ["Access", "accesses", "to_golden"]

_WRITE, _READ, _WAIT = range(3)
_ALL = 0xFFFFFFFF


@dataclass(frozen=True)
class Access:
    """One access of the host: of bits that are not in ``mask``, nothing is said."""

    kind: int  #: 0 writes, 1 reads, 2 reads until the top bit is set
    offset: int
    data: int
    mask: int
    note: str  #: for people


def _write(name: str, note: str, **fields: int) -> Access:
    entry = register(name)
    return Access(_WRITE, entry.offset, entry.pack(**fields), _ALL, note)


def _read(name: str, note: str, *, kind: int = _READ, mask: int = _ALL, **fields: int) -> Access:
    entry = register(name)
    return Access(kind, entry.offset, entry.pack(**fields), mask, note)


def _session(core: CoreConfig, axi: Axi4Config, queue: int, image: Image, program: Program,
             tokens: Sequence[int], base: int) -> Iterator[Access]:
    for name, value in constants(core, axi, queue).items():
        yield Access(_READ, register(name).offset, value, _ALL, f"{name}: the core's size")
    yield _write("BASE_LOW", "where the image is", page=base >> 12 & 0xFFFFF)
    yield _write("BASE_HIGH", "where the image is", value=base >> 32)
    yield _write("INTERRUPT", "tell when all is done", done=1)
    result = IntegerModel(program).forward(tokens)
    for number, token in enumerate(tokens):
        yield _write("TOKEN", f"step with token {token}", token=token, reset=number == 0)
    for token, following in zip(tokens, result.tokens.tolist(), strict=True):
        yield _read("RESULT", f"after token {token} comes {following}", kind=_WAIT,
                    token=following, valid=1)
    yield _read("STATUS", "nothing is left to do", room=queue)
    yield _read("EVENTS", "no fault, no bus error", done=1)
    for site in SITES:
        yield _read(f"SATURATED_{site.upper()}", "saturations", value=result.saturations[site])
    ratio = result.ratio()
    yield _read("RATIO", "scale of the logits", mantissa=ratio.mantissa, exponent=ratio.exponent)
    head, vectors = program.ops[-1], image.metadata["vectors"]
    addresses = [vector["address"] for vector in vectors if vector["name"] == "logits"]
    if addresses and isinstance(head, Matvec) and head.store:
        limit = 1 << VECTOR_BITS - 1
        yield _write("PEEK_ADDRESS", "the logits", value=addresses[0])
        for row, value in enumerate(np.clip(result.acc[-1], -limit, limit - 1)):
            yield _read("PEEK_DATA", f"logit of token {row}", value=int(value))


def accesses(core: CoreConfig, axi: Axi4Config, queue: int, image: Image, program: Program,
             tokens: Sequence[int], base: int) -> list[Access]:
    """A host's session: size of the core, address of the image, ``tokens``, counters, logits.

    Parameters
    ----------
    core, axi, queue
        Of the system.
    image, program
        Which is in memory, and its program.
    tokens : sequence of int
        To feed one after the other, at most as many as ``queue``.
    base : int
        Address of the image.
    """
    return list(_session(core, axi, queue, image, program, tokens, base))


def to_golden(session: Sequence[Access]) -> str:
    """``$readmemh`` text, an access a line: kind, offset, data, mask with 1, 3, 8 and 8 digits."""
    return "".join(f"{entry.kind:x}{entry.offset:03x}{entry.data:08x}{entry.mask:08x}"
                   f" // {entry.note}\n" for entry in session)
