"""Image memory in the RAM of the device itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig

__all__ = ["Bank", "OnChipMemory", "banks_of", "memory_write", "part_bits"]


#: Banks that share registers, and words that one table of four inputs joins.
_GROUP = 4
#: Parts of a registered bank of wide beats: an address register, and its net, for a few block RAMs.
_PARTS = 4
#: Bits of a beat that fill whole block RAMs, whatever their depth.
_WIDTH = 18


@dataclass(frozen=True, kw_only=True)
class Bank:
    """One block of the image memory."""

    start: int  #: beat address
    depth: int  #: beats
    style: str  #: ``block``: initialised block RAM; ``huge``: single-port RAM, not initialised


def banks_of(config: CoreConfig) -> tuple[Bank, ...]:
    """Banks of the image memory from address 0 up: single-port RAM first, then block RAM."""
    single = config.single_port_beats
    banks = [Bank(start=0, depth=single, style="huge")] if single else []
    banks += [Bank(start=start, depth=min(config.bank_beats, config.memory_beats - start),
                   style="block")
              for start in range(single, config.memory_beats, config.bank_beats)]
    return tuple(banks)


def memory_write(width: int) -> data.StructLayout:
    """Write of one beat of ``width`` bits; ``address`` counts beats."""
    return data.StructLayout({"enable": 1, "address": 24, "data": width})


class OnChipMemory(wiring.Component):
    """Banks side by side in one linear address space.

    One read per cycle; data stands ``latency`` cycles after the address. Reads and writes never
    come in the same cycle (writes go first; the host writes only while the core is idle).
    Addresses past the last bank read as an arbitrary beat.

    One or two banks are addressed and joined at once. More of them lie all over the device: address
    and data pass registers of a group of banks, and of each part of a bank, one after the other.
    Only the registers on the way to the addressed bank change. Each word passes two registers, the
    first for nothing else: block RAM has it at its output.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and depths.
    init : sequence of int
        Beats from address 0 up; must be zero in single-port RAM.

    Attributes
    ----------
    latency : int
        Cycles from address to data: 1, or 11 with registers and up to 16 banks.

    Members
    -------
    read_address : :py:`In(24)`
        Beat address.
    read_data : :py:`Out(width)`
        Beat, ``latency`` cycles later.
    write : :py:`In(memory_write(width))`
        Write port.
    """

    read_address: Signal
    read_data: Signal
    write: data.View

    def __init__(self, config: CoreConfig, init: Sequence[int] = ()):
        if not config.bank_beats:
            raise ValueError("OnChipMemory needs a core with bank_beats, but this has its image "
                             f"memory of {config.memory_beats} beats off the chip")
        if any(init[:config.single_port_beats]):
            raise ValueError("OnChipMemory init must be zero in single-port RAM, which only the "
                             "host port can write")
        if len(init) > config.memory_beats:
            raise ValueError(f"OnChipMemory init must be at most {config.memory_beats} beats, "
                             f"not {len(init)}")
        self.config, self.init, self.banks = config, tuple(init), banks_of(config)
        self.registered = len(self.banks) > 2
        # Three registers of the address, the RAM, two of the word, a cycle for each part but the
        # first, and what joins the words.
        width = config.beat_bits
        self.latency = (4 + len(part_bits(width)) + _levels(len(self.banks)) if self.registered
                        else 1)
        super().__init__({
            "read_address": In(24), "read_data": Out(width), "write": In(memory_write(width)),
        })

    def elaborate(self, platform):
        m = Module()
        chosen = Signal(24)
        m.d.comb += chosen.eq(Mux(self.write.enable, self.write.address, self.read_address))
        if self.registered:
            m.d.comb += self.read_data.eq(self._registered(m, chosen))
        else:
            m.d.comb += self.read_data.eq(self._direct(m, chosen))
        return m

    def _ram(self, m: Module, index: int, address: Value, select: Value, write: Value,
             data: Value, low: int = 0) -> Value:
        """RAM of a bank and its word, read if ``select``; ``address`` counts over all banks.

        It holds as many bits of each beat as ``data`` has, from bit ``low`` up.
        """
        bank, bits = self.banks[index], len(data)
        ram = memory.Memory(shape=bits, depth=bank.depth,
                            init=[beat >> low & (1 << bits) - 1
                                  for beat in self.init[bank.start:bank.start + bank.depth]],
                            attrs={"ram_style": bank.style, "no_rw_check": 1})
        m.submodules[f"bank_{index}_{low}" if bits < self.config.beat_bits
                     else f"bank_{index}"] = ram
        read_port, write_port = ram.read_port(), ram.write_port()
        aligned = bank.start % (1 << (bank.depth - 1).bit_length()) == 0
        local = address if aligned else address - bank.start
        m.d.comb += [
            read_port.addr.eq(local), write_port.addr.eq(local),
            read_port.en.eq(select),
            write_port.en.eq(write), write_port.data.eq(data),
        ]
        return read_port.data

    def _direct(self, m: Module, address: Value) -> Value:
        """One or two banks without registers."""
        words = []
        for index in range(len(self.banks)):
            hit = self._hit(address, index)
            word = self._ram(m, index, address, hit & ~self.write.enable,
                             self.write.enable & hit, self.write.data)
            read = Signal(name=f"hit_{index}")
            m.d.sync += read.eq(hit)
            words.append(Mux(read, word, 0) if len(self.banks) > 1 else word)
        return reduce(or_, words)

    def _registered(self, m: Module, chosen: Value) -> Value:
        """Groups of banks behind registers of their own."""
        address = _register(m, "address", chosen)
        writes = _register(m, "writes", self.write.enable)
        data = _register(m, "data_later", _register(m, "data", self.write.data))
        words = []
        for group, first in enumerate(range(0, len(self.banks), _GROUP)):
            indices = range(first, min(first + _GROUP, len(self.banks)))
            hits = Cat(self._hit(address, index) for index in indices)
            group_hits = _register(m, f"hits_{group}", hits)
            group_address = _register(m, f"address_{group}", address, hits.any())
            group_writes = _register(m, f"writes_{group}", writes & hits.any())
            group_data = _register(m, f"data_{group}", data, group_writes)
            cuts = part_bits(self.config.beat_bits)
            part_data = [group_data[low:high] for low, high in pairwise(cuts)]
            for part in range(1, len(part_data)):
                for later in range(part, len(part_data)):
                    part_data[later] = _register(m, f"data_{group}_{later}", part_data[later])
            words += [self._parts(m, index, hit, group_address, group_writes, part_data)
                      for index, hit in zip(indices, group_hits, strict=True)]
        while len(words) > 1:
            words = [_register(m, f"joined_{len(words)}_{k}", reduce(or_, words[k:k + _GROUP]))
                     for k in range(0, len(words), _GROUP)]
        return words[0]

    def _parts(self, m: Module, index: int, hit: Value, address: Value, writes: Value,
               part_data: Sequence[Value]) -> Value:
        """Word of a bank in parts; each is told by the part before it, a cycle later."""
        address = _register(m, f"address_{index}_0", address, hit)
        writes = _register(m, f"writes_{index}_0", writes & hit)
        read = _register(m, f"read_{index}", _register(m, f"hit_{index}", hit))
        reads = _register(m, f"reads_{index}_0", read)
        parts, low = [], 0
        for part, content in enumerate(part_data):
            if part:
                address = _register(m, f"address_{index}_{part}", address)
                writes = _register(m, f"writes_{index}_{part}", writes)
                reads = _register(m, f"reads_{index}_{part}", reads)
            name = f"{index}_{part}"
            word = self._ram(m, index, address, C(1), writes, content, low)
            word = _register(m, f"word_{name}", word)
            word = _register(m, f"read_word_{name}", Mux(reads, word, C(0, len(word))))
            for _ in range(part + 1, len(part_data)):
                word = _register(m, f"later_word_{name}", word)
            parts.append(word)
            low += len(content)
        return Cat(parts)

    def _hit(self, address: Value, index: int) -> Value:
        """Whether ``address`` lies in a bank; the last also takes what lies behind it."""
        bank = self.banks[index]
        last = index == len(self.banks) - 1
        low = bank.depth.bit_length() - 1
        if not last and bank.depth == 1 << low and bank.start % bank.depth == 0:
            return address[low:] == bank.start >> low
        above = _reaches(address, bank.start)
        return above if last else above & ~_reaches(address, bank.start + bank.depth)


def _register(m: Module, name: str, value: Value, when: Value | None = None) -> Signal:
    """A register without reset, which takes ``value`` in every cycle, or in those of ``when``."""
    held = Signal(len(value), name=name, reset_less=True)
    with m.If(C(1) if when is None else when):
        m.d.sync += held.eq(value)
    return held


def part_bits(width: int) -> list[int]:
    """Bits of a beat at which the parts of registered banks begin, and ``width``, where they end.

    No block RAM lies across one of them.
    """
    cuts = {_WIDTH * round(part * width / (_WIDTH * _PARTS)) for part in range(_PARTS)}
    return sorted({cut for cut in cuts if cut < width} | {width})


def _levels(words: int) -> int:
    """Registers on the way of one of so many words: joined by fours."""
    return 0 if words == 1 else 1 + _levels(-(-words // _GROUP))


def _reaches(address: Value, start: int) -> Value:
    """``address >= start``, without a carry chain where ``start`` is a power of two."""
    if not start:
        return C(1)
    if start & (start - 1):
        return address >= start
    return address[start.bit_length() - 1:].any()
