"""The report of a build, from its design, its files and a simulation."""

import json
from pathlib import Path
from typing import Any

from ternforge.cache import content_key
from ternforge_boards import handoff
from ternforge_boards.build import BuildResult
from ternforge_boards.constraints import constraints
from ternforge_boards.yosys import top_module

from .area import area_report
from .paths import clock_reports
from .schema import CauseCycles, Design, Evidence, Report, SeedReport, Throughput
from .units import attribute
from .value import Status, Value

__all__ = ["make_report", "peak_bytes_per_cycle"]


def make_report(design: handoff.Design, result: BuildResult, cycles: dict[str, Any]) -> Report:
    """Everything that is known of a build, its power left out.

    Parameters
    ----------
    design : Design
        What was generated.
    result : BuildResult
        What the tools made of it; its files are read.
    cycles : dict
        From :func:`~ternforge_sim.cycles.measure_cycles`.
    """
    netlist = _module(Path(result.netlist))
    units = attribute(netlist)
    routing = json.loads(Path(result.routing).read_bytes())
    # nextpnr writes Gowin's cells as it placed them; of the others there is the netlist.
    cells = _module(Path(result.placed)) if design.board.family == "gowin" else netlist
    used = {what: getattr(result, what) for what in ("lut", "ff", "block_ram", "dsp", "spram")}
    return Report(
        name=f"{design.image.model} on {design.board.name}",
        design=_design(design, cycles["ternary_weights"]),
        tool_versions=result.tool_versions,
        seed=result.seed,
        seeds=tuple(SeedReport(seed=s.seed, fmax_mhz=s.fmax_mhz, met=s.met) for s in result.seeds),
        area=area_report(cells, units, design.board, used),
        clocks=clock_reports(result.clocks, routing, units),
        throughput=_throughput(design, cycles),
        evidence=_evidence(cycles),
        bitstream=result.bitstream)


def _module(path: Path) -> dict[str, Any]:
    return top_module(json.loads(path.read_bytes()))[1]


def peak_bytes_per_cycle(design: handoff.Design) -> float:
    """What the image's memory gives in a cycle of the core at most, if the core takes it all."""
    return min(design.core.lanes, design.dram.bytes_per_cycle) if design.dram else design.core.lanes


def _design(design: handoff.Design, weights: int) -> Design:
    board, core, image = design.board, design.core, design.image
    if design.dram:
        memory = f"{design.dram.chip}, {design.dram.kind.upper()}, {design.dram.data_bits} bits"
    else:
        memory = "single-port RAM and block RAM" if core.single_port_beats else "block RAM"
    verilog = design.verilog
    return Design(
        board=board.name, device=board.part, family=board.family, core=vars(core),
        core_mhz=design.core_mhz, memory=memory,
        memory_bytes_per_second=peak_bytes_per_cycle(design) * design.core_mhz * 1e6,
        design_hash=content_key(verilog.text, verilog.memories, design.controller,
                                design.board_top, constraints(board)),
        model=image.model, model_hash=image.model_hash, ternary_weights=weights)


def _throughput(design: handoff.Design, cycles: dict[str, Any]) -> Throughput:
    taken, streams = cycles["cycles_per_token"], cycles["streams"]
    ideal = cycles["ternary_weights"] / 5 / peak_bytes_per_cycle(design)

    def simulated(value: float, unit: str, source: str) -> Value:
        return Value(value=value, unit=unit, status=Status.SIMULATED, source=source)

    clock = f"{design.core_mhz:g} MHz / simulated cycles"
    rate = design.core_mhz * 1e6 / taken
    return Throughput(
        cycles_per_token=simulated(taken, "cycles", f"Verilator, {cycles['steps']} steps"),
        ideal_cycles_per_token=Value(
            value=ideal, unit="cycles", status=Status.ESTIMATED,
            source=f"weights / 5 per byte / {peak_bytes_per_cycle(design):g} bytes per cycle"),
        causes=tuple(CauseCycles(cause=cause, cycles=count)
                     for cause, count in cycles["causes"].items()),
        streams=streams,
        tokens_per_second=simulated(rate, "tok/s", clock),
        tokens_per_second_summed=simulated(rate * streams, "tok/s", f"{clock}, {streams} "
                                           f"stream{'s' * (streams > 1)}"),
        bandwidth_share=simulated(ideal / taken, "1", "ideal cycles over simulated ones"))


def _evidence(cycles: dict[str, Any]) -> Evidence:
    return Evidence(
        checked_tokens=cycles["checked_tokens"], bit_exact=cycles["bit_exact"],
        of=f"the generated Verilog in Verilator, {cycles['steps']} steps of {cycles['streams']} "
           f"sequence{'s' * (cycles['streams'] > 1)} from empty states; each write to vectors, "
           "states and codes, and each token, against the integer model")
