"""A synthesised iCE40 netlist as the gate simulator takes it, and what each net leads to."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from ternforge.errors import UserError

__all__ = ["BLOCK_RAM", "MULTIPLIER", "SINGLE_PORT_RAM", "Delays", "GateNetlist", "gate_netlist"]

#: Kinds of blocks, as in ``gates.cpp``.
BLOCK_RAM, SINGLE_PORT_RAM, MULTIPLIER = range(3)

#: Inputs and outputs of each kind in the order of ``gates.cpp``: name, width, level if open.
BLOCKS: dict[str, tuple[int, list[tuple[str, int, int]], list[tuple[str, int, int]]]] = {
    "SB_RAM40_4K": (BLOCK_RAM, [
        ("RADDR", 11, 0), ("RE", 1, 0), ("RCLKE", 1, 1), ("WADDR", 11, 0), ("WE", 1, 0),
        ("WCLKE", 1, 1), ("MASK", 16, 0), ("WDATA", 16, 0)], [("RDATA", 16, 0)]),
    "SB_SPRAM256KA": (SINGLE_PORT_RAM, [
        ("ADDRESS", 14, 0), ("DATAIN", 16, 0), ("MASKWREN", 4, 1), ("WREN", 1, 0),
        ("CHIPSELECT", 1, 0), ("STANDBY", 1, 0), ("SLEEP", 1, 0), ("POWEROFF", 1, 1)],
        [("DATAOUT", 16, 0)]),
    "SB_MAC16": (MULTIPLIER, [
        ("C", 16, 0), ("A", 16, 0), ("B", 16, 0), ("D", 16, 0), ("CE", 1, 1),
        *((name, 1, 0) for name in (
            "AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT",
            "OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT", "CI",
            "ACCUMCI", "SIGNEXTIN"))],
        [("O", 32, 0), ("CO", 1, 0), ("ACCUMCO", 1, 0), ("SIGNEXTOUT", 1, 0)]),
}

#: Parameters of the multiplier in the order of ``gates.cpp``.
MULTIPLIER_PARAMETERS = (
    "C_REG", "A_REG", "B_REG", "D_REG", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG",
    "PIPELINE_16x16_MULT_REG1", "PIPELINE_16x16_MULT_REG2", "TOPOUTPUT_SELECT",
    "TOPADDSUB_LOWERINPUT", "TOPADDSUB_UPPERINPUT", "TOPADDSUB_CARRYSELECT", "BOTOUTPUT_SELECT",
    "BOTADDSUB_LOWERINPUT", "BOTADDSUB_UPPERINPUT", "BOTADDSUB_CARRYSELECT", "MODE_8x8",
    "A_SIGNED", "B_SIGNED")

#: Asynchronous resets of the multiplier's registers: not simulated.
MULTIPLIER_RESETS = ("IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT")

#: Flip-flops without an asynchronous reset, on the rising edge.
FLIP_FLOPS = ("SB_DFF", "SB_DFFE", "SB_DFFSR", "SB_DFFSS", "SB_DFFESR", "SB_DFFESS")

#: Where clocks come from, and the pins that they go to.
SOURCES = ("SB_HFOSC", "SB_LFOSC", "SB_PLL40_PAD", "SB_PLL40_CORE")
CLOCK_PINS = ("C", "CLK", "RCLK", "WCLK", "CLOCK")

#: Flip-flops that share the control lines of a tile.
TILE = 8

MAJORITY = 0b11101000  #: of three inputs


@dataclass(frozen=True, kw_only=True)
class Delays:
    """Time steps that a signal takes through a cell, its routing included.

    Unless given, a table with routing takes ten times as long as a bit of a carry chain: about
    3 ns (table 1.2 ns and a route) against 0.28 ns, icestorm's timings of the UP5K.
    """

    table: int = 10
    carry: int = 1
    block: int = 20


@dataclass(frozen=True, kw_only=True)
class GateNetlist:
    """Arrays for ``gates.cpp``; net 0 is low, net 1 is high."""

    nets: int
    tables: np.ndarray  #: uint32 ``[tables, 7]``: four inputs, output, contents, delay
    flip_flops: np.ndarray  #: uint32 ``[flip-flops, 5]``: data, enable, reset, output, reset value
    blocks: np.ndarray  #: uint32 ``[blocks, 7]``
    pins: np.ndarray  #: uint32, nets of the blocks' pins
    parameters: np.ndarray  #: uint32, of the blocks
    block_names: tuple[str, ...]  #: cell of each block
    block_kinds: tuple[int, ...]
    sinks: np.ndarray  #: float64 ``[nets]``: pins that the routing of each net leads to
    names: dict[str, int]  #: net of each bit of a port or wire, as ``led[0]``
    outputs: tuple[int, ...]  #: nets of output ports
    sources: Counter[str]  #: cells that make clocks
    locks: tuple[int, ...]  #: nets that say that a PLL has locked
    logic_cells: int  #: LUT4 and carry bits as they share logic cells
    initial: tuple[int, ...] = ()  #: nets of flip-flops that start high

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of elements, by our names."""
        kinds = Counter(self.block_kinds)
        return {"lut": self.logic_cells, "ff": len(self.flip_flops),
                "block_ram": kinds[BLOCK_RAM], "spram": kinds[SINGLE_PORT_RAM],
                "dsp": kinds[MULTIPLIER]}


class _Nets:
    """Numbers of the nets; constants and open pins are levels."""

    def __init__(self):
        self.numbers: dict[Any, int] = {}

    def __call__(self, bit: Any, default: int = 0) -> int:
        if bit is None:
            return default
        if isinstance(bit, str):
            return int(bit == "1")
        return self.numbers.setdefault(bit, len(self.numbers) + 2)

    def output(self, bit: Any) -> int:
        """Of a cell's output; one that is open gets a net that nothing reads."""
        return self(bit if isinstance(bit, int) else ("open", len(self.numbers)))


def _scalar(cell: dict[str, Any], port: str) -> Any:
    bits = cell["connections"].get(port)
    return bits[0] if bits else None


def _parameter(cell: dict[str, Any], name: str) -> int:
    value = cell["parameters"].get(name, 0)
    return int(value, 2) if isinstance(value, str) else int(value)


def gate_netlist(module: dict[str, Any], delays: Delays | None = None) -> GateNetlist:
    """Arrays of a flat module that ``synth_ice40`` made.

    Parameters
    ----------
    module : dict
        The top module of Yosys' JSON.
    delays : Delays
        Of the cells.

    Raises
    ------
    UserError
        If it has cells that are not simulated, or several clocks.
    """
    delays = delays or Delays()
    net = _Nets()
    tables, flip_flops, blocks = [], [], []
    pins: list[int] = []
    parameters: list[int] = []
    names, kinds, sources, locks = [], [], Counter[str](), []
    for name, cell in sorted(module["cells"].items()):
        kind = cell["type"]
        if kind == "SB_LUT4":
            tables.append([
                *(net(_scalar(cell, f"I{k}")) for k in range(4)), net.output(_scalar(cell, "O")),
                _parameter(cell, "LUT_INIT"), delays.table])
        elif kind == "SB_CARRY":
            tables.append([*(net(_scalar(cell, pin)) for pin in ("I0", "I1", "CI")), 0,
                           net.output(_scalar(cell, "CO")), MAJORITY, delays.carry])
        elif kind in FLIP_FLOPS:
            reset = _scalar(cell, "S") if kind.endswith("SS") else _scalar(cell, "R")
            flip_flops.append([net(_scalar(cell, "D")), net(_scalar(cell, "E"), 1), net(reset),
                               net.output(_scalar(cell, "Q")), int(kind.endswith("SS"))])
        elif kind in BLOCKS:
            if any(isinstance(_scalar(cell, pin), int) for pin in MULTIPLIER_RESETS):
                raise UserError("the gate simulator takes no resets of an SB_MAC16: they are "
                                "asynchronous")
            number, ins, outs = BLOCKS[kind]
            row = [number]
            for ports in (ins, outs):
                first = len(pins)
                for port, width, default in ports:
                    bits = list(cell["connections"].get(port, []))
                    pins += [net(bit, default) for bit in bits + [None] * (width - len(bits))]
                row += [first, len(pins) - first]
            blocks.append([*row, len(parameters), delays.block])
            names.append(name)
            kinds.append(number)
            parameters += _block_parameters(kind, cell)
        elif kind in SOURCES:
            sources[kind] += 1
            locks += [net(bit) for bit in cell["connections"].get("LOCK", ())]
            for bits in cell["connections"].values():
                for bit in bits:
                    net(bit)
        elif kind != "$scopeinfo":
            raise UserError(f"the gate simulator knows no cell {kind}: its netlist must have cells "
                            "of the iCE40 with synchronous resets")
    for port in module["ports"].values():
        for bit in port["bits"]:
            net(bit)
    clocks = _clocks(module, net)
    if len(clocks) > 1:
        raise UserError(f"the gate simulator takes one clock, but the design has {len(clocks)}")
    wires = {}
    for name, wire in module["netnames"].items():
        for index, bit in enumerate(wire["bits"]):
            if isinstance(bit, int) and bit in net.numbers:
                start = wire.get("offset", 0)
                wires[name if len(wire["bits"]) == 1 else f"{name}[{index + start}]"] = net(bit)
    outputs = tuple(net(bit) for port in module["ports"].values() if port["direction"] == "output"
                    for bit in port["bits"] if isinstance(bit, int))
    count = len(net.numbers) + 2
    sinks, cells = _sinks(module, net, count)
    sinks[sorted(clocks)] = 0
    return GateNetlist(
        nets=count, tables=_array(tables, 7), flip_flops=_array(flip_flops, 5),
        blocks=_array(blocks, 7), pins=np.array(pins, np.uint32),
        parameters=np.array(parameters, np.uint32), block_names=tuple(names),
        block_kinds=tuple(kinds), sinks=sinks, names=wires, outputs=outputs, sources=sources,
        locks=tuple(locks), logic_cells=cells)


def _array(rows: list[list[int]], width: int) -> np.ndarray:
    return np.array(rows, np.uint32).reshape(-1, width)


def _clocks(module: dict[str, Any], net: _Nets) -> set[int]:
    """Nets of the clock pins of flip-flops and blocks."""
    return {net(bit) for cell in module["cells"].values() if cell["type"] in (*FLIP_FLOPS, *BLOCKS)
            for pin in CLOCK_PINS if not (cell["type"] == "SB_MAC16" and pin == "C")
            for bit in cell["connections"].get(pin, ()) if isinstance(bit, int)}


def _block_parameters(kind: str, cell: dict[str, Any]) -> list[int]:
    if kind == "SB_MAC16":
        return [_parameter(cell, name) for name in MULTIPLIER_PARAMETERS]
    if kind != "SB_RAM40_4K":
        return []
    words = []
    for row in range(16):
        text = cell["parameters"].get(f"INIT_{row:X}", 0)
        content = int(str(text).replace("x", "0"), 2) if isinstance(text, str) else int(text)
        words += [content >> 16 * k & 0xFFFF for k in range(16)]
    return [_parameter(cell, "READ_MODE"), _parameter(cell, "WRITE_MODE"), *words]


def _sinks(module: dict[str, Any], net: _Nets, count: int) -> tuple[np.ndarray, int]:
    """Pins that routing leads to, of each net, and logic cells.

    A table and the flip-flop behind it, where it drives nothing else, are one logic cell, and so
    are a bit of a carry chain and the table that adds it: hops inside are no routing. The enable
    and the reset of a tile's flip-flops are one pin.
    """
    sinks = np.zeros(count)
    fan_out: Counter[Any] = Counter()
    control: dict[tuple[str, Any], int] = defaultdict(int)
    sums: dict[Any, list[set[Any]]] = defaultdict(list)  # by carry in: inputs of tables with it
    drivers: dict[Any, str] = {}
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                fan_out.update(bit for bit in bits if isinstance(bit, int))
            else:
                drivers.update((bit, cell["type"]) for bit in bits if isinstance(bit, int))
        if cell["type"] == "SB_LUT4":
            carry = _scalar(cell, "I3")
            if carry is not None:
                sums[carry].append({_scalar(cell, "I1"), _scalar(cell, "I2")})
    for port in module["ports"].values():
        if port["direction"] == "output":
            fan_out.update(bit for bit in port["bits"] if isinstance(bit, int))
            for bit in port["bits"]:
                if isinstance(bit, int):
                    sinks[net(bit)] += 1
    cells = 0
    for cell in module["cells"].values():
        kind = cell["type"]
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "input":
                continue
            for bit in bits:
                if not isinstance(bit, int):
                    continue
                driver = drivers.get(bit)
                if kind in FLIP_FLOPS and port in ("E", "R", "S"):
                    control[port, bit] += 1
                elif kind in FLIP_FLOPS and port == "D":
                    packed = driver == "SB_LUT4" and fan_out[bit] == 1
                    sinks[net(bit)] += not packed
                    cells += not packed
                elif kind == "SB_CARRY" and port != "CI":
                    carry = _scalar(cell, "CI")
                    sinks[net(bit)] += not any(bit in inputs for inputs in sums[carry])
                elif kind == "SB_CARRY" or (kind == "SB_LUT4" and port == "I3"
                                            and driver == "SB_CARRY"):
                    pass  # the chain itself
                else:
                    sinks[net(bit)] += 1
        if kind == "SB_LUT4":
            cells += 1
        elif kind == "SB_CARRY":
            inputs = {_scalar(cell, "I0"), _scalar(cell, "I1")}
            cells += not any(inputs <= {*found, "0", "1", None}
                             for found in sums[_scalar(cell, "CI")])
    for (_, bit), flip_flops in control.items():
        sinks[net(bit)] += -(-flip_flops // TILE)
    return sinks, cells
