"""Checks every bit of an image file with one matrix in memory at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ternforge.config import CoreConfig
from ternforge.isa import Opcode
from ternforge_model.program import Digest, Load, Matvec, Op

from .container import ImageError
from .image import refuse_misfit
from .imagefile import ImageFile
from .imagewriter import directory_beats
from .lower import program_of, raised, telling_metadata
from .packet import Packet

__all__ = ["verify"]

#: Embedding rows that are checked at a time.
_ROWS = 1024


def verify(path: str | Path, core: CoreConfig | None = None,
           progress: Callable[[int, int], object] = lambda done, total: None) -> ImageFile:
    """Open an image file and check all of it.

    That is: header, CRC-32 of each section, directory, every header field, every weight byte (one
    of 243 codes, zero past the fan-in), all constants and paddings, addresses against the vectors
    and states of the metadata and against ``core`` if one is given, and the hash of the model.

    Parameters
    ----------
    path : str or Path
        Image file.
    core : CoreConfig or None
        Core that it has to run on.
    progress : callable
        Called with (ops done, ops in all).

    Raises
    ------
    ImageError
        The first thing that is wrong.
    """
    name = str(path)
    image = ImageFile(path)
    _check_directory(image)
    _check_rows(image)
    if core is not None:
        refuse_misfit(core, image, name)
    with telling_metadata(name):
        digest = Digest(program_of(image, ()))
        total = len({entry["name"] for entry in image.metadata["packets"]})
        ops: list[Op] = []
        for op in raised(image):
            digest.feed(op)
            ops.append(_without_weights(op))
            progress(len(ops), total)
        found = digest.finish()
        program_of(image, tuple(ops))  # checks how the ops fit together
        _check_addresses(image)
    if found != image.model_hash:
        raise ImageError(f"image {name!r} is malformed in its header: the model hash must be that "
                         f"of its packets, {found}, not {image.model_hash}")
    return image


def _without_weights(op: Op) -> Op:
    if not isinstance(op, Matvec):
        return op
    return replace(op, trits=np.broadcast_to(np.zeros((), np.int8), (op.rows, op.fan_in)))


def _check_directory(image: ImageFile) -> None:
    row = Packet(Opcode.LOAD, image.row_fields, image.table[0])
    program = image.sections["program"].beats
    want = directory_beats(row, image.vocab_size, program, image.lanes)
    if image.read_section("directory") != want.tobytes():
        raise image.bad("directory", "it must agree with the embedding and program sections")
    packets = sum(1 for _ in image.headers())
    if (image.packets, image.counted_beats) != (packets, image.memory_beats):
        raise ImageError(f"image {str(image.path)!r} is malformed in its header at byte 16: the "
                         "counts must agree with the sections")


def _check_rows(image: ImageFile) -> None:
    """Padding of the embedding rows, and that the values keep to the vector RAM's width."""
    section, fields = image.sections["embedding"], image.row_fields
    raw = np.memmap(image.path, np.uint8, "r", section.offset, (image.vocab_size, image.stride))
    used = fields["count"] * (2 if fields["wide"] else 1)
    for start in range(0, image.vocab_size, _ROWS):
        padding = raw[start:start + _ROWS, used:]
        if padding.any():
            row = start + int(np.flatnonzero(padding.any(axis=1))[0])
            raise image.bad("embedding", f"row {row}: the padding after the constants of LOAD must "
                                         "be 0")
        values = image.table[start:start + _ROWS]
        extremes = np.array([values.min(), values.max()], values.dtype)
        try:
            Load(name="embeddings", layer=None, dst="x", shift=fields["shift"],
                 wide=bool(fields["wide"]), values=extremes)
        except ValueError as error:
            raise image.bad("embedding", f"rows from {start} on: {error}") from None


def _check_addresses(image: ImageFile) -> None:
    """Packets touch nothing beyond the vectors and states, and vectors begin at whole words."""
    ends = [entry["address"] + -(-entry["length"] // image.elements) * image.elements
            for entry in image.metadata["vectors"]]
    states = [entry["address"] + entry["length"] for entry in image.metadata["states"]]
    for what, have in (("vector_depth", max(ends)), ("state_depth", max(states, default=0))):
        if image.needs[what] > have:
            raise ValueError(f"packets must keep to {what}={have}, not reach {image.needs[what]}")
    for _, op, fields in image.headers():
        for name in ("src", "dst", "count") if op in (Opcode.LOAD, Opcode.QUANTISE) else ():
            if fields.get(name, 0) % image.elements:
                raise ValueError(f"{name} of a {op.name} must be a multiple of elements="
                                 f"{image.elements}, not {fields[name]}")
