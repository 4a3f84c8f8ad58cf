"""The gate simulator on netlists made by hand, whose toggles can be counted on paper."""

import random

import numpy as np
import pytest

from ternforge.errors import UserError
from ternforge.process import ToolError
from ternforge_boards.power.gates import Delays, gate_netlist
from ternforge_boards.power.simulator import GateSimulator

INVERT, BUFFER, XOR = 0x5555, 0xAAAA, 0x6666  # of I0; of I0; of I0 and I1


class Hand:
    """A module in the form of Yosys' JSON, put together cell by cell."""

    def __init__(self, **inputs: int):
        self.cells, self.netnames, self.next = {}, {}, 100
        self.ports = {}
        for name, width in {"clk": 1, **inputs}.items():
            bits = self.bits(width)
            self.ports[name] = {"direction": "input", "bits": bits}
            self.netnames[name] = {"bits": bits}
        self.clk = self.ports["clk"]["bits"][0]

    def bits(self, width: int) -> list[int]:
        self.next += width
        return list(range(self.next - width, self.next))

    def cell(self, kind: str, ins: dict, outs: dict, parameters: dict | None = None) -> None:
        self.cells[f"cell{len(self.cells)}"] = {
            "type": kind, "parameters": parameters or {}, "connections": {**ins, **outs},
            "port_directions": {**dict.fromkeys(ins, "input"), **dict.fromkeys(outs, "output")}}

    def table(self, init: int, *inputs: object) -> int:
        [out] = self.bits(1)
        ports = {f"I{k}": [bit] for k, bit in enumerate(inputs)}
        self.cell("SB_LUT4", ports, {"O": [out]}, {"LUT_INIT": f"{init:016b}"})
        return out

    def flip_flop(self, data: object, out: int | None = None) -> int:
        out = self.bits(1)[0] if out is None else out
        self.cell("SB_DFF", {"C": [self.clk], "D": [data]}, {"Q": [out]})
        return out

    def output(self, name: str, bits: list[int]) -> None:
        self.ports[name] = {"direction": "output", "bits": bits}
        self.netnames[name] = {"bits": bits}

    @property
    def module(self) -> dict:
        return {"cells": self.cells, "ports": self.ports, "netnames": self.netnames}


def halver(hand: Hand) -> int:
    """A flip-flop that changes in every cycle; its output."""
    [out] = hand.bits(1)
    hand.flip_flop(hand.table(INVERT, out), out)
    return out


def counted(hand: Hand, cycles: int = 100, delays: Delays | None = None):
    gates = GateSimulator(gate_netlist(hand.module, delays))
    gates.run(4)
    gates.count(True)
    gates.run(cycles)
    return gates.counts()


def test_toggles_count_once_per_sink():
    """The flip-flop's output leads to its own table and to two pins; the table's stays inside."""
    hand = Hand()
    q = halver(hand)
    hand.output("a", [q])
    hand.output("b", [q])
    counts = counted(hand)
    assert (counts.cycles, counts.sink_toggles, counts.functional_sink_toggles) == (100, 300, 300)
    assert counts.pin_toggles == 200


def test_a_table_for_several_flip_flops_is_routed():
    hand = Hand()
    q = halver(hand)
    shared = hand.table(BUFFER, q)
    hand.output("out", [hand.flip_flop(shared), hand.flip_flop(shared)])
    # q leads to two tables, `shared` to two flip-flops, those to a pin each
    assert counted(hand, 10).sink_toggles == 10 * (2 + 2 + 2)


def test_glitch_is_counted_and_told_apart():
    """q and its inverse meet: in each cycle the sum is 1, but for the time of the inverter."""
    hand = Hand()
    q = halver(hand)
    hand.output("out", [hand.table(XOR, q, hand.table(BUFFER, q))])
    counts = counted(hand, 10)
    # q: its own inverter, the buffer, the sum; the buffer: the sum; the sum: twice to its pin
    assert counts.functional_sink_toggles == 10 * (3 + 1)
    assert counts.sink_toggles == 10 * (3 + 1 + 2)


def test_pulse_shorter_than_a_table_does_not_pass():
    """As before, but the delay between both ways is that of a carry bit, a tenth of a table's."""
    hand = Hand()
    q = halver(hand)
    [carry] = hand.bits(1)
    hand.cell("SB_CARRY", {"I0": [q], "I1": [q], "CI": ["0"]}, {"CO": [carry]})
    hand.output("out", [hand.table(0x0FF0, "0", "0", q, carry)])
    counts = counted(hand, 10)
    assert counts.pin_toggles == 0
    assert counted(hand, 10, Delays(table=1, carry=1)).pin_toggles == 20


def test_open_outputs_reach_no_constant():
    """The carry and the flip-flop lead nowhere; a table that reads low goes on reading it."""
    hand = Hand()
    q = halver(hand)
    hand.cell("SB_CARRY", {"I0": [q], "I1": [q], "CI": ["0"]}, {})
    hand.cell("SB_DFF", {"C": [hand.clk], "D": [q]}, {})
    hand.output("out", [hand.table(BUFFER, "0"), hand.table(BUFFER, "1")])
    gates = GateSimulator(gate_netlist(hand.module))
    for _ in range(4):
        gates.run()
        assert [gates.value(gates.netlist.names[f"out[{k}]"]) for k in range(2)] == [0, 1]


def test_enable_and_reset():
    """SB_DFFESR: nothing happens without the enable, and the reset needs it too."""
    hand = Hand(e=1, r=1, d=1)
    e, r, d = (hand.ports[name]["bits"] for name in "erd")
    [q] = hand.bits(1)
    hand.cell("SB_DFFESR", {"C": [hand.clk], "D": d, "E": e, "R": r}, {"Q": [q]})
    hand.output("q", [q])
    netlist = gate_netlist(hand.module)
    gates, names = GateSimulator(netlist), netlist.names
    seen = []
    for enable, reset, data in ((0, 0, 1), (1, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)):
        for name, level in (("e", enable), ("r", reset), ("d", data)):
            gates.set(names[name], bool(level))
        gates.run()
        gates.run()
        seen.append(gates.value(names["q"]))
    assert seen == [0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(("mode", "width"), [(0, 16), (1, 8), (2, 4), (3, 2)])
def test_block_ram_equals_a_list(mode, width):
    """Write and read at random; a value of ``width`` bits lies in the middle of its groups."""
    rng = random.Random(mode)
    depth, step = 4096 // width, 16 // width
    hand = Hand(ra=11, re=1, wa=11, we=1, wd=16)
    out = hand.bits(16)
    ports = {name: hand.ports[port]["bits"] for name, port in (
        ("RADDR", "ra"), ("RE", "re"), ("WADDR", "wa"), ("WE", "we"), ("WDATA", "wd"))}
    clocks = {"RCLK": [hand.clk], "WCLK": [hand.clk], "MASK": ["0"] * 16}
    init = [rng.getrandbits(256) for _ in range(16)]
    hand.cell("SB_RAM40_4K", {**ports, **clocks}, {"RDATA": out}, {
        "READ_MODE": f"{mode:032b}", "WRITE_MODE": f"{mode:032b}",
        **{f"INIT_{row:X}": f"{word:0256b}" for row, word in enumerate(init)}})
    hand.output("out", out)
    places = [step * k + (step // 2 - 1 if step > 1 else 0) for k in range(width)]
    words = [init[k // 16] >> 16 * (k % 16) & 0xFFFF for k in range(256)]
    held = [sum((words[a & 255] >> (step * k + (a >> 8)) & 1) << k for k in range(width))
            for a in range(depth)]
    netlist = gate_netlist(hand.module)
    gates, names = GateSimulator(netlist), netlist.names
    gates.count(True)
    last, reads, writes = 0, 0, 0

    def put(port: str, value: int, bits: int) -> None:
        for k in range(bits):
            name = port if bits == 1 else f"{port}[{k}]"
            gates.set(names[name], bool(value >> k & 1))

    for _ in range(400):
        address, target, value = (rng.randrange(depth), rng.randrange(depth),
                                  rng.getrandbits(width))
        reading, writing = rng.random() < 0.7, rng.random() < 0.5
        put("ra", address, 11)
        put("wa", target, 11)
        put("wd", sum((value >> k & 1) << place for k, place in enumerate(places)), 16)
        put("re", reading, 1)
        put("we", writing, 1)
        gates.run()  # the inputs change after this edge
        put("re", False, 1)
        put("we", False, 1)
        gates.run()  # and this one takes them
        if reading:
            last, reads = held[address], reads + 1
        if writing:
            held[target], writes = value, writes + 1
        seen = [gates.value(names[f"out[{place}]"]) for place in places]
        assert seen == [last >> k & 1 for k in range(width)]
    counts = gates.counts()
    assert (counts.block_ram_reads, counts.block_ram_writes) == (reads, writes)


def test_single_port_ram_keeps_what_is_loaded_and_written():
    hand = Hand(a=14, d=16, w=1)
    out = hand.bits(16)
    hand.cell("SB_SPRAM256KA", {
        "ADDRESS": hand.ports["a"]["bits"], "DATAIN": hand.ports["d"]["bits"],
        "WREN": hand.ports["w"]["bits"], "MASKWREN": ["1", "0", "1", "1"], "CHIPSELECT": ["1"],
        "CLOCK": [hand.clk], "STANDBY": ["0"], "SLEEP": ["0"], "POWEROFF": ["1"]},
        {"DATAOUT": out})
    hand.output("out", out)
    netlist = gate_netlist(hand.module)
    gates, names = GateSimulator(netlist), netlist.names
    gates.load(0, np.array([0x1234, 0xABCD], np.uint16), 4)

    def access(address: int, data: int | None = None) -> int:
        for k in range(14):
            gates.set(names[f"a[{k}]"], bool(address >> k & 1))
        for k in range(16):
            gates.set(names[f"d[{k}]"], bool((data or 0) >> k & 1))
        gates.set(names["w"], data is not None)
        gates.run(1)
        gates.set(names["w"], False)
        gates.run(1)
        return sum(gates.value(names[f"out[{k}]"]) << k for k in range(16))

    assert [access(4), access(5)] == [0x1234, 0xABCD]
    access(5, 0xFFFF)
    assert access(5) == 0xFFCF  # the second digit from the right is not enabled
    assert gates.peek(0, 2, 4).tolist() == [0x1234, 0xFFCF]


@pytest.mark.parametrize("registers", [
    "", "A_REG B_REG",
    "TOP_8x8_MULT_REG BOT_8x8_MULT_REG PIPELINE_16x16_MULT_REG1 PIPELINE_16x16_MULT_REG2"])
@pytest.mark.parametrize("signed", [(0, 0), (1, 1), (1, 0)])
def test_multiplier_equals_the_product(registers, signed):
    rng = random.Random(7)
    hand = Hand(a=16, b=16)
    out = hand.bits(32)
    parameters = {"TOPOUTPUT_SELECT": "11", "BOTOUTPUT_SELECT": "11",
                  "A_SIGNED": str(signed[0]), "B_SIGNED": str(signed[1]),
                  **dict.fromkeys(registers.split(), "1")}
    hand.cell("SB_MAC16", {"CLK": [hand.clk], "A": hand.ports["a"]["bits"],
                           "B": hand.ports["b"]["bits"]}, {"O": out}, parameters)
    hand.output("out", out)
    netlist = gate_netlist(hand.module)
    gates, names = GateSimulator(netlist), netlist.names
    gates.count(True)
    for _ in range(30):
        a, b = rng.getrandbits(16), rng.getrandbits(16)
        for k in range(16):
            gates.set(names[f"a[{k}]"], bool(a >> k & 1))
            gates.set(names[f"b[{k}]"], bool(b >> k & 1))
        gates.run(5)
        seen = sum(gates.value(names[f"out[{k}]"]) << k for k in range(32))
        factors = [value - (value >> 15 << 16) * sign
                   for value, sign in zip((a, b), signed, strict=True)]
        assert seen == factors[0] * factors[1] & 0xFFFFFFFF
    assert gates.counts().dsp_operations == 30


def test_ring_is_refused():
    hand = Hand()
    out = hand.table(INVERT, 999)
    hand.table(BUFFER, out)
    hand.cells["cell1"]["connections"]["O"] = [999]
    hand.output("out", [out])
    with pytest.raises(ToolError, match="does not come to rest in cycle 0"):
        GateSimulator(gate_netlist(hand.module))


def test_unknown_cell_and_second_clock_are_refused():
    hand = Hand(other=1)
    hand.cell("SB_DFFR", {"C": [hand.clk], "D": ["0"], "R": ["0"]}, {"Q": hand.bits(1)})
    with pytest.raises(UserError, match="knows no cell SB_DFFR"):
        gate_netlist(hand.module)
    hand = Hand(other=1)
    hand.output("q", [hand.flip_flop("1")])
    hand.cell("SB_DFF", {"C": hand.ports["other"]["bits"], "D": ["0"]}, {"Q": hand.bits(1)})
    with pytest.raises(UserError, match="takes one clock, but the design has 2"):
        gate_netlist(hand.module)
