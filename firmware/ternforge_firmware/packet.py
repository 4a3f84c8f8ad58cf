"""Packets as bytes: a header of :mod:`ternforge.isa`, then constants or weights, in whole beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ternforge import isa
from ternforge.isa import Function, Opcode, SumOf

__all__ = ["FIELD_ENUMS", "HEADER_BYTES", "Beats", "Packet", "constant_bits", "header_beats",
           "join_rows", "load", "matvec", "pack_header", "parse", "parse_header", "parse_payload",
           "parse_rows", "payload_beats", "quantise", "split_rows", "vector_fields"]

HEADER_BYTES = isa.HEADER_BITS // 8

#: Fields whose values have names.
FIELD_ENUMS = {"sum_of": SumOf, "function": Function}

#: Linear beats as the hardware sees them, ``uint8 [beats, lanes]``; byte 0 is bits 7..0.
Beats = NDArray[np.uint8]


def header_beats(lanes: int) -> int:
    """Beats that one header (or the directory) takes."""
    return -(-HEADER_BYTES // lanes)


def pack_header(word: int, lanes: int) -> Beats:
    """Beats of one 128-bit header, padded with zeros."""
    raw = word.to_bytes(HEADER_BYTES, "little").ljust(header_beats(lanes) * lanes, b"\0")
    return np.frombuffer(raw, np.uint8).reshape(-1, lanes).copy()


def constant_bits(op: Opcode, fields: Mapping[str, int]) -> int:
    """Width of one constant in the payload; 0 if the packet carries none."""
    return (16 if fields["wide"] else 8) if op in (Opcode.LOAD, Opcode.QUANTISE) else 0


def payload_beats(op: Opcode, fields: Mapping[str, int], lanes: int) -> int:
    """Beats between the header of a packet and the next header."""
    if op is Opcode.MATVEC:
        return fields["rows"] * fields["tiles"]
    bits = constant_bits(op, fields)
    return -(-fields["count"] * bits // (8 * lanes)) if bits else 0


def vector_fields(op: Opcode, fields: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the header fields that hold vector addresses which the core uses."""
    if op is Opcode.LOAD:
        return ("dst",)
    if op is Opcode.QUANTISE:
        return ("src", "dst") if fields["codes"] else ("src",)
    if op is Opcode.END:
        return ()
    function = Function(fields["function"])
    operand = fields["bounded"] or function in (Function.RECURRENCE, Function.MULTIPLY,
                                                Function.RESIDUAL)
    writes = function is not Function.RECURRENCE and (function is not Function.LOGITS
                                                      or fields["store"])
    return (("operand",) if operand else ()) + (("dst",) if writes else ())


@dataclass(frozen=True, eq=False)
class Packet:
    """One packet: opcode, every header field, payload.

    Raises
    ------
    ValueError
        If a field or the payload does not fit the layout.
    """

    op: Opcode  #: which layout of :data:`ternforge.isa.HEADERS`
    fields: dict[str, int] = field(default_factory=dict)  #: as stored; those left out are 0
    payload: NDArray[Any] = field(  #: LOAD, QUANTISE: int64 [count]; MATVEC: uint8 [beats, lanes]
        default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self):
        isa.encode(self.op, **self.fields)
        for name, values in FIELD_ENUMS.items():
            if name in self.fields:
                values(self.fields[name])
        fields = {name: int(self.fields.get(name, 0)) for name in isa.header_fields(self.op)}
        object.__setattr__(self, "fields", fields)
        payload = np.asarray(self.payload)
        if self.op is Opcode.MATVEC:
            beats = fields["rows"] * fields["tiles"]
            if payload.dtype != np.uint8 or payload.ndim != 2 or len(payload) != beats:
                raise ValueError(f"MATVEC weights must be {beats} beats of bytes, not "
                                 f"{payload.dtype} of shape {payload.shape}")
        else:
            count, bits = fields.get("count", 0), constant_bits(self.op, fields)
            if payload.shape != (count,):
                raise ValueError(f"{self.op.name} constants must be {count} values, not "
                                 f"{payload.shape}")
            payload = payload.astype(np.int64)
            top = 1 << bits >> 1
            bad = np.flatnonzero((payload < -top) | (payload >= max(top, 1)))
            if bits and len(bad):
                raise ValueError(f"{self.op.name} constant {bad[0]} must fit in {bits} signed bits,"
                                 f" not {payload[bad[0]]}")
        payload = payload.copy()
        payload.setflags(write=False)
        object.__setattr__(self, "payload", payload)

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Packet) and self.op is other.op and self.fields == other.fields
                and np.array_equal(self.payload, other.payload))

    def beats(self, lanes: int) -> int:
        """Beats that the packet takes, header included."""
        return header_beats(lanes) + payload_beats(self.op, self.fields, lanes)

    def header_beats(self, lanes: int) -> Beats:
        """The header as the hardware reads it."""
        return pack_header(isa.encode(self.op, **self.fields), lanes)

    def payload_beats(self, lanes: int) -> Beats:
        """What follows the header, padded with zeros to whole beats."""
        if self.op is Opcode.MATVEC:
            if self.payload.shape[1] != lanes:
                raise ValueError(f"MATVEC weights must have {lanes} bytes to a beat, not "
                                 f"{self.payload.shape[1]}")
            return self.payload
        wide = constant_bits(self.op, self.fields) == 16
        raw = self.payload.astype("<i2" if wide else np.int8).tobytes()
        body = np.zeros(payload_beats(self.op, self.fields, lanes) * lanes, np.uint8)
        body[:len(raw)] = np.frombuffer(raw, np.uint8)
        return body.reshape(-1, lanes)

    def to_beats(self, lanes: int) -> Beats:
        """The packet as the hardware reads it."""
        return np.concatenate([self.header_beats(lanes), self.payload_beats(lanes)])


def load(dst: int, constants: NDArray[Any], *, wide: bool, shift: int) -> Packet:
    """A LOAD packet: ``V[dst + k] <- constants[k] << shift``."""
    fields = {"wide": int(wide), "shift": shift, "count": len(constants), "dst": dst}
    return Packet(Opcode.LOAD, fields, constants)


def quantise(constants: NDArray[Any], *, sum_of: SumOf, **fields: int) -> Packet:
    """A QUANTISE packet; ``fields`` are those of the header but ``sum_of`` and ``count``.

    Weights take 16 bits unless ``wide`` says otherwise.
    """
    return Packet(Opcode.QUANTISE, {"wide": 1, **fields, "sum_of": sum_of.value,
                                    "count": len(constants)}, constants)


def matvec(weights: Beats, *, function: Function, **fields: int) -> Packet:
    """A MATVEC packet of packed weights; ``fields`` are those of the header but ``function``."""
    return Packet(Opcode.MATVEC, {**fields, "function": function.value}, weights)


def split_rows(packet: Packet, parts: Sequence[slice], lanes: int, cores: int = 1) -> list[Packet]:
    """A MATVEC packet as one for each part of its rows; the inverse of :func:`join_rows`.

    Addresses go on from part to part, and so does the argmax of LOGITS. Where ``cores`` share a
    beat, each row of the packet is a group of as many.
    """
    if len(parts) == 1:
        return [packet]
    fields = packet.fields
    tiles = packet.payload.reshape(fields["tiles"], fields["rows"], lanes)
    used = _row_fields(packet)
    return [Packet(Opcode.MATVEC, {
        **fields, "rows": part.stop - part.start,
        **{name: fields[name] + cores * part.start for name in used},
        "continued": int(fields["function"] == Function.LOGITS.value and part.start > 0),
    }, tiles[:, part].reshape(-1, lanes)) for part in parts]


def join_rows(parts: Sequence[Packet], cores: int = 1) -> Packet:
    """The MATVEC packet that :func:`split_rows` made ``parts`` of, as for a single core.

    Raises
    ------
    ValueError
        If they are not the parts of one packet.
    """
    first = parts[0]
    if len(parts) == 1 and not first.fields.get("continued"):
        return _ungrouped(first, cores)
    rows = 0
    for part in parts:
        if part.op is not Opcode.MATVEC:
            raise ValueError(f"{part.op.name} packets must not be parts of one op")
        want = {**first.fields, "rows": part.fields["rows"],
                **{name: first.fields[name] + cores * rows for name in _row_fields(first)},
                "continued": int(first.fields["function"] == Function.LOGITS.value and rows > 0)}
        for name, value in want.items():
            if part.fields[name] != value:
                raise ValueError(f"{name} of the part from row {rows} on must be {value}, not "
                                 f"{part.fields[name]}")
        rows += part.fields["rows"]
    tiles = [part.payload.reshape(first.fields["tiles"], part.fields["rows"], -1) for part in parts]
    payload = np.concatenate(tiles, axis=1)
    return _ungrouped(Packet(Opcode.MATVEC, {**first.fields, "rows": rows},
                             payload.reshape(-1, payload.shape[-1])), cores)


def _ungrouped(packet: Packet, cores: int) -> Packet:
    """A packet for several cores as one for a single core with a beat to each row."""
    if cores == 1 or packet.op is not Opcode.MATVEC:
        return packet
    return Packet(packet.op, {**packet.fields, "rows": cores * packet.fields["rows"]},
                  packet.payload.reshape(cores * len(packet.payload), -1))


def _row_fields(packet: Packet) -> list[str]:
    """Address fields of a MATVEC that its function uses, one address for each row."""
    function = Function(packet.fields["function"])
    state = function in (Function.RECURRENCE, Function.OUTPUT_GATE)
    return [*vector_fields(packet.op, packet.fields), *(["state"] if state else [])]


def parse_header(beats: Beats, at: int) -> tuple[Opcode, dict[str, int], int]:
    """Opcode and fields of the header at beat ``at``, and the beat after it.

    Raises
    ------
    ValueError
        If there is no well-formed header; padding must be zero.
    """
    start = at + header_beats(beats.shape[1])
    if start > len(beats):
        raise ValueError(f"a header of {start - at} beats must fit, but {len(beats) - at} are left")
    head = beats[at:start].tobytes()
    op, fields = isa.decode(int.from_bytes(head[:HEADER_BYTES], "little"))
    if any(head[HEADER_BYTES:]):
        raise ValueError(f"the padding of a {op.name} header must be 0")
    return op, fields, start


def parse_payload(op: Opcode, fields: dict[str, int], beats: Beats, start: int,
                  ) -> tuple[Packet, int]:
    """The packet whose payload begins at beat ``start``, and the beat after it.

    Raises
    ------
    ValueError
        If the payload does not fit, or its padding is not zero.
    """
    end = start + payload_beats(op, fields, beats.shape[1])
    if end > len(beats):
        raise ValueError(f"the payload of {op.name} must fit, but it takes {end - start} beats and "
                         f"{len(beats) - start} are left")
    if op is Opcode.MATVEC:
        return Packet(op, fields, beats[start:end]), end
    raw = beats[start:end].tobytes()
    bits = constant_bits(op, fields)
    used = fields.get("count", 0) * bits // 8
    if any(raw[used:]):
        raise ValueError(f"the padding after the constants of {op.name} must be 0")
    return Packet(op, fields, np.frombuffer(raw[:used], "<i2" if bits == 16 else np.int8)), end


def parse(beats: Beats) -> list[tuple[int, Packet]]:
    """All packets of a stream with the beats where they start; the inverse of ``to_beats``.

    Raises
    ------
    ValueError
        If one is not well-formed; names it and its beat.
    """
    packets, at = [], 0
    while at < len(beats):
        try:
            op, fields, start = parse_header(beats, at)
            packet, end = parse_payload(op, fields, beats, start)
        except ValueError as error:
            raise ValueError(f"packet {len(packets)} at beat {at}: {error}") from None
        packets.append((at, packet))
        at = end
    return packets


def parse_rows(op: Opcode, fields: dict[str, int], beats: Beats) -> list[Packet]:
    """Packets of one header whose payloads follow each other.

    Raises
    ------
    ValueError
        If there is no payload, or one is not well-formed; names the row and its beat.
    """
    if not payload_beats(op, fields, beats.shape[1]):
        raise ValueError(f"its packets must be LOADs of at least one constant, not {op.name}")
    rows, at = [], 0
    while at < len(beats):
        try:
            row, end = parse_payload(op, fields, beats, at)
        except ValueError as error:
            raise ValueError(f"row {len(rows)} at beat {at}: {error}") from None
        rows.append(row)
        at = end
    return rows
