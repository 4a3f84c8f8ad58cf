"""Addresses of vectors and recurrent states, and whether a program fits a core."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.isa import Function
from ternforge_model.program import Matvec, Op, Program, Quantise

__all__ = ["MIN_ROWS", "RESIDUAL_VECTOR", "Allocation", "FitError", "allocate", "live_ranges",
           "row_parts"]

#: Fewest rows of a MATVEC packet.
MIN_ROWS = 8

#: The vector that the embedding row fills; the only one that lives for the whole token.
RESIDUAL_VECTOR = "x"


class FitError(UserError):
    """A program that the core cannot run; says what is too large, and by how much."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Where the vectors and states of a program stand, and the least core that runs it."""

    vectors: dict[str, int]  #: element addresses in the vector RAM
    states: dict[str, int]  #: element addresses in the state RAM
    needs: dict[str, int]  #: least value of each field of ``CoreConfig`` that bounds a program


def _reads(op: Op) -> Iterable[str]:
    if isinstance(op, Quantise):
        yield op.src
    elif isinstance(op, Matvec) and op.operand is not None:
        yield op.operand


def _writes(op: Op) -> str | None:
    if isinstance(op, Quantise):
        return op.dst if op.codes else None
    return op.dst


def live_ranges(program: Program) -> dict[str, list[tuple[int, int]]]:
    """Ranges of ops, first and last included, in which each vector holds something needed.

    The products that a QUANTISE writes die with it: once it has finished, only the codes matter.
    An op that reads and writes one vector continues its range. Stored logits live to the end,
    where the host reads them, and the residual stream always.

    Raises
    ------
    ValueError
        If an op reads a vector that nothing wrote.
    """
    last = len(program.ops) - 1
    ranges: dict[str, list[tuple[int, int]]] = {name: [] for name in program.vectors}
    for n, op in enumerate(program.ops):
        reads = tuple(_reads(op))
        for name in reads:
            if name == RESIDUAL_VECTOR:
                continue
            if not ranges[name]:
                raise ValueError(f"op {op.name!r} must read vectors that were written, not "
                                 f"{name!r}")
            ranges[name][-1] = ranges[name][-1][0], n
        written = _writes(op)
        if written is not None and written not in reads:
            stays = isinstance(op, Matvec) and op.function is Function.LOGITS
            ranges[written].append((n, last if stays else n))
    ranges[RESIDUAL_VECTOR] = [(-1, last)]
    return ranges


def _overlap(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> bool:
    return any(i <= n and m <= j for i, j in a for m, n in b)


def _place(program: Program, elements: int) -> dict[str, int]:
    """First fit, the longest vector first; vectors share memory if they never live at once."""
    ranges = live_ranges(program)
    size = {name: -(-length // elements) * elements for name, length in program.vectors.items()}
    order = sorted(program.vectors, key=lambda n: (n != RESIDUAL_VECTOR, -size[n], n))
    placed: dict[str, int] = {}
    for name in order:
        taken = sorted((placed[other], placed[other] + size[other]) for other in placed
                       if _overlap(ranges[name], ranges[other]))
        address = 0
        for start, end in taken:
            if address + size[name] <= start:
                break
            address = max(address, end)
        placed[name] = address
    return {name: placed[name] for name in program.vectors}


def _stack(lengths: Mapping[str, int]) -> dict[str, int]:
    addresses, at = {}, 0
    for name, length in lengths.items():
        addresses[name] = at
        at += length
    return addresses


def row_parts(rows: int, most: int) -> list[slice]:
    """Parts of a matrix of several tiles for ``most`` accumulators, as few and equal as can be.

    Where cores share a beat, rows are groups of as many.
    """
    count = -(-rows // most)
    return [slice(rows * k // count, rows * (k + 1) // count) for k in range(count)]


def allocate(program: Program, core: CoreConfig) -> Allocation:
    """Place vectors and states, and check every limit of ``core`` except the image memory.

    Vectors that never live at the same time share memory; addresses are multiples of
    ``core.elements``. A matrix of several tiles with more rows than the core has accumulators takes
    several packets. States stand one after the other in the order of the layers.

    Raises
    ------
    FitError
        If a width or depth of the core is exceeded; names it and the excess.
    """
    elements = core.elements
    longest, accumulators = ("", 0), ("", 0)
    for op in program.ops:
        if isinstance(op, Quantise):
            if op.weights.size % elements:
                raise FitError(f"op {op.name!r} of model {program.name!r} must quantise a multiple "
                               f"of elements={elements} values, not {op.weights.size}")
            longest = max(longest, (op.name, op.weights.size), key=lambda item: item[1])
        elif isinstance(op, Matvec):
            cores = core.cores
            if op.rows < MIN_ROWS * cores:
                raise FitError(f"matrix {op.name!r} of model {program.name!r} must have at least "
                               f"{MIN_ROWS * cores} rows, not {op.rows}")
            if op.rows % cores:
                raise FitError(f"matrix {op.name!r} of model {program.name!r} must have a multiple "
                               f"of cores={cores} rows, not {op.rows}")
            if op.fan_in > core.tile:
                need = cores * max(MIN_ROWS, *(part.stop - part.start for part in row_parts(
                    op.rows // cores, core.max_rows // cores)))
                accumulators = max(accumulators, (op.name, need), key=lambda item: item[1])
    vectors, states = _place(program, elements), _stack(program.states)
    needs = {
        "vector_depth": max(vectors[name] + -(-length // elements) * elements
                            for name, length in program.vectors.items()),
        "state_depth": sum(program.states.values()),
        "max_rows": accumulators[1],
        "max_fan_in": longest[1],
    }
    what = {
        "vector_depth": "its vectors", "state_depth": "its recurrent states",
        "max_rows": f"matrix {accumulators[0]!r} of several tiles",
        "max_fan_in": f"quantised vector {longest[0]!r}",
    }
    if core.prefill_states:
        needs["prefill_states"] = max(program.states.values(), default=0)
        what["prefill_states"] = "the states of one of its layers"
    for name, need in needs.items():
        have = getattr(core, name)
        if need > have:
            raise FitError(f"model {program.name!r} does not fit the core: {what[name]} need "
                           f"{name}={need}, {need - have} more than its {have}")
    return Allocation(vectors=vectors, states=states, needs=needs)
