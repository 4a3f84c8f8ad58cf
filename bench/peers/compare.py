"""Our lanes beside what one would take instead, measured by the same flow in the same run."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ternforge.presets import core_preset
from ternforge.verilog import generate
from ternforge_boards.measure import measure_component

from ..figures import Data, Figure, Measurement
from ..units import ECP5, ICE40, Target
from .check import int8_wrong, serial_cycles, serial_wrong
from .graphs import graph_verilog
from .int8 import Int8Array
from .serial import SerialUnit

__all__ = ["FIGURES", "MEASUREMENTS", "PEERS", "RECORDED", "Peer", "density"]

DEPENDS = ("hw", "boards/ternforge_boards", "sim/ternforge_sim/bench.py",
           "sim/ternforge_sim/verilator.py", "bench/peers", "bench/units.py", "bench/figures.py")

#: Columns and rows of the matrix that the serial unit multiplies by: those of a 370M model.
SERIAL_SIZE = 1024

#: What others measured, with its source; nothing of it was run here.
RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded.json").read_text())


@dataclass(frozen=True)
class Peer:
    """A design that is measured beside ours."""

    name: str
    title: str
    target: Target
    size: int  #: products per cycle, or columns of a square matrix

    @property
    def measurement(self) -> str:
        """Name of its measurement."""
        return f"peer.{self.name}.{self.target.family}"


def _int8(peer: Peer) -> tuple[str, str, float, int]:
    array = Int8Array(peer.size, dsp=peer.name.endswith("dsp"),
                      keep=peer.target.family == "ice40")
    return generate(array, "peer").text, "peer", peer.size, int8_wrong(array)


def _serial(peer: Peer) -> tuple[str, str, float, int]:
    rate = peer.size**2 / serial_cycles(peer.size, peer.size)
    return generate(SerialUnit(peer.size), "peer").text, "peer", rate, serial_wrong(32, 8)


def _graph(peer: Peer) -> tuple[str, str, float, int]:
    graph = graph_verilog(peer.name, peer.size)
    return graph.verilog, graph.top, peer.size**2, graph.wrong()


#: Verilog, top module, MAC/cycle and wrong results of a peer.
DESIGNS: dict[str, Callable[[Peer], tuple[str, str, float, int]]] = {
    "int8": _int8, "int8-dsp": _int8, "serial": _serial, "da4ml": _graph, "alkaid": _graph}

_TITLES = {"int8": "int8 MAC array without DSP", "int8-dsp": "int8 MAC array with DSP",
           "serial": "paper preset (serial, 2-bit codes)",
           "da4ml": "da4ml adder graph, weights wired in",
           "alkaid": "alkaid adder graph, weights wired in"}
_SIZES = {
    "ecp5": {"int8": 32, "int8-dsp": 16, "serial": SERIAL_SIZE, "da4ml": 32, "alkaid": 32},
    "ice40": {"int8": 16, "int8-dsp": 8, "serial": SERIAL_SIZE, "da4ml": 16, "alkaid": 16},
}

PEERS = tuple(Peer(name, title, target, _SIZES[target.family][name])
              for target in (ECP5, ICE40) for name, title in _TITLES.items())


def measure(peer: Peer, seeds: Sequence[int]) -> Data:
    """Area, speed and MAC/cycle of a peer, whose results are checked first.

    Raises
    ------
    RuntimeError
        If a result is wrong.
    """
    text, top, rate, wrong = DESIGNS[peer.name](peer)
    if wrong:
        raise RuntimeError(f"{wrong} results of {peer.title} are wrong")
    found = measure_component(text, top, peer.target.family, seeds, peer.target.freq_mhz,
                              jobs=os.cpu_count() or 1)
    return {**found.as_dict(), "mac_per_cycle": rate}


MEASUREMENTS = tuple(Measurement(name=peer.measurement, run=partial(measure, peer),
                                 depends=DEPENDS, seeded=True) for peer in PEERS)


def density(data: Data, macs: float) -> float:
    """Million MAC per second and LUT."""
    return macs * data["fmax_mhz"] / data["lut"]


def _figures(peer: Peer) -> list[Figure]:
    theirs, ours = peer.measurement, peer.target.name("lanes")
    macs = core_preset(peer.target.preset).tile
    quick = peer.target is ECP5 and peer.name in ("alkaid", "serial")

    def figure(key: str, title: str, unit: str, of: tuple[str, ...],
               value: Callable[..., float]) -> Figure:
        return Figure(name=f"{theirs}.{key}", title=f"{peer.title}, {peer.target.family}: {title}",
                      unit=unit, of=of, value=value, quick=quick)

    return [
        figure("lut-per-mac", "LUT per MAC/cycle", "LUT4", (theirs,),
               lambda peer: peer["lut"] / peer["mac_per_cycle"]),
        figure("dsp-per-mac", "DSP per MAC/cycle", "", (theirs,),
               lambda peer: peer["dsp"] / peer["mac_per_cycle"]),
        figure("fmax", "Fmax", "MHz", (theirs,), lambda peer: peer["fmax_mhz"]),
        figure("density", "million MAC/s per LUT", "MMAC/s", (theirs,),
               lambda peer: density(peer, peer["mac_per_cycle"])),
        figure("area-ratio", "its LUT per MAC/cycle over ours", "x", (theirs, ours),
               lambda peer, ours: peer["lut"] / peer["mac_per_cycle"] / (ours["lut"] / macs)),
        figure("speed-up", "our MAC/s over its, LUT for LUT", "x", (theirs, ours),
               lambda peer, ours: density(ours, macs) / density(peer, peer["mac_per_cycle"])),
    ]


def _token_speed_up(unit: Data, core: Data, tokens: Data) -> float:
    weights = tokens["ideal_cycles"] * 5 * tokens["lanes"]
    theirs = weights / unit["mac_per_cycle"] / unit["fmax_mhz"]
    return theirs / (tokens["cycles"] / core["fmax_mhz"])


FIGURES = (
    *(figure for peer in PEERS for figure in _figures(peer)),
    Figure(name="peer.serial.ecp5.token-speed-up",
           title="370M token: the matrices on the serial unit over our whole token, N = 16",
           unit="x",
           of=("peer.serial.ecp5", ECP5.name("core"), "tokens.370m-ddr-n16"),
           value=_token_speed_up, checked="tokens.370m-ddr-n16"),
)
