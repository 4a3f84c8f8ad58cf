"""Finds the first place where the hardware leaves the integer model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ternforge.isa import Function, Opcode
from ternforge_firmware.allocate import RESIDUAL_VECTOR
from ternforge_firmware.image import PacketSource
from ternforge_firmware.lower import telling_metadata
from ternforge_model.integer import Trace

__all__ = ["Divergence", "Outline", "expected_writes", "first_divergence"]

#: Kind of RAM by the number in ``EVENT``.
MEMORIES = ("vector", "state", "codes")


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """One write that differs, the first of its run."""

    position: int  #: token position in the run, from 0
    layer: int | None  #: None outside the layers
    packet: int  #: number of the packet in the token
    op: str  #: op that it belongs to, such as ``layers.0.attn.f_proj``
    tensor: str  #: name of what is written: a vector, a state, ``codes``, or ``token``
    memory: str  #: where it stands: ``vector``, ``state``, ``codes``, or ``result``
    element: int  #: index in the tensor
    address: int | None  #: address that the element has; None where nothing more is to be written
    actual_address: int | None  #: address in the hardware's write; None where it wrote nothing
    expected: int | None  #: integer model; None where it writes nothing more
    actual: int | None  #: hardware; None where it wrote nothing more
    cycle: int  #: clock cycle since the start of the simulation
    stream: int | None = None  #: None of a core with a single one

    def __str__(self) -> str:
        where = "" if self.stream is None else f"stream {self.stream}, "
        where += "" if self.layer is None else f"layer {self.layer}, "
        values = f"the integer model has {self.expected}, the hardware {self.actual}"
        if self.address is not None and self.actual_address not in (None, self.address):
            values += f" at address {self.actual_address} instead of {self.address}"
        return (f"token {self.position}, {where}packet {self.packet} ({self.op}), tensor "
                f"{self.tensor} ({self.memory}), element {self.element}: {values}, "
                f"in cycle {self.cycle}")

    def to_dict(self) -> dict:
        """Fields by name, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Outline:
    """The packets of a token, the embedding row first, without constants and weights."""

    entries: tuple[Mapping[str, Any], ...]  #: names, as in ``packets`` of an image's metadata
    ops: tuple[Opcode, ...]
    fields: tuple[Mapping[str, int], ...]  #: of the headers
    rows: tuple[int, ...]  #: first row of each packet: a matrix may have several
    ternary_weights: int  #: of all matrices
    cores: int = 1  #: rows of a packet are groups of as many

    @classmethod
    def of(cls, image: PacketSource) -> "Outline":
        """The outline of an image.

        Raises
        ------
        ImageError
            If the metadata have not as many entries as there are packets.
        """
        entries: list[Mapping[str, Any]] = [{"name": "embeddings", "layer": None,
                                             "dst": RESIDUAL_VECTOR}]
        packets, first_rows, weights, fan_in = [(Opcode.LOAD, image.row_fields)], [0], 0, 0
        with telling_metadata(image.model):
            entries += image.metadata["packets"]
            for packet in image.program:
                if packet.op is Opcode.END:
                    continue
                entry, before = entries[len(packets)], entries[len(packets) - 1]
                first = 0
                if packet.op is Opcode.MATVEC:
                    weights += fan_in * image.cores * packet.fields["rows"]
                    if entry["name"] == before["name"]:
                        first = first_rows[-1] + image.cores * packets[-1][1]["rows"]
                elif packet.fields.get("codes"):
                    fan_in = packet.fields["count"]
                packets.append((packet.op, packet.fields))
                first_rows.append(first)
            if len(packets) != len(entries):
                raise ValueError(f"{len(packets) - 1} packets must have as many entries, not "
                                 f"{len(entries) - 1}")
        return cls(tuple(entries), tuple(op for op, _ in packets),
                   tuple(fields for _, fields in packets), tuple(first_rows), weights,
                   image.cores)

    def of_stream(self, events: np.ndarray, stream: int, streams: int) -> np.ndarray:
        """Of the traced writes, those of one stream, with packets numbered as if it were alone.

        Each stream's embedding row comes in a packet of its own.
        """
        if streams == 1:
            return events
        events = events[events["stream"] == stream]
        events["packet"] -= np.minimum(events["packet"], streams - 1)
        return events

    def without_head(self, expected: np.ndarray) -> np.ndarray:
        """Of :func:`expected_writes`, those ahead of the logits."""
        logits = [number for number, (op, fields) in enumerate(
            zip(self.ops, self.fields, strict=True))
            if op is Opcode.MATVEC and fields["function"] == Function.LOGITS.value]
        return expected[expected[:, 0] < min(logits, default=len(self.ops))]

    def writes_state(self, packet: int) -> bool:
        """Whether this packet writes to the state RAM instead of the vector RAM."""
        return (self.ops[packet] is Opcode.MATVEC
                and self.fields[packet]["function"] == Function.RECURRENCE.value)

    def writes(self, packet: int, trace: Trace) -> list[tuple[int, np.ndarray]]:
        """Kind and values, time first, of what a packet writes, in order."""
        name, op = self.entries[packet]["name"], self.ops[packet]
        if op is Opcode.LOAD:
            return [(0, trace[name, "vector"])]
        if op is Opcode.MATVEC:
            rows = trace.get((name, "rows"))
            if rows is None:
                return []
            first, count = self.rows[packet], self.cores * self.fields[packet]["rows"]
            return [(int(self.writes_state(packet)), rows[:, first:first + count])]
        if self.fields[packet]["codes"]:
            return [(0, trace[name, "v"]), (2, trace[name, "codes"])]
        return []

    def tensor(self, packet: int, kind: int) -> str:
        """Name of the tensor that a packet writes to memory ``kind``."""
        if packet >= len(self.entries) or kind == 2:
            return MEMORIES[kind]
        return self.entries[packet].get("state" if kind == 1 else "dst", MEMORIES[kind])


def expected_writes(outline: Outline, trace: Trace, position: int = 0) -> np.ndarray:
    """All writes of one token in order: int64 ``[n, 5]`` of packet, kind, element, address, value.

    Parameters
    ----------
    outline : Outline
        Of the image; gives the addresses.
    trace : dict
        From the integer model.
    position : int
        Time index into ``trace``.
    """
    parts = []
    for packet, fields in enumerate(outline.fields):
        start = fields.get("state" if outline.writes_state(packet) else "dst", 0)
        for kind, values in outline.writes(packet, trace):
            row = values[position]
            part = np.empty((len(row), 5), np.int64)
            place, first = np.arange(len(row)), outline.rows[packet]
            part[:, 0], part[:, 1], part[:, 2], part[:, 4] = packet, kind, first + place, row
            part[:, 3] = place + (0 if kind == 2 else start)
            parts.append(part)
    return np.concatenate(parts)


def first_divergence(outline: Outline, expected: np.ndarray, events: np.ndarray,
                     position: int) -> Divergence | None:
    """Compare one token's traced writes with :func:`expected_writes`: memory, address and value.

    Parameters
    ----------
    outline : Outline
        Names the packets.
    expected : ndarray
        From :func:`expected_writes`.
    events : ndarray of ``ternforge_sim.runner.EVENT``
        From the hardware, in order.
    position : int
        Token position, for the report.
    """
    count = min(len(expected), len(events))
    same = np.ones(count, bool)
    for column, name in ((0, "packet"), (1, "kind"), (3, "address"), (4, "value")):
        same &= expected[:count, column] == events[name][:count]
    if same.all() and len(expected) == len(events):
        return None
    index = int(np.argmin(same)) if not same.all() else count
    want = expected[index] if index < len(expected) else None
    have = events[index] if index < len(events) else None
    if want is not None:
        packet, kind, element = (int(value) for value in want[:3])
    else:
        packet, kind, element = int(events["packet"][index]), int(events["kind"][index]), 0
    # A write of another packet or memory means that the wanted one was left out.
    matches = have is not None and (want is None or (int(have["packet"]), int(have["kind"]))
                                    == (packet, kind))
    known = packet < len(outline.entries)
    entry = outline.entries[packet] if known else {"name": "END", "layer": None}
    return Divergence(
        position=position, layer=entry["layer"], packet=packet, op=entry["name"],
        tensor=outline.tensor(packet, kind), memory=MEMORIES[kind],
        element=element, address=int(want[3]) if want is not None else None,
        actual_address=int(events["address"][index]) if matches else None,
        expected=int(want[4]) if want is not None else None,
        actual=int(events["value"][index]) if matches else None,
        cycle=int(events["cycle"][min(index, len(events) - 1)]) if len(events) else 0)
