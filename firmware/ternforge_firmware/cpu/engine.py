"""The engine: a model in memory as bit planes, fed with tokens."""

from collections.abc import Callable, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from ternforge.errors import UserError
from ternforge.isa import Function, Opcode, SumOf
from ternforge_model.integer import (
    SITES,
    IntegerResult,
    State,
    Trace,
    check_state,
    check_tokens,
)

from ..image import PacketSource
from ..lower import telling_metadata
from .jit import thread_limit
from .machine import GROUP, run
from .plan import plan
from .planes import WORD
from .vector import PLANES, ROWS

__all__ = ["CHUNK", "Engine"]

#: Most tokens that run together: each row of weights is read once for all of them.
CHUNK = 16


class Engine:
    """Runs a packet image on the CPU; every integer is that of the integer model.

    The weights are held as bit planes of two bits each (:mod:`.planes`), the embedding as
    ``source`` holds it: mapped, if that is an :class:`~ternforge_firmware.imagefile.ImageFile`.
    One engine must not be used by several threads at a time.

    Parameters
    ----------
    source : PacketSource
        Image to run.
    threads : int or None
        How many threads share each matrix; None for all CPUs. Results do not depend on it.
    name : str
        Stands for the image in error messages.
    progress : callable or None
        Told what is being done; where the kernels are new, compiling them takes some 20 seconds.

    Raises
    ------
    ImageError
        The packets cannot run.
    UserError
        ``threads`` is not in 1..:func:`.jit.thread_limit`.
    """

    def __init__(self, source: PacketSource, *, threads: int | None = None, name: str = "image",
                 progress: Callable[[str], object] = lambda step: None):
        limit = thread_limit()
        if threads is not None and threads not in range(1, limit + 1):
            raise UserError(f"--threads must be in 1..{limit}, not {threads}")
        self.threads = limit if threads is None else threads
        with telling_metadata(name):
            self._plan = plan(source, progress)
            self.logit_scale = float(source.metadata["logit_scale"])
        self._table, self._row = source.table, source.row_fields
        ops, wide = self._plan.ops, self._plan.widest
        depth = max((place.stop for place in self._plan.states.values()), default=0)
        self._vectors = np.zeros((CHUNK, self._plan.vector_depth), np.int32)
        self._states = np.zeros((CHUNK + 1, depth), np.int16)
        self._codes = np.zeros((CHUNK, wide * WORD), np.int8)
        self._planes = np.zeros((CHUNK, PLANES, wide), np.uint64)
        self._ratios = np.zeros((CHUNK, 2), np.int64)
        self._scales = np.zeros((GROUP, CHUNK, 2), np.int64)
        self._squares = np.zeros((CHUNK, 1), np.int64)
        self._accs = np.zeros((CHUNK, -(-self._plan.rows // ROWS) * ROWS), np.int32)
        self._clips = np.zeros((GROUP, self._accs.shape[1] // ROWS, 2), np.int64)
        self._counts = np.zeros((len(ops), len(SITES)), np.int64)
        progress("loading the kernels, which are compiled at first use")
        self._run(1, 0, 0)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all bit planes."""
        return self._plan.weights.nbytes

    def forward(
        self, ids: Sequence[int] | np.ndarray, state: State | None = None, *, trace: bool = False
    ) -> IntegerResult:
        """Run a sequence, as :meth:`ternforge_model.integer.IntegerModel.forward` documents."""
        tokens = check_tokens(ids, len(self._table))
        places = self._plan.states
        check_state(state, {name: place.stop - place.start for name, place in places.items()})
        self._states[0] = 0
        for name, value in (state or {}).items():
            self._states[0, places[name]] = value
        self._counts[:] = 0
        parts = [self._chunk(tokens[at:at + CHUNK], trace) for at in range(0, len(tokens), CHUNK)]
        acc, ratios, traces = (list(part) for part in zip(*parts, strict=True))
        ratio = np.concatenate(ratios)
        joined = np.concatenate(acc)
        return IntegerResult(
            tokens=joined.argmax(-1), acc=joined, ratio_mantissa=ratio[:, 0],
            ratio_exponent=ratio[:, 1],
            state={name: self._states[0, place].astype(np.int64)
                   for name, place in places.items()},
            saturated_ops={(self._plan.names[n], SITES[site]): int(self._counts[n, site])
                           for n, site in np.argwhere(self._counts)},
            trace={key: np.concatenate([part[key] for part in traces]) for key in traces[0]})

    def step(self, token: int, state: State | None = None, *, trace: bool = False) -> IntegerResult:
        """Run one token; the same integers as a longer :meth:`forward` has at that place."""
        return self.forward([token], state, trace=trace)

    def _chunk(self, tokens: NDArray[np.int64], trace: bool) -> tuple[
            NDArray[np.int64], NDArray[np.int64], Trace]:
        """Accumulators and ratios of the head and the trace, for up to :data:`CHUNK` tokens."""
        count, row, noted = len(tokens), self._row, {}
        place = slice(row["dst"], row["dst"] + row["count"])
        self._vectors[:count, place] = self._table[tokens].astype(np.int32) << row["shift"]
        self._states[1:count + 1] = self._states[0]
        self._squares[:count] = 0
        self._ratios[:count] = 0
        ops = len(self._plan.ops)
        if trace:
            noted["embeddings", "vector"] = self._vectors[:count, place].astype(np.int64)
            for n in range(ops):
                self._run(count, n, n + 1)
                noted.update(self._note(count, n))
        else:
            self._run(count, 0, ops)
        self._states[0] = self._states[count]
        head = self._accs[:count, :self._plan.ops[-1]["count"]]
        return head.astype(np.int64), self._ratios[:count].copy(), noted

    def _run(self, count: int, first: int, last: int) -> None:
        numba.set_num_threads(self.threads)
        run(self._plan.ops, first, last, self._plan.constants, self._plan.weights,
            self._vectors[:count], self._states[:count + 1], self._codes[:count],
            self._planes[:count], self._ratios[:count], self._squares[:count],
            self._scales, self._accs[:count], self._clips, self._counts)

    def _note(self, count: int, n: int) -> Trace:
        """What op ``n`` has just made, as :meth:`forward` of the integer model documents it."""
        op, name = self._plan.ops[n], self._plan.names[n]
        noted: dict[str, NDArray[np.generic]] = {}
        length = int(op["count"])
        written = self._vectors[:count, op["dst"]:op["dst"] + length]
        if op["op"] == Opcode.LOAD.value:
            noted["vector"] = written
        elif op["op"] == Opcode.QUANTISE.value:
            if op["sum_of"] != SumOf.KEEP.value:
                noted["squares"] = self._squares[:count, 0]
            if op["codes"]:
                noted |= {"v": written, "codes": self._codes[:count, :length],
                          "ratio": self._ratios[:count]}
        else:
            noted["acc"] = self._accs[:count, :length]
            if op["scaled"]:
                noted["scale"] = self._scales[0, :count]
            if op["function"] == Function.RECURRENCE.value:
                noted["rows"] = self._states[1:count + 1, op["state"]:op["state"] + length]
            elif op["function"] != Function.LOGITS.value or op["store"]:
                noted["rows"] = written
        return {(name, kind): value.astype(np.int64) for kind, value in noted.items()}
