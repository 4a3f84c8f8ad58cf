"""Analytic model of a token's cycles, by packet and cause, without running anything.

Each packet of the stream is followed through sequencer, quantiser and lanes by the latencies that
these state (docs/architecture.md). What depends on the data is taken at a usual value: leading
zeros of the largest magnitude and of the sum of squares, and the bits of the token. The memory
gives a beat in every cycle after its latency. ``make bench`` compares it with the simulation.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from amaranth.hdl import UnusedElaboratable

from ternforge.config import CoreConfig
from ternforge.core.accumulate import Accumulator
from ternforge.core.epilogue import Epilogue
from ternforge.core.largest import Largest
from ternforge.core.sequencer import Cause
from ternforge.isa import Function, Opcode
from ternforge.lanes import dot_product
from ternforge.mem.onchip import OnChipMemory
from ternforge_model.config import ModelConfig

from . import pack, packet
from .allocate import row_parts
from .image import Image
from .imagefile import ImageFile

__all__ = ["MEMORY_LATENCY", "PacketShape", "image_packets", "model_packets", "token_cycles"]

#: Cycles to the first beat of a memory off the chip, if nothing else is known.
MEMORY_LATENCY = 30
#: Usual leading zeros of a vector's largest magnitude, and bits of a token.
_ZEROS, _TOKEN_BITS = 3, 12
#: Cycles of the reciprocal without leading zeros, of the ratio after it, and of a row's scale.
_RECIPROCAL, _RATIO, _SCALE = 18, 45, 6
#: Cycles of either pass beside one per word, and of one that only adds up squares.
_PASS, _SQUARES = 10, 16


#: Functions whose rows need no scale: it cancels out of what follows (docs/integer-contract.md).
_UNSCALED = (Function.OUTPUT_GATE, Function.MULTIPLY, Function.LOGITS)


@dataclass(frozen=True)
class PacketShape:
    """What of a packet its cycles depend on."""

    op: Opcode
    count: int = 0  #: elements of LOAD and QUANTISE
    wide: bool = True  #: constants of 16 bits
    codes: bool = False  #: QUANTISE with a second pass
    function: Function = Function.LOGITS  #: of MATVEC
    rows: int = 0
    tiles: int = 0
    scaled: bool = False

    @classmethod
    def of(cls, op: Opcode, fields: Mapping[str, Any]) -> "PacketShape":
        """From a decoded header."""
        if op is Opcode.MATVEC:
            return cls(op, function=Function(fields["function"]), rows=fields["rows"],
                       tiles=fields["tiles"], scaled=bool(fields["scaled"]))
        if op is Opcode.END:
            return cls(op)
        return cls(op, count=fields["count"], wide=bool(fields["wide"]),
                   codes=bool(fields.get("codes", 0)))


def image_packets(image: Image | ImageFile) -> list[PacketShape]:
    """Packets of a token in an image: the embedding row, the program, END."""
    if isinstance(image, Image):
        headers = ((item.op, item.fields) for item in image.program)
    else:
        headers = ((op, fields) for _, op, fields in image.headers())
    return [PacketShape.of(op, fields) for op, fields in ((Opcode.LOAD, image.row_fields),
                                                          *headers)]


def model_packets(config: ModelConfig, core: CoreConfig, *, inner_norms: bool = True,
                  wide_embedding: bool = True) -> list[PacketShape]:
    """Packets of a token of a model that need not exist.

    Parameters
    ----------
    config : ModelConfig
        Shape of the model.
    core : CoreConfig
        ``lanes`` and ``max_rows`` count; whether the rest fits is not looked at.
    inner_norms : bool
        The norms inside the linear maps have weights of their own, as in the released models.
    wide_embedding : bool
        The embedding takes 16 bits a value.
    """
    d, m = config.hidden_size, config.mlp_width

    def norms(count: int, own: bool) -> Iterator[PacketShape]:
        if own:  # the outer norm's root mean square is not that of what is coded
            yield PacketShape(Opcode.QUANTISE, count)
        yield PacketShape(Opcode.QUANTISE, count, codes=True)

    def matrix(function: Function, rows: int, fan_in: int) -> Iterator[PacketShape]:
        tiles = pack.tiles(fan_in, core.row_lanes)
        groups = rows // core.cores
        for part in row_parts(groups, core.max_rows // core.cores if tiles > 1 else groups):
            yield PacketShape(Opcode.MATVEC, function=function, rows=part.stop - part.start,
                              tiles=tiles, scaled=function not in _UNSCALED)

    def token() -> Iterator[PacketShape]:
        yield PacketShape(Opcode.LOAD, d, wide=wide_embedding)
        for layer in range(config.num_hidden_layers):
            yield from norms(d, inner_norms)
            if layer and config.use_lower_bound:
                yield PacketShape(Opcode.LOAD, d)
            yield from matrix(Function.FORGET, d, d)
            for function in (Function.RECURRENCE, Function.OUTPUT_GATE):
                if inner_norms:
                    yield PacketShape(Opcode.QUANTISE, d, codes=True)
                yield from matrix(function, d, d)
            yield from norms(d, inner_norms)
            yield from matrix(Function.RESIDUAL, d, d)
            yield from norms(d, inner_norms)
            yield from matrix(Function.SILU, m, d)
            yield from matrix(Function.MULTIPLY, m, d)
            yield PacketShape(Opcode.QUANTISE, m, codes=True)
            yield from matrix(Function.RESIDUAL, d, m)
        yield from norms(d, inner_norms)
        yield from matrix(Function.LOGITS, config.vocab_size, d)
        yield PacketShape(Opcode.END)

    return list(token())


@dataclass(frozen=True)
class _Latencies:
    """Cycles that units state of themselves."""

    row: Mapping[Function, int]  #: from a row's last beat to its write
    compare: int  #: of the largest of several elements
    memory: int  #: of the image memory on the chip; 0: there is none


def _asked(core: CoreConfig) -> _Latencies:
    lanes = dot_product(core).latency + Accumulator(core).latency + core.registers_beats
    epilogue = Epilogue(core)
    return _Latencies(row={function: lanes + epilogue.latency(function)
                           for function in Function.__members__.values()},
                      compare=Largest(core.elements).latency,
                      memory=OnChipMemory(core).latency if core.bank_beats else 0)


@cache
def _latencies(core: CoreConfig) -> _Latencies:
    with warnings.catch_warnings():  # the units are asked, not built
        warnings.simplefilter("ignore", UnusedElaboratable)
        return _asked(core)


class _Machine:
    """Where time stands, and until when the units are taken."""

    def __init__(self, core: CoreConfig):
        self.core, self.latencies = core, _latencies(core)
        self.lag = int(core.registers_beats)  # registers between stream and lanes
        self.now = 0
        self.quantised = 0  # when the quantiser is through
        self.ratio = 0  # when the ratio of the last codes stands
        self.codes = 0  # when the first code came, if the tile buffer has to wait for them
        self.fan_in = 0
        self.cycles = [0] * len(Cause)

    def spend(self, cause: Cause, cycles: int) -> None:
        """Let cycles pass."""
        self.cycles[cause.value] += max(0, cycles)
        self.now += max(0, cycles)

    def header(self) -> None:
        """A header and its decoding."""
        self.spend(Cause.HEADER, self.core.header_beats + 1)

    def words(self, count: int) -> int:
        """Cycles that the quantiser takes for as many elements."""
        return -(-count // self.core.elements)

    def vector(self, shape: PacketShape) -> None:
        """LOAD, or QUANTISE up to its second pass."""
        self.spend(Cause.VECTOR, self.quantised - self.now)
        wait = max(0, self.ratio - self.now)  # the scalar unit still works for the packet before
        beats = packet.payload_beats(shape.op, {"wide": shape.wide, "count": shape.count},
                                     self.core.lanes)
        words = self.words(shape.count)
        if shape.codes:
            rest = _PASS + self.latencies.compare + _RECIPROCAL + _ZEROS
        elif shape.op is Opcode.LOAD:
            rest = _PASS + self.latencies.compare
        else:  # squares are later than the largest
            rest = _SQUARES + (self.core.elements > 1)
        self.spend(Cause.CONSTANTS, beats)
        self.spend(Cause.VECTOR, wait + words + rest - beats)
        self.quantised = self.now
        if shape.codes:
            self.quantised += words + _PASS + self.lag
            self.ratio = self.now + _RATIO
            self.codes, self.fan_in = self.now + _PASS, shape.count

    def matrix(self, shape: PacketShape) -> None:
        """MATVEC: its tiles one after the other, the last with the rows' scale."""
        core, double = self.core, self.core.tile_registers > 1
        scale = max(self.now, self.ratio) + _SCALE if shape.scaled else self.now
        permitted = 1 + max(scale, self.quantised)
        change = 0 if double else 4 + 2 * self.lag
        for tile in range(shape.tiles):
            late = change if tile else 0
            if self.codes:
                reached = self.words(min(self.fan_in, (tile + 1) * core.tile))
                late = max(late, self.codes + reached + self.lag + double - self.now)
            self.spend(Cause.TILE, late)
            if tile == shape.tiles - 1:
                self.spend(Cause.VECTOR, permitted - self.now)
            self.spend(Cause.WEIGHTS, shape.rows)
        self.codes = 0
        self.spend(Cause.DRAIN, self.latencies.row[shape.function])


def token_cycles(packets: Iterable[PacketShape], core: CoreConfig, *,
                 latency: int = MEMORY_LATENCY) -> np.ndarray:
    """Cycles of one token.

    Parameters
    ----------
    packets : iterable of PacketShape
        From :func:`image_packets` or :func:`model_packets`.
    core : CoreConfig
        Core that runs them.
    latency : int
        Cycles to the first beat of an image memory off the chip.

    Returns
    -------
    numpy.ndarray
        int64 ``[packets, causes]`` in the order of :class:`~ternforge.core.sequencer.Cause`, like
        ``activity`` of a simulated step, with an embedding row for each stream; the sum is the
        pass's cycles.
    """
    machine, rows = _Machine(core), []
    embedding, *program = packets
    for number, shape in enumerate([*[embedding] * core.streams, *program]):
        machine.cycles = [0] * len(Cause)
        row = number < core.streams
        if number == 0 and core.bank_beats:  # directory and header are read, then the row
            machine.spend(Cause.MEMORY, 2 * machine.latencies.memory + 8)
        elif number == 0:
            machine.spend(Cause.MEMORY, latency + core.header_beats + 5)
        elif row and not core.bank_beats:  # the next stream's header is asked for with the row
            machine.spend(Cause.MEMORY, latency - machine.words(shape.count))
        machine.header()
        if row and not core.bank_beats:
            machine.spend(Cause.MEMORY, latency + _TOKEN_BITS // 2)
        if shape.op is Opcode.MATVEC:
            machine.matrix(shape)
        elif shape.op is not Opcode.END:
            machine.vector(shape)
        rows.append(machine.cycles)
    return np.array(rows, np.int64)
