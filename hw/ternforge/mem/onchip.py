"""Image memory in the RAM of the device itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig

__all__ = ["Bank", "OnChipMemory", "banks_of", "memory_write"]


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
    """Banks side by side in one linear address space, with registered bank selection.

    One read per cycle; data stands ``latency`` cycles after the address. Reads and writes never
    come in the same cycle (writes go first; the host writes only while the core is idle).
    Addresses past the last bank read as an arbitrary beat.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and depths.
    init : sequence of int
        Beats from address 0 up; must be zero in single-port RAM.

    Attributes
    ----------
    latency : int
        Cycles from address to data.

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
        if any(init[:config.single_port_beats]):
            raise ValueError("OnChipMemory init must be zero in single-port RAM, which only the "
                             "host port can write")
        if len(init) > config.memory_beats:
            raise ValueError(f"OnChipMemory init must be at most {config.memory_beats} beats, "
                             f"not {len(init)}")
        self.config, self.init, self.banks = config, tuple(init), banks_of(config)
        self.registered = len(self.banks) > 2
        self.latency = 2 + _levels(len(self.banks)) if self.registered else 1
        width = config.beat_bits
        super().__init__({
            "read_address": In(24), "read_data": Out(width), "write": In(memory_write(width)),
        })

    def elaborate(self, platform):
        m = Module()
        # Few banks are addressed and joined at once; many need registers on both sides.
        write = self.write
        if self.registered:
            address = Signal(24)
            write = data.View(memory_write(self.config.beat_bits),
                              Signal(memory_write(self.config.beat_bits).size))
            m.d.sync += [write.eq(self.write), address.eq(Mux(self.write.enable, self.write.address,
                                                              self.read_address))]
        else:
            address = Mux(write.enable, write.address, self.read_address)
        outputs = []
        for index, bank in enumerate(self.banks):
            ram = memory.Memory(shape=self.config.beat_bits, depth=bank.depth,
                                init=self.init[bank.start:bank.start + bank.depth],
                                attrs={"ram_style": bank.style, "no_rw_check": 1})
            m.submodules[f"bank_{index}"] = ram
            read_port, write_port = ram.read_port(), ram.write_port()
            hit = self._hit(address, index)
            local = address if self._aligned(bank) else address - bank.start
            m.d.comb += [
                read_port.addr.eq(local), write_port.addr.eq(local),
                read_port.en.eq(hit & ~write.enable),
                write_port.en.eq(hit & write.enable), write_port.data.eq(write.data),
            ]
            outputs.append((hit, read_port.data))
        if len(outputs) == 1:
            m.d.comb += self.read_data.eq(outputs[0][1])
            return m
        hits = Signal(len(outputs))
        m.d.sync += hits.eq(Cat(hit for hit, _ in outputs))
        words = [Mux(hits[k], word, 0) for k, (_, word) in enumerate(outputs)]
        arity = 2  # of words and their masks; then words alone
        while len(words) > 1:
            joined = []
            for group in (words[k:k + arity] for k in range(0, len(words), arity)):
                word = Signal(self.config.beat_bits, name=f"word_{len(words)}_{len(joined)}",
                              reset_less=True)
                domain = m.d.sync if self.registered else m.d.comb
                domain += word.eq(reduce(or_, group))
                joined.append(word)
            words, arity = joined, 4
        m.d.comb += self.read_data.eq(words[0])
        return m

    @staticmethod
    def _aligned(bank: Bank) -> bool:
        """Whether the low bits of an address are the address in the bank."""
        return bank.start % (1 << (bank.depth - 1).bit_length()) == 0

    def _hit(self, address: Value, index: int) -> Value:
        """Whether ``address`` lies in a bank; the last also takes what lies behind it."""
        bank = self.banks[index]
        if self._aligned(bank) and bank.depth & (bank.depth - 1) == 0 and index < len(
                self.banks) - 1:
            low = bank.depth.bit_length() - 1
            return address[low:] == bank.start >> low
        above = _reaches(address, bank.start)
        return above if index == len(self.banks) - 1 else (
            above & ~_reaches(address, bank.start + bank.depth))


def _levels(words: int) -> int:
    """Registers on the way of a word of so many: joined by twos, then by fours."""
    levels, words = 1, -(-words // 2)
    while words > 1:
        levels, words = levels + 1, -(-words // 4)
    return levels


def _reaches(address: Value, start: int) -> Value:
    """``address >= start``, without a carry chain where ``start`` is a power of two."""
    if not start:
        return C(1)
    if start & (start - 1):
        return address >= start
    return address[start.bit_length() - 1:].any()
