"""Finds the first place where the hardware leaves the integer model."""

from dataclasses import asdict, dataclass

import numpy as np

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
    tensor: str  #: ``vector``, ``state`` or ``codes``
    element: int  #: index in the vector
    expected: int | None  #: integer model; None where it writes nothing more
    actual: int | None  #: hardware; None where it wrote nothing more
    cycle: int  #: clock cycle since the start of the simulation

    def __str__(self) -> str:
        return (f"token {self.position}, packet {self.packet} ({self.op}), {self.tensor} element "
                f"{self.element}: the integer model has {self.expected}, the hardware "
                f"{self.actual}, in cycle {self.cycle}")

    def to_dict(self) -> dict:
        """Fields by name, for JSON."""
        return asdict(self)


def _writes(op: Op, trace: Trace) -> list[tuple[int, np.ndarray]]:
    """Kind and values, time first, of what ``op`` writes, in order."""
    if isinstance(op, Load):
        return [(0, trace[op.name, "vector"])]
    if isinstance(op, Matvec):
        rows = trace.get((op.name, "rows"))
        return [] if rows is None else [(1 if op.state and op.dst is None else 0, rows)]
    return [(0, trace[op.name, "v"]), (2, trace[op.name, "codes"])] if op.codes else []


def expected_writes(program: Program, trace: Trace, position: int = 0) -> np.ndarray:
    """All writes of one token in order: int64 ``[n, 4]`` of packet, kind, element, value."""
    parts = []
    for packet, op in enumerate((program.embedding_row(0), *program.ops)):
        for kind, values in _writes(op, trace):
            row = values[position]
            part = np.empty((len(row), 4), np.int64)
            part[:, 0], part[:, 1], part[:, 2], part[:, 3] = packet, kind, np.arange(len(row)), row
            parts.append(part)
    return np.concatenate(parts)


def first_divergence(program: Program, expected: np.ndarray, events: np.ndarray,
                     position: int) -> Divergence | None:
    """Compare one token's traced writes with :func:`expected_writes`.

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
    """
    count = min(len(expected), len(events))
    same = ((expected[:count, 0] == events["packet"][:count])
            & (expected[:count, 1] == events["kind"][:count])
            & (expected[:count, 3] == events["value"][:count]))
    if same.all() and len(expected) == len(events):
        return None
    index = int(np.argmin(same)) if not same.all() else count
    want = expected[index] if index < len(expected) else None
    have = events[index] if index < len(events) else None
    packet, kind, element = (int(want[0]), int(want[1]), int(want[2])) if want is not None else (
        int(events["packet"][index]), int(events["kind"][index]), 0)
    ops = (program.embedding_row(0), *program.ops)
    op = ops[packet] if packet < len(ops) else None
    matches = have is not None and (want is None or (int(have["packet"]), int(have["kind"]))
                                    == (packet, kind))
    return Divergence(
        position=position, layer=op.layer if op else None, packet=packet,
        op=op.name if op else "END", tensor=MEMORIES[kind], element=element,
        expected=int(want[3]) if want is not None else None,
        actual=int(events["value"][index]) if matches else None,
        cycle=int(events["cycle"][min(index, len(events) - 1)]) if len(events) else 0)
