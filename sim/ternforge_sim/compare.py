"""Finds the first place where the hardware leaves the integer model."""

from dataclasses import asdict, dataclass

import numpy as np

from ternforge_firmware.image import Image
from ternforge_model.integer import Trace
from ternforge_model.program import Load, Matvec, Op, Program

__all__ = ["Divergence", "expected_writes", "first_divergence"]

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

    def __str__(self) -> str:
        where = "" if self.layer is None else f"layer {self.layer}, "
        values = f"the integer model has {self.expected}, the hardware {self.actual}"
        if self.address is not None and self.actual_address not in (None, self.address):
            values += f" at address {self.actual_address} instead of {self.address}"
        return (f"token {self.position}, {where}packet {self.packet} ({self.op}), tensor "
                f"{self.tensor} ({self.memory}), element {self.element}: {values}, "
                f"in cycle {self.cycle}")

    def to_dict(self) -> dict:
        """Fields by name, for JSON."""
        return asdict(self)


def _writes(op: Op, trace: Trace) -> list[tuple[int, np.ndarray]]:
    """Kind and values, time first, of what ``op`` writes, in order."""
    if isinstance(op, Load):
        return [(0, trace[op.name, "vector"])]
    if isinstance(op, Matvec):
        rows = trace.get((op.name, "rows"))
        return [] if rows is None else [(1 if _writes_state(op) else 0, rows)]
    return [(0, trace[op.name, "v"]), (2, trace[op.name, "codes"])] if op.codes else []


def _writes_state(op: Op | None) -> bool:
    return isinstance(op, Matvec) and op.state is not None and op.dst is None


def _tensor(op: Op | None, kind: int) -> str:
    """Name of the tensor that ``op`` writes to memory ``kind``."""
    if kind != 2 and op is not None:
        name = op.state if isinstance(op, Matvec) and kind == 1 else op.dst
        if name is not None:
            return name
    return MEMORIES[kind]


def expected_writes(program: Program, image: Image, trace: Trace,
                    position: int = 0) -> np.ndarray:
    """All writes of one token in order: int64 ``[n, 5]`` of packet, kind, element, address, value.

    Parameters
    ----------
    program : Program
        What the integer model ran.
    image : Image
        The same program as packets; gives the addresses.
    trace : dict
        From the integer model.
    position : int
        Time index into ``trace``.
    """
    parts = []
    for packet, ((op, first), item) in enumerate(zip(
            packet_ops(program, image), (image.embedding[0], *image.program[:-1]), strict=True)):
        start = item.fields["state" if _writes_state(op) else "dst"]
        for kind, values in _writes(op, trace):
            row = values[position]
            if isinstance(op, Matvec):
                row = row[first:first + item.fields["rows"]]
            part = np.empty((len(row), 5), np.int64)
            part[:, 0], part[:, 1], part[:, 4] = packet, kind, row
            part[:, 2] = first + np.arange(len(row))
            part[:, 3] = np.arange(len(row)) + (0 if kind == 2 else start)
            parts.append(part)
    return np.concatenate(parts)


def packet_ops(program: Program, image: Image | None = None) -> list[tuple[Op, int]]:
    """Op of each packet of a token, the embedding row's first, and the first of its rows.

    Without ``image`` each op is one packet.
    """
    if image is None:
        return [(op, 0) for op in (program.embedding_row(0), *program.ops)]
    by_name = {op.name: op for op in program.ops}
    found: list[tuple[Op, int]] = [(program.embedding_row(0), 0)]
    last, rows = "", 0
    for entry, item in zip(image.metadata["packets"], image.program, strict=False):
        rows = rows if entry["name"] == last else 0
        last = entry["name"]
        found.append((by_name[last], rows))
        rows += item.fields.get("rows", 0)
    return found


def first_divergence(program: Program, expected: np.ndarray, events: np.ndarray,
                     position: int, image: Image | None = None) -> Divergence | None:
    """Compare one token's traced writes with :func:`expected_writes`: memory, address and value.

    Parameters
    ----------
    program : Program
        Names the packets.
    expected : ndarray
        From :func:`expected_writes`.
    events : ndarray of ``ternforge_sim.runner.EVENT``
        From the hardware, in order.
    position : int
        Token position, for the report.
    image : Image or None
        Tells which packets belong to one op; None if each op is one packet.
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
    ops = packet_ops(program, image)
    op = ops[packet][0] if packet < len(ops) else None
    return Divergence(
        position=position, layer=op.layer if op else None, packet=packet,
        op=op.name if op else "END", tensor=_tensor(op, kind), memory=MEMORIES[kind],
        element=element, address=int(want[3]) if want is not None else None,
        actual_address=int(events["address"][index]) if matches else None,
        expected=int(want[4]) if want is not None else None,
        actual=int(events["value"][index]) if matches else None,
        cycle=int(events["cycle"][min(index, len(events) - 1)]) if len(events) else 0)
