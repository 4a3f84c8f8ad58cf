"""Tables, flip-flops and blocks of the gate simulator, added one after the other."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from ternforge.errors import UserError
from ternforge_boards.netlist import Cell
from ternforge_boards.power.gates import GateNetlist

__all__ = ["NO_CHANGE", "READ_FIRST", "TABLE", "WRITE_THROUGH", "Elements", "Port", "number",
           "refuse"]

#: Kinds of blocks and of writes, as in ``family.hpp``.
DUAL_PORT_RAM, TABLE_RAM, PRODUCT = 3, 4, 5
NO_CHANGE, WRITE_THROUGH, READ_FIRST = range(3)

#: Steps that a change takes through an element. They tell nothing of a real delay: only what is
#: left at the end of a cycle is looked at.
TABLE, CARRY, BLOCK = 10, 1, 20

#: Words of a block RAM, of 9 bits, and pins of one of its ports.
WORDS, DATA_BITS, ADDRESS_BITS, BYTES = 2048, 36, 14, 4

#: The two factors of a multiplier.
FACTOR_BITS, PRODUCT_BITS = 18, 36


def number(cell: Cell, name: str, default: int = 0) -> int:
    """A parameter, as a number; undefined bits are 0."""
    value = cell["parameters"].get(name, default)
    return int(value.replace("x", "0"), 2) if isinstance(value, str) else int(value)


def refuse(name: str, what: str) -> NoReturn:
    """Say that a cell has something that is not simulated."""
    raise UserError(f"the simulation of a netlist takes no {what}, as {name} has")


class Port:
    """One port of a block RAM; its pins are bits of the netlist.

    Parameters
    ----------
    width : int
        1, 2, 4, or 9 to 36; a byte has 9 bits.
    mode : int
        What a write does to the outputs: :data:`NO_CHANGE`, :data:`WRITE_THROUGH` or
        :data:`READ_FIRST`.
    late : int
        Bit 0: outputs 0 to 17 have a register; bit 1: outputs 18 to 35.
    """

    def __init__(self, width: int = 36, mode: int = NO_CHANGE, late: int = 0, *,
                 address: Sequence[Any] = (), data: Sequence[Any] = (), enables: Sequence[Any] = (),
                 write: Any = "0", clock_enable: Any = "0", later: Any = "1",
                 out: Sequence[Any] = ()):
        self.parameters = [width, mode, late]
        pins = (address, ADDRESS_BITS), (data, DATA_BITS), (enables, BYTES)
        self.pins = [bit for bits, size in pins for bit in [*bits, *["0"] * (size - len(bits))]]
        self.pins += [write, clock_enable, later]
        self.out = [*out, *[None] * (DATA_BITS - len(out))]


class Elements:
    """What a netlist becomes.

    Parameters
    ----------
    module : dict
        The top module of Yosys' JSON.
    undefined : int
        Level of pins that are ``x``.
    constants : dict
        Nets that cells drive with a level.
    """

    def __init__(self, module: dict[str, Any], undefined: int, constants: dict[Any, str]):
        self.module, self.undefined, self.constants = module, undefined, constants
        self._numbers: dict[Any, int] = {}
        self._tables: list[list[int]] = []
        self._flip_flops: list[list[int]] = []
        self._blocks: list[list[int]] = []
        self._names: list[str] = []
        self._pins: list[int] = []
        self._parameters: list[int] = []
        self._initial: list[int] = []
        self._clocks: set[Any] = set()
        self._enables: dict[Any, Any] = {}
        self._wires: dict[str, Any] = {}
        self._count = 0

    def bit(self, cell: Cell, port: str, default: str = "0") -> Any:
        """The net of a pin, or the level at it: ``0`` or ``1``; ``default`` if it is open."""
        found = (self.bits(cell, port) or [default])[0]
        return str(self.undefined) if found == "x" else found

    def bits(self, cell: Cell, port: str) -> list[Any]:
        """As :meth:`bit`, of all bits of a port."""
        return [self.constants.get(bit, bit) if bit != "x" else str(self.undefined)
                for bit in cell["connections"].get(port, ())]

    def net(self, bit: Any) -> int:
        """Number of a net; 0 is low and 1 is high."""
        if isinstance(bit, str):
            return int(bit == "1")
        return self._numbers.setdefault(bit, len(self._numbers) + 2)

    def new(self) -> Any:
        """A net of our own."""
        self._count += 1
        return ("new", self._count)

    def name(self, wire: str, bit: Any) -> None:
        """Give a net a name of our own."""
        self._wires[wire] = bit

    def _output(self, bit: Any) -> int:
        return self.net(bit if isinstance(bit, int | tuple) else self.new())

    def table(self, inputs: Iterable[Any], out: Any, contents: int, delay: int = TABLE) -> None:
        """A table; input ``k`` counts ``2**k``."""
        nets = [self.net(bit) for bit in inputs]
        nets += [0] * (4 - len(nets))
        self._tables.append([*nets, self._output(out), contents, delay])

    def flip_flop(self, clock: Any, data: Any, out: Any, *, enable: Any = "1",
                  inverted: bool = False, reset: Any = "0", value: int = 0, start: int = 0) -> None:
        """A flip-flop whose synchronous reset, to ``value``, wins over its enable."""
        self._clocks.add(clock)
        if inverted or (enable != "1" and reset != "0"):
            key = (enable, inverted, reset)
            if key not in self._enables:
                self._enables[key] = self.new()
                self.table([enable, reset], self._enables[key], 0b1101 if inverted else 0b1110)
            enable = self._enables[key]
        q = self._output(out)
        self._flip_flops.append([self.net(data), self.net(enable), self.net(reset), q, value])
        if start:
            self._initial.append(q)

    def _block(self, name: str, kind: int, ins: Iterable[Any], outs: Iterable[Any],
               parameters: Iterable[int]) -> None:
        row = [kind]
        for pins in ([self.net(bit) for bit in ins], [self._output(bit) for bit in outs]):
            row += [len(self._pins), len(pins)]
            self._pins += pins
        self._blocks.append([*row, len(self._parameters), BLOCK])
        self._parameters += parameters
        self._names.append(name)

    def ram(self, name: str, clocks: Sequence[Any], ports: tuple[Port, Port],
            words: Sequence[int]) -> None:
        """A block RAM of two ports; ``words`` are what it starts with, 9 bits each."""
        self._clocks.update(clocks)
        first, second = ports
        self._block(name, DUAL_PORT_RAM, first.pins + second.pins, first.out + second.out,
                    [*first.parameters, *second.parameters, *words])

    def table_ram(self, name: str, clock: Any, read: Sequence[Any], write: Sequence[Any],
                  data: Sequence[Any], enable: Any, out: Sequence[Any],
                  words: Sequence[int]) -> None:
        """16 words of 4 bits that are read without a clock."""
        self._clocks.add(clock)
        padded = [*data, *["0"] * (4 - len(data))]
        self._block(name, TABLE_RAM, [*read, *write, *padded, enable], out, words)

    def product(self, name: str, first: Sequence[Any], second: Sequence[Any], signs: Sequence[Any],
                out: Sequence[Any], clock: Any = None) -> None:
        """A multiplier; with a clock, of a product that is registered."""
        if clock is not None:
            self._clocks.add(clock)
        padded = [bit for factor in (first, second)
                  for bit in [*factor, *["0"] * (FACTOR_BITS - len(factor))]]
        self._block(name, PRODUCT, [*padded, *signs], out,
                    [len(first), len(second), clock is not None])

    def finish(self, locks: Iterable[Any], logic_cells: int) -> GateNetlist:
        """The arrays; a table or flip-flop that drives nothing stays.

        Raises
        ------
        UserError
            If there are several clocks.
        """
        clocks = self._clocks - {"0", "1"}
        if len(clocks) > 1:
            raise UserError("the simulation of a netlist takes one clock, but the design has "
                            f"{len(clocks)}")
        for port in self.module["ports"].values():
            for bit in port["bits"]:
                self.net(bit)
        names = {wire: self.net(bit) for wire, bit in self._wires.items()}
        for name, wire in self.module["netnames"].items():
            for index, bit in enumerate(wire["bits"]):
                if bit in self._numbers:
                    start = wire.get("offset", 0)
                    full = name if len(wire["bits"]) == 1 else f"{name}[{index + start}]"
                    names[full] = self.net(bit)
        outputs = tuple(self.net(bit) for port in self.module["ports"].values()
                        if port["direction"] == "output" for bit in port["bits"])
        lock_nets = tuple(self.net(bit) for bit in locks)
        count = len(self._numbers) + 2

        def array(rows: list[list[int]], width: int) -> np.ndarray:
            return np.array(rows, np.uint32).reshape(-1, width)

        return GateNetlist(
            nets=count, tables=array(self._tables, 7), flip_flops=array(self._flip_flops, 5),
            blocks=array(self._blocks, 7), pins=np.array(self._pins, np.uint32),
            parameters=np.array(self._parameters, np.uint32), block_names=tuple(self._names),
            block_kinds=tuple(row[0] for row in self._blocks), sinks=np.zeros(count), names=names,
            outputs=outputs, sources=Counter(), locks=lock_nets, logic_cells=logic_cells,
            initial=tuple(self._initial))
