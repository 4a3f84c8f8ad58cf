"""From tensors to packets and back: :func:`lower` and :func:`raise_`, each other's inverse.

The metadata section holds what the packets alone do not say:

``packets``
    For each packet but END: ``name`` and ``layer`` of its op, and the vectors or the state that
    its addresses stand for (``src``, ``dst``, ``operand``, ``state``). Packets that follow each
    other with the same name are parts of the rows of one matrix.
``vectors``, ``states``
    ``name``, ``length`` and ``address`` of each.
``logit_scale``, ``formats``
    As in :class:`ternforge_model.program.Program`, and ``calibration`` where it is not empty.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO, Protocol

import numpy as np

from ternforge.config import CoreConfig
from ternforge.isa import Function, Opcode, SumOf
from ternforge.presets import core_preset, fitting_boards
from ternforge_model.program import Digest, Load, Matvec, Op, Program, Quantise

from . import pack, packet
from .allocate import RESIDUAL_VECTOR, Allocation, FitError, allocate, row_parts
from .image import Image, ImageError, PacketSource
from .imagewriter import ImageWriter
from .packet import Packet

__all__ = ["HasJson", "Layout", "described", "layout_for", "lower", "lower_for", "program_of",
           "raise_", "raise_op", "raised", "telling_metadata"]

#: Header fields that hold addresses, in the order of a listing.
ADDRESS_FIELDS = ("src", "operand", "state", "dst")


class HasJson(Protocol):
    """A tokenizer: gives the text of its ``tokenizer.json``."""

    def to_json(self) -> str:
        """Text of ``tokenizer.json``."""
        ...


class Layout:
    """A program laid out for a core: addresses and sizes; weights are read packet by packet.

    Parameters
    ----------
    program : Program
        What to lay out. Of a large one, each matrix is read once.
    core : CoreConfig
        What for.

    Attributes
    ----------
    beats : int
        Size of the image memory that it takes.
    row_beats : int
        Of these, for each embedding row; all of them share one header.

    Raises
    ------
    FitError
        If the core is too small; says what for, and by how much.
    """

    def __init__(self, program: Program, core: CoreConfig):
        self.program, self.core = program, core
        self.allocation = allocate(program, core)
        head = packet.header_beats(core.lanes)
        body = head + sum(self._beats(op) for op in program.ops)  # END is a header
        self.row_beats = self._beats(program.embedding_row(0)) - head
        self.beats = 2 * head + body + program.vocab_size * self.row_beats
        if self.beats > core.memory_beats:
            raise FitError(f"model {program.name!r} does not fit the core: its image needs "
                           f"memory_beats={self.beats}, {self.beats - core.memory_beats} more than "
                           f"its {core.memory_beats}")

    def parts(self, op: Op) -> list[slice]:
        """Rows of each packet of ``op``, in groups of as many as there are cores."""
        if not isinstance(op, Matvec):
            return [slice(0)]
        several, cores = op.fan_in > self.core.tile, self.core.cores
        return row_parts(op.rows // cores, (self.core.max_rows if several else op.rows) // cores)

    def _beats(self, op: Op) -> int:
        lanes = self.core.lanes
        head = packet.header_beats(lanes)
        if isinstance(op, Matvec):
            return (len(self.parts(op)) * head
                    + op.rows // self.core.cores * pack.tiles(op.fan_in, self.core.row_lanes))
        wide = not isinstance(op, Load) or op.wide
        code, count = ((Opcode.LOAD, op.values.size) if isinstance(op, Load) else
                       (Opcode.QUANTISE, op.weights.size))
        return head + packet.payload_beats(code, {"wide": wide, "count": count}, lanes)

    @property
    def row(self) -> Packet:
        """The LOAD packet of the first token."""
        return _lower(self.program.embedding_row(0), self.allocation, self.core)

    def packets(self, digest: Digest) -> Iterator[Packet]:
        """The packets of a token, END last; ``digest`` is fed with each op on the way."""
        for op in self.program.ops:
            read = replace(op) if isinstance(op, Matvec) else op  # its weights are read here
            digest.feed(read)
            whole = _lower(read, self.allocation, self.core)
            yield from packet.split_rows(whole, self.parts(op), self.core.lanes, self.core.cores)
        yield Packet(Opcode.END)

    def metadata(self) -> dict[str, Any]:
        """What the packets alone do not say; see the module's description."""
        program, places = self.program, self.allocation
        return {
            "packets": [_describe(op) for op in program.ops for _ in self.parts(op)],
            "vectors": [{"name": name, "length": length, "address": places.vectors[name]}
                        for name, length in program.vectors.items()],
            "states": [{"name": name, "length": length, "address": places.states[name]}
                       for name, length in program.states.items()],
            "logit_scale": program.logit_scale,
            "formats": dict(program.formats),
            **({"calibration": dict(program.calibration)} if program.calibration else {}),
        }

    def save(self, file: BinaryIO, tokenizer: HasJson | Mapping[str, Any] | None = None,
             progress: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Write the image to an empty, seekable file; one matrix at a time is in memory.

        ``progress`` is called with (packets done, packets in all).
        """
        digest = Digest(self.program)
        metadata = self.metadata()
        total = len(metadata["packets"]) + 1

        def watched() -> Iterator[Packet]:
            for done, item in enumerate(self.packets(digest), start=1):
                yield item
                progress(done, total)

        writer = ImageWriter(file, self.core.lanes, self.core.elements, self.core.cores)
        writer.program(watched())
        writer.embedding(self.row, self.program.embedding)
        writer.finish(model=self.program.name, model_hash=digest.finish(),
                      tokenizer=_tokenizer(tokenizer), metadata=metadata)


def lower(program: Program, core: CoreConfig,
          tokenizer: HasJson | Mapping[str, Any] | None = None) -> Image:
    """Lay out ``program`` for ``core``: allocate, pack, and describe.

    Raises
    ------
    FitError
        If the core is too small; says what for, and by how much.
    """
    layout = Layout(program, core)
    digest = Digest(program)
    packets = tuple(layout.packets(digest))
    embedding = tuple(_lower(program.embedding_row(token), layout.allocation, core)
                      for token in range(program.vocab_size))
    return Image(model=program.name, model_hash=digest.finish(), lanes=core.lanes,
                 elements=core.elements, cores=core.cores, embedding=embedding, program=packets,
                 tokenizer=_tokenizer(tokenizer), metadata=layout.metadata())


def layout_for(program: Program, preset: str) -> Layout:
    """:class:`Layout` for a core preset or a board, by name.

    Raises
    ------
    UserError
        If there is no such preset.
    FitError
        If the core is too small; says what for, by how much, and which board would do.
    """
    core = core_preset(preset)
    try:
        return Layout(program, core)
    except FitError as error:
        hint = fitting_boards(lambda other: other != core and _fits(program, other))
        raise FitError(f"{error} ({preset}); {hint}") from None


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
    return lower(program, layout_for(program, preset).core, tokenizer)


def _fits(program: Program, core: CoreConfig) -> bool:
    try:
        Layout(program, core)
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
            square_shift=op.square_shift, tiles=pack.tiles(op.weights.size, core.row_lanes),
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
        pack.pack(op.trits, core.row_lanes).reshape(-1, core.lanes),
        function=Function(op.function),
        scaled=int(op.scale is not None), bounded=int(op.bounded), store=int(op.store),
        activation_shift=op.activation_shift, shift=op.shift,
        tiles=pack.tiles(op.fan_in, core.row_lanes), rows=op.rows // core.cores,
        scale_mantissa=mantissa, scale_exponent=exponent & 0xFF, **addresses)


def _describe(op: Op) -> dict[str, Any]:
    names = {name: getattr(op, name, None) for name in ADDRESS_FIELDS}
    return {"name": op.name, "layer": op.layer,
            **{name: value for name, value in names.items() if value is not None}}


def raise_(image: PacketSource, name: str = "image", *, check_hash: bool = True) -> Program:
    """Rebuild the program of an image, so that nothing but the image is needed to run its model.

    Parameters
    ----------
    image : PacketSource
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


def _raise(image: PacketSource) -> Program:
    return program_of(image, tuple(raised(image)))


def raised(source: PacketSource) -> Iterator[Op]:
    """The ops of an image one by one: their weights are checked and unpacked on the way.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        If the metadata do not describe the packets, or a packet holds what no program does.
    """
    for number, (entry, item, fan_in) in enumerate(described(source)):
        try:
            yield raise_op(entry, item, fan_in)
        except ValueError as error:
            raise ValueError(f"packet {number} ({entry['name']}): {error}") from None


def program_of(image: PacketSource, ops: tuple[Op, ...]) -> Program:
    """The program of these ops, with what else an image says."""
    meta = image.metadata
    return Program(name=image.model, ops=ops,
                   vectors={entry["name"]: entry["length"] for entry in meta["vectors"]},
                   states={entry["name"]: entry["length"] for entry in meta["states"]},
                   embedding=image.table, embedding_shift=image.row_fields["shift"],
                   logit_scale=meta["logit_scale"], formats=dict(meta["formats"]),
                   calibration=dict(meta.get("calibration", {})))


def described(source: PacketSource) -> Iterator[tuple[Mapping[str, Any], Packet, int]]:
    """Each op's packet with its entry in the metadata and the fan-in of its matrix.

    Packets that follow each other with the same name are parts of one matrix, and come joined; of
    an image for several cores, as for a single one.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        If the metadata do not describe the packets.
    """
    vectors = {entry["name"]: entry for entry in source.metadata["vectors"]}
    states = {entry["name"]: entry for entry in source.metadata["states"]}
    entries = source.metadata["packets"]
    fan_in = number = count = 0
    parts: list[Packet] = []  # packets of one op
    entry: Mapping[str, Any] = {}
    for count, item in enumerate(source.program):
        if item.op is Opcode.END or count >= len(entries):
            continue
        if parts and entries[count]["name"] != entry["name"]:
            yield entry, join_parts(parts, entry, source.cores), fan_in
            parts = []
        if not parts:
            entry, number = entries[count], count
        for key in ADDRESS_FIELDS:
            known = states if key == "state" else vectors
            address = known[entry[key]]["address"] if key in entry else 0
            if not parts and item.fields.get(key, 0) != address:
                raise ValueError(f"{key} of packet {number} must be {address}, not "
                                 f"{item.fields.get(key, 0)}")
        if item.op is Opcode.QUANTISE and item.fields["codes"]:
            fan_in = item.fields["count"]
        if item.op in (Opcode.QUANTISE, Opcode.MATVEC):
            length = fan_in if item.op is Opcode.MATVEC else item.fields["count"]
            need = pack.tiles(length, source.lanes // source.cores)
            if item.fields["tiles"] != need:
                raise ValueError(f"tiles of packet {count} must be {need}, not "
                                 f"{item.fields['tiles']}")
        parts.append(item)
    if parts:
        yield entry, join_parts(parts, entry, source.cores), fan_in
    if source.row_fields["dst"] != vectors[RESIDUAL_VECTOR]["address"]:
        raise ValueError(f"embedding rows must load {RESIDUAL_VECTOR!r}")
    if len(entries) != count:
        raise ValueError(f"{count} packets must have as many entries, not {len(entries)}")


def join_parts(parts: Sequence[Packet], entry: Mapping[str, Any], cores: int) -> Packet:
    """The packets of the op that ``entry`` describes as one."""
    try:
        return packet.join_rows(parts, cores)
    except ValueError as error:
        raise ValueError(f"packets of {entry['name']!r}: {error}") from None


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
