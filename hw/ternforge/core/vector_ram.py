"""The vector RAM: banks of 24-bit elements behind one read and one write port."""

from typing import Any

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..numerics import STATE_BITS, VECTOR_BITS
from .several import part, several

__all__ = ["VectorRam", "element_write", "state_write", "vector_word", "word_write"]


def vector_word(config: CoreConfig) -> data.ArrayLayout:
    """``elements`` neighbouring vector elements, the one of the lowest address first."""
    return data.ArrayLayout(signed(VECTOR_BITS), config.elements)


def word_write(config: CoreConfig) -> data.StructLayout:
    """Write of one word of ``elements`` elements; ``address`` counts words."""
    return data.StructLayout({"enable": 1, "address": 16, "data": vector_word(config)})


def element_write(bits: int = VECTOR_BITS, address_bits: int = 16, *, cores: int = 1,
                  ) -> data.StructLayout:
    """Write of one element, or of neighbours from each core; ``address`` counts elements."""
    return data.StructLayout({"enable": 1, "address": address_bits,
                              "data": several(signed(bits), cores)})


def state_write(config: CoreConfig, *, cores: int = 1) -> data.StructLayout:
    """Write of one recurrent state, or of neighbours from each core."""
    return element_write(STATE_BITS, config.state_address_bits, cores=cores)


class VectorRam(wiring.Component):
    """``vector_depth`` elements in ``elements`` banks.

    One read and one write per cycle, of a word or of ``cores`` neighbours. A word stands one cycle
    after its address, an element ``config.operand_latency`` cycles after it. A write takes as long;
    no unit uses what it reads before a write to the same word has taken effect, so that is left
    open.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Depth and number of banks.

    Members
    -------
    read_address : :py:`In(16)`
        Element address.
    read_word : :py:`Out(vector_word(config))`
        The word that holds it, one cycle later.
    read_element : :py:`Out(several(signed(24), config.cores))`
        The element itself, ``config.operand_latency`` cycles later; with several cores it and its
        neighbours, from the multiple of ``cores`` at or below the address on.
    word : :py:`In(word_write(config))`
        Writes whole words; goes before ``element``.
    element : :py:`In(element_write(cores=config.cores))`
        Writes one element, or ``cores`` at a multiple of that.
    """

    read_address: Signal
    read_word: data.View
    read_element: Any  # signed(24), or an array of them
    word: data.View
    element: data.View

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "read_address": In(16), "read_word": Out(vector_word(config)),
            "read_element": Out(several(signed(VECTOR_BITS), config.cores)),
            "word": In(word_write(config)), "element": In(element_write(cores=config.cores)),
        })

    def elaborate(self, platform):
        m = Module()
        count = self.config.elements
        low = count.bit_length() - 1
        depth = -(-self.config.vector_depth // count)
        word, selected = self.read_word.as_value(), self.read_address[:low]
        for cycle in range(self.config.operand_latency):
            later = Signal(range(max(count, 2)), name=f"selected_{cycle}")
            m.d.sync += later.eq(selected)
            selected = later
        if self.config.operand_latency > 1:
            later = Signal(len(word), name="word", reset_less=True)
            m.d.sync += later.eq(word)
            word = later
        cores = self.config.cores
        skipped = (cores - 1).bit_length()  # bits of an address that do not choose among groups
        group = selected[skipped:]
        if cores == 1:
            m.d.comb += self.read_element.eq(word.word_select(group, VECTOR_BITS).as_signed())
        else:
            m.d.comb += self.read_element.eq(word.word_select(group, VECTOR_BITS * cores))
        domain = m.d.sync if self.config.operand_latency > 1 else m.d.comb
        for index in range(count):
            bank = memory.Memory(shape=signed(VECTOR_BITS), depth=depth, init=[],
                                 attrs={"no_rw_check": 1})
            m.submodules[f"bank_{index}"] = bank
            read, write = bank.read_port(), bank.write_port()
            m.d.comb += [
                read.addr.eq(self.read_address >> low),
                self.read_word[index].eq(read.data),
            ]
            with m.If(self.word.enable):
                domain += [write.addr.eq(self.word.address), write.data.eq(self.word.data[index]),
                           write.en.eq(1)]
            with m.Else():
                domain += [
                    write.addr.eq(self.element.address >> low),
                    write.data.eq(part(self.element.data, index % cores, cores)),
                    write.en.eq(self.element.enable
                                & (self.element.address[skipped:low] == index >> skipped)),
                ]
        return m
