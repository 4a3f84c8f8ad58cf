"""From packets to what the compiled machine reads: op records, constants and bit planes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ternforge.isa import Function, Opcode

from ..image import PacketSource
from ..lower import described, raise_op
from ..packet import Packet, vector_fields
from .machine import GROUP, OP
from .planes import plane_words, repack, words

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A program, ready to run."""

    names: tuple[str, ...]  #: of the ops
    ops: NDArray[Any]  #: records of :data:`.machine.OP`
    constants: NDArray[np.int16]  #: of all LOADs and QUANTISEs
    weights: NDArray[np.uint64]  #: bit planes of all matrices
    states: dict[str, slice]  #: place of each recurrent state in the state RAM
    vector_depth: int  #: elements of the vector RAM

    @property
    def widest(self) -> int:
        """Words of the longest codes."""
        return int(self.ops["words"].max())

    @property
    def rows(self) -> int:
        """Rows of the tallest matrix."""
        return int(self.ops["count"][self.ops["op"] == Opcode.MATVEC.value].max())


def plan(source: PacketSource, progress: Callable[[str], object]) -> Plan:
    """Read the packets of ``source``, twice: for the sizes, then for the weights.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError, IndexError
        If the metadata do not describe the packets, or a packet cannot run.
    """
    names: list[str] = []
    records: list[NDArray[Any]] = []
    touched: list[tuple[list[int], list[int]]] = []  # addresses of vectors and of states
    constants: list[NDArray[np.int16]] = []
    loaded = used = 0  # constants, words of weights
    for number, (entry, packet, fan_in) in enumerate(described(source)):
        try:
            record = _record(entry, packet, fan_in)
        except ValueError as error:
            raise ValueError(f"packet {number} ({entry['name']}): {error}") from None
        if packet.op is Opcode.MATVEC:
            record["start"], used = used, used + plane_words(packet.fields["rows"], fan_in)
        else:
            record["start"], loaded = loaded, loaded + len(packet.payload)
            constants.append(packet.payload.astype(np.int16))
        touched.append(_touched(packet))
        names.append(str(entry["name"]))
        records.append(record)
    if not records or records[-1]["function"] != Function.LOGITS.value \
            or records[-1]["op"] != Opcode.MATVEC.value:
        raise ValueError("the last packet before END must be the MATVEC of the logits")
    ops = np.array(records, OP)
    ops["group"] = _groups(ops, touched)
    states = {entry["name"]: slice(entry["address"], entry["address"] + entry["length"])
              for entry in source.metadata["states"]}
    return Plan(names=tuple(names), ops=ops, constants=np.concatenate(constants),
                weights=_weights(ops, (item for _, item, _ in described(source)), used,
                                 progress), states=states,
                vector_depth=_vector_depth(ops, source.row_fields))


def _record(entry: Mapping[str, Any], packet: Packet, fan_in: int) -> NDArray[Any]:
    fields = packet.fields
    record = np.zeros((), OP)
    for name in fields.keys() & set(OP.names or ()):
        record[name] = fields[name]
    record["op"] = packet.op.value
    if packet.op is not Opcode.MATVEC:
        raise_op(entry, packet, fan_in)  # checks its values
        record["words"] = words(fields["count"]) if packet.op is Opcode.QUANTISE else 0
        return record
    if not fan_in or not fields["rows"]:
        raise ValueError("a matrix must have rows, and codes before it")
    record["count"], record["fan_in"], record["words"] = fields["rows"], fan_in, words(fan_in)
    record["scale_exponent"] = (fields["scale_exponent"] ^ 0x80) - 0x80
    return record


def _touched(packet: Packet) -> tuple[list[int], list[int]]:
    fields = packet.fields
    vectors = [fields[name] for name in vector_fields(packet.op, packet.fields)]
    recurrent = packet.op is Opcode.MATVEC and Function(fields["function"]) in (
        Function.RECURRENCE, Function.OUTPUT_GATE)
    return vectors, [fields["state"]] if recurrent else []


def _groups(ops: NDArray[Any], touched: list[tuple[list[int], list[int]]]) -> list[int]:
    """How many matrices from each on can run row by row together.

    Row r of one reads and writes nothing but row r of the others if their vectors are the same or
    lie apart, and so do their states.
    """
    groups = [1] * len(ops)
    n = 0
    while n < len(ops):
        rows, end = int(ops[n]["count"]), n + 1
        vectors, states = map(set, touched[n])
        while (ops[n]["op"] == Opcode.MATVEC.value and end < min(n + GROUP, len(ops))
               and ops[end]["op"] == Opcode.MATVEC.value and ops[end]["count"] == rows):
            vectors.update(touched[end][0])
            states.update(touched[end][1])
            if not (_apart(vectors, rows) and _apart(states, rows)):
                break
            end += 1
        groups[n] = end - n
        n = end
    return groups


def _apart(places: set[int], length: int) -> bool:
    return all(b - a >= length for a, b in pairwise(sorted(places)))


def _weights(ops: NDArray[Any], program: Iterable[Packet], size: int,
             progress: Callable[[str], object]) -> NDArray[np.uint64]:
    planes = np.empty(size, np.uint64)
    for op, packet in zip(ops, program, strict=False):
        if packet.op is Opcode.MATVEC:
            rows, fan_in, start = int(op["count"]), int(op["fan_in"]), int(op["start"])
            end = start + plane_words(rows, fan_in)
            progress(f"reading the weights: {start / size:.0%}")
            repack(packet.payload, rows, fan_in, planes[start:end])
    return planes


def _vector_depth(ops: NDArray[Any], row: Mapping[str, int]) -> int:
    ends = [ops[name] + ops["count"] for name in ("src", "operand", "dst")]
    return int(max(np.max(ends), row["dst"] + row["count"]))
