"""From tensors to packets and back: :func:`lower` and :func:`raise_`, each other's inverse.

The metadata section holds what the packets alone do not say:

``packets``
    For each packet but END: ``name`` and ``layer`` of its op, and the vectors or the state that
    its addresses stand for (``src``, ``dst``, ``operand``, ``state``).
``vectors``, ``states``
    ``name``, ``length`` and ``address`` of each.
``logit_scale``, ``formats``
    As in :class:`ternforge_model.program.Program`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from ternforge.config import CoreConfig
from ternforge.isa import Function, Opcode, SumOf
from ternforge.presets import core_preset, fitting_boards
from ternforge_model.program import Load, Matvec, Op, Program, Quantise

from . import pack, packet
from .allocate import RESIDUAL_VECTOR, Allocation, FitError, allocate
from .image import Image, ImageError, PacketSource
from .packet import Packet

__all__ = ["HasJson", "described", "lower", "lower_for", "raise_", "raise_op",
           "telling_metadata"]

#: Header fields that hold addresses, in the order of a listing.
ADDRESS_FIELDS = ("src", "operand", "state", "dst")


class HasJson(Protocol):
    """A tokenizer: gives the text of its ``tokenizer.json``."""

    def to_json(self) -> str:
        """Text of ``tokenizer.json``."""
        ...


def lower(program: Program, core: CoreConfig,
          tokenizer: HasJson | Mapping[str, Any] | None = None) -> Image:
    """Lay out ``program`` for ``core``: allocate, pack, and describe.

    Raises
    ------
    FitError
        If the core is too small; says what for, and by how much.
    """
    allocation = allocate(program, core)
    embedding = tuple(_lower(program.embedding_row(token), allocation, core)
                      for token in range(program.vocab_size))
    body = tuple(_lower(op, allocation, core) for op in program.ops)
    metadata = {
        "packets": [_describe(op) for op in program.ops],
        "vectors": [{"name": name, "length": length, "address": allocation.vectors[name]}
                    for name, length in program.vectors.items()],
        "states": [{"name": name, "length": length, "address": allocation.states[name]}
                   for name, length in program.states.items()],
        "logit_scale": program.logit_scale,
        "formats": dict(program.formats),
    }
    image = Image(model=program.name, model_hash=program.digest, lanes=core.lanes,
                  elements=core.elements, embedding=embedding,
                  program=(*body, Packet(Opcode.END)), tokenizer=_tokenizer(tokenizer),
                  metadata=metadata)
    beats = len(image.memory())
    if beats > core.memory_beats:
        raise FitError(f"model {program.name!r} does not fit the core: its image needs "
                       f"memory_beats={beats}, {beats - core.memory_beats} more than its "
                       f"{core.memory_beats}")
    return image


def lower_for(program: Program, preset: str,
              tokenizer: HasJson | Mapping[str, Any] | None = None) -> Image:
    """:func:`lower` for a core preset or a board, by name.

    Raises
    ------
    UserError
        If there is no such preset.
    FitError
        If the core is too small; says what for, by how much, and which board would do.
    """
    core = core_preset(preset)
    try:
        return lower(program, core, tokenizer)
    except FitError as error:
        hint = fitting_boards(lambda other: other != core and _fits(program, other))
        raise FitError(f"{error} ({preset}); {hint}") from None


def _fits(program: Program, core: CoreConfig) -> bool:
    try:
        lower(program, core)
    except FitError:
        return False
    return True


def _tokenizer(tokenizer: HasJson | Mapping[str, Any] | None) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    if isinstance(tokenizer, Mapping):
        return {str(key): value for key, value in tokenizer.items()}
    return json.loads(tokenizer.to_json())


def _lower(op: Op, allocation: Allocation, core: CoreConfig) -> Packet:
    if isinstance(op, Load):
        return packet.load(allocation.vectors[op.dst], op.values, wide=op.wide, shift=op.shift)
    if isinstance(op, Quantise):
        return packet.quantise(
            op.weights, sum_of=SumOf(op.sum_of), codes=int(op.codes), shift=op.shift,
            square_shift=op.square_shift, tiles=pack.tiles(op.weights.size, core.lanes),
            src=allocation.vectors[op.src], dst=allocation.vectors[op.dst])
    try:
        pack.check_accumulators(op.trits, core.acc_bits)
    except ValueError as error:
        raise FitError(f"matrix {op.name!r}: {error}") from None
    mantissa, exponent = op.scale or (0, 0)
    addresses = {name: allocation.vectors[value]
                 for name in ("operand", "dst") if (value := getattr(op, name)) is not None}
    if op.state is not None:
        addresses["state"] = allocation.states[op.state]
    return packet.matvec(
        pack.pack(op.trits, core.lanes), function=Function(op.function),
        scaled=int(op.scale is not None), bounded=int(op.bounded), store=int(op.store),
        activation_shift=op.activation_shift, shift=op.shift,
        tiles=pack.tiles(op.fan_in, core.lanes), rows=op.rows,
        scale_mantissa=mantissa, scale_exponent=exponent & 0xFF, **addresses)


def _describe(op: Op) -> dict[str, Any]:
    names = {name: getattr(op, name, None) for name in ADDRESS_FIELDS}
    return {"name": op.name, "layer": op.layer,
            **{name: value for name, value in names.items() if value is not None}}


def raise_(image: Image, name: str = "image", *, check_hash: bool = True) -> Program:
    """Rebuild the program of an image, so that nothing but the image is needed to run its model.

    Parameters
    ----------
    image : Image
        What to read.
    name : str
        Stands for the image in error messages.
    check_hash : bool
        Refuse a program whose hash is not the one in the header.

    Raises
    ------
    ImageError
        If the metadata do not describe the packets, or the program is not the one whose hash the
        header holds.
    """
    with telling_metadata(name):
        program = _raise(image)
        digest = program.digest
    if check_hash and digest != image.model_hash:
        raise ImageError(f"image {name!r} is malformed in its header: the model hash must be that "
                         f"of its packets, {digest}, not {image.model_hash}")
    return program


@contextmanager
def telling_metadata(name: str) -> Iterator[None]:
    """Tell of metadata that do not describe the packets as an :exc:`ImageError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__} {error}"
        raise ImageError(f"image {name!r} is malformed in section 'metadata': it must describe the "
                         f"packets of the program: {text}") from None


def _raise(image: Image) -> Program:
    meta = image.metadata
    ops: list[Op] = []
    for number, (entry, item, fan_in) in enumerate(described(image)):
        try:
            ops.append(raise_op(entry, item, fan_in))
        except ValueError as error:
            raise ValueError(f"packet {number} ({entry['name']}): {error}") from None
    return Program(name=image.model, ops=tuple(ops),
                   vectors={entry["name"]: entry["length"] for entry in meta["vectors"]},
                   states={entry["name"]: entry["length"] for entry in meta["states"]},
                   embedding=image.table, embedding_shift=image.row_fields["shift"],
                   logit_scale=meta["logit_scale"], formats=dict(meta["formats"]))


def described(source: PacketSource) -> Iterator[tuple[Mapping[str, Any], Packet, int]]:
    """Each packet but END with its entry in the metadata and the fan-in of its matrix.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        If the metadata do not describe the packets.
    """
    vectors = {entry["name"]: entry for entry in source.metadata["vectors"]}
    states = {entry["name"]: entry for entry in source.metadata["states"]}
    entries = source.metadata["packets"]
    fan_in = number = 0
    for number, item in enumerate(source.program):
        if item.op is Opcode.END or number >= len(entries):
            continue
        entry = entries[number]
        for key in ADDRESS_FIELDS:
            known = states if key == "state" else vectors
            address = known[entry[key]]["address"] if key in entry else 0
            if item.fields.get(key, 0) != address:
                raise ValueError(f"{key} of packet {number} must be {address}, not "
                                 f"{item.fields.get(key, 0)}")
        if item.op is Opcode.QUANTISE and item.fields["codes"]:
            fan_in = item.fields["count"]
        if item.op in (Opcode.QUANTISE, Opcode.MATVEC):
            length = fan_in if item.op is Opcode.MATVEC else item.fields["count"]
            need = pack.tiles(length, source.lanes)
            if item.fields["tiles"] != need:
                raise ValueError(f"tiles of packet {number} must be {need}, not "
                                 f"{item.fields['tiles']}")
        yield entry, item, fan_in
    if source.row_fields["dst"] != vectors[RESIDUAL_VECTOR]["address"]:
        raise ValueError(f"embedding rows must load {RESIDUAL_VECTOR!r}")
    if len(entries) != number:
        raise ValueError(f"{number} packets must have as many entries, not {len(entries)}")


def raise_op(entry: Mapping[str, Any], item: Packet, fan_in: int) -> Op:
    """The op of one packet, ``entry`` being its part of the metadata."""
    fields = item.fields
    if item.op is Opcode.LOAD:
        return Load(name=entry["name"], layer=entry["layer"], dst=entry["dst"],
                    values=item.payload.astype(np.int16 if fields["wide"] else np.int8),
                    shift=fields["shift"], wide=bool(fields["wide"]))
    if item.op is Opcode.QUANTISE:
        return Quantise(name=entry["name"], layer=entry["layer"], src=entry["src"],
                        dst=entry["dst"], weights=item.payload.astype(np.int16),
                        shift=fields["shift"], square_shift=fields["square_shift"],
                        sum_of=SumOf(fields["sum_of"]), codes=bool(fields["codes"]))
    exponent = (fields["scale_exponent"] ^ 0x80) - 0x80
    if not fields["scaled"] and (exponent or fields["scale_mantissa"]):
        raise ValueError("the scale of unscaled rows must be 0")
    return Matvec(name=entry["name"], layer=entry["layer"], function=Function(fields["function"]),
                  trits=pack.unpack(item.payload, fields["rows"], fan_in),
                  scale=(fields["scale_mantissa"], exponent) if fields["scaled"] else None,
                  bounded=bool(fields["bounded"]), store=bool(fields["store"]),
                  activation_shift=fields["activation_shift"], shift=fields["shift"],
                  operand=entry.get("operand"), state=entry.get("state"), dst=entry.get("dst"))
