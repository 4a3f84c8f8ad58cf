"""The gate simulator ``gates.cpp`` with its blocks as a Python object."""

import ctypes
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ternforge.cache import cached, content_key
from ternforge.process import ToolError, find_tool, run_tool

from .gates import BLOCK_RAM, MULTIPLIER, SINGLE_PORT_RAM, GateNetlist

__all__ = ["SOURCES", "WORDS", "Counts", "GateSimulator"]

#: Words of 16 bits in each kind of memory that can be loaded.
WORDS = {BLOCK_RAM: 256, SINGLE_PORT_RAM: 16384}

#: Texts of the simulator, the first one first.
SOURCES = tuple(Path(__file__).with_name(name)
                for name in ("blocks.hpp", "family.hpp", "gates.cpp"))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What happened in the cycles that were counted.

    ``sink_toggles`` are changes of nets times the pins that each leads to. The ``functional`` ones
    are those that were still there at the end of a cycle; the rest are glitches.
    """

    cycles: int
    sink_toggles: float
    functional_sink_toggles: float
    pin_toggles: int  #: of output ports
    block_ram_reads: int
    block_ram_writes: int
    spram_reads: int
    spram_writes: int
    dsp_operations: int  #: cycles with new factors, over all multipliers


@cache
def _library() -> ctypes.CDLL:
    compiler = find_tool("g++", "g++ (on Debian: apt-get install g++)")
    _, version = run_tool([compiler, "--version"], cwd=Path.cwd())

    def fill(folder: Path) -> None:
        text = "".join(source.read_text() for source in SOURCES)
        (folder / "gates.cpp").write_text(text)
        run_tool([compiler, "-O2", "-std=c++17", "-shared", "-fPIC", "gates.cpp", "-o", "gates.so"],
                 cwd=folder)

    key = content_key(*SOURCES, version, sysconfig.get_platform())
    library = ctypes.CDLL(str(cached("gates", key, fill) / "gates.so"))
    pointer, u32, u64, c_int = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
    for name, result, *arguments in (
            ("new", pointer, u32, *[pointer, u32] * 5), ("delete", None, pointer),
            ("force", None, pointer, u32, c_int), ("start", c_int, pointer),
            ("input", None, pointer, u32, c_int), ("value", c_int, pointer, u32),
            ("run", c_int, pointer, u64), ("count", None, pointer, c_int, u32, c_int),
            ("counted", u64, pointer),
            ("load", None, pointer, u32, u32, u32, pointer),
            ("peek", None, pointer, u32, u32, u32, pointer),
            ("toggles", None, pointer, pointer, pointer), ("accesses", None, pointer, pointer)):
        function = getattr(library, f"gates_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class GateSimulator:
    """A running simulation; time is counted in clock cycles.

    Parameters
    ----------
    netlist : GateNetlist
        The design.
    high : tuple of int
        Nets of inputs that start high; all others, and flip-flops, start low.

    Raises
    ------
    ToolError
        If a net does not come to rest.
    """

    def __init__(self, netlist: GateNetlist, high: tuple[int, ...] = ()):
        self.netlist, self.cycle = netlist, 0
        self._library = _library()
        arrays = (netlist.tables, netlist.flip_flops, netlist.blocks, netlist.pins,
                  netlist.parameters)
        arguments = [part for array in arrays for part in (array.ctypes.data, len(array))]
        self._gates = self._library.gates_new(netlist.nets, *arguments)
        for net in (*netlist.locks, *netlist.initial, *high):
            self._library.gates_force(self._gates, net, 1)
        self._check(self._library.gates_start(self._gates))

    def __del__(self):
        if getattr(self, "_gates", None):
            self._library.gates_delete(self._gates)
            self._gates = None

    def _check(self, status: int) -> None:
        if status:
            raise ToolError(f"a net of the netlist does not come to rest in cycle {self.cycle}")

    def set(self, net: int, level: bool) -> None:
        """Change an input just after the next clock edge."""
        self._library.gates_input(self._gates, net, level)

    def value(self, net: int) -> int:
        """Level of a net at the end of the cycle."""
        return self._library.gates_value(self._gates, net)

    def run(self, cycles: int = 1) -> None:
        """So many clock cycles."""
        self.cycle += cycles
        self._check(self._library.gates_run(self._gates, cycles))

    def count(self, on: bool, watched: int = 1, level: bool = True) -> None:
        """Begin to count, in cycles that begin with the net ``watched`` at ``level``; or pause."""
        self._library.gates_count(self._gates, on, watched, level)

    def _check_range(self, block: int, address: int, count: int) -> None:
        depth = WORDS.get(self.netlist.block_kinds[block], 0)
        if not 0 <= address <= address + count <= depth:
            raise ValueError(f"words must lie within the {depth} of block {block}, not at "
                             f"{address} to {address + count}")

    def load(self, block: int, words: np.ndarray, address: int = 0) -> None:
        """Put ``words``, uint16, into a memory from ``address`` up."""
        flat = np.ascontiguousarray(words, np.uint16)
        self._check_range(block, address, len(flat))
        self._library.gates_load(self._gates, block, address, len(flat), flat.ctypes.data)

    def peek(self, block: int, count: int, address: int = 0) -> np.ndarray:
        """What a memory holds from ``address`` up, uint16 ``[count]``."""
        self._check_range(block, address, count)
        words = np.zeros(count, np.uint16)
        self._library.gates_peek(self._gates, block, address, count, words.ctypes.data)
        return words

    def toggles(self) -> tuple[np.ndarray, np.ndarray]:
        """Changes of each net, uint64 ``[nets]``: all, and those left at the end of a cycle."""
        both = np.zeros((2, self.netlist.nets), np.uint64)
        self._library.gates_toggles(self._gates, both[0].ctypes.data, both[1].ctypes.data)
        return both[0], both[1]

    def counts(self) -> Counts:
        """Sums over the cycles that were counted."""
        everything, functional = self.toggles()
        accesses = np.zeros((len(self.netlist.blocks), 3), np.uint64)
        self._library.gates_accesses(self._gates, accesses.ctypes.data)
        kinds = np.array(self.netlist.block_kinds, int)

        def total(kind: int, column: int) -> int:
            return int(accesses[kinds == kind, column].sum())

        sinks = self.netlist.sinks
        return Counts(
            cycles=self._library.gates_counted(self._gates), sink_toggles=float(everything @ sinks),
            functional_sink_toggles=float(functional @ sinks),
            pin_toggles=int(everything[list(self.netlist.outputs)].sum()),
            block_ram_reads=total(BLOCK_RAM, 0), block_ram_writes=total(BLOCK_RAM, 1),
            spram_reads=total(SINGLE_PORT_RAM, 0), spram_writes=total(SINGLE_PORT_RAM, 1),
            dsp_operations=total(MULTIPLIER, 2))
