"""The hand-off folder for a vendor's part: Verilog with AXI4 and AXI4-Lite, ready to start from."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ternforge.axi import AxiSystem, AxiTop
from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.host.registers import register
from ternforge.output import atomic_folder, to_json, write_bytes, write_text
from ternforge.presets import core_preset
from ternforge.verilog import VerilogDesign, generate
from ternforge_boards.area import AREA_FAMILIES, AreaResult, estimate_area
from ternforge_boards.handoff import GOLDEN_STEPS, TOP
from ternforge_boards.ipxact import component_xml
from ternforge_boards.jobs import Progress
from ternforge_boards.part import Part
from ternforge_boards.regmap import c_header, register_table
from ternforge_boards.rendering import templates
from ternforge_boards.session import accesses, to_golden
from ternforge_firmware.image import Image
from ternforge_firmware.lower import raise_

__all__ = ["AxiDesign", "estimate", "make_axi_design", "write_axi_handoff"]

#: Where the testbench has the image; on no particular part.
BASE = 0x4000_0000


@dataclass(frozen=True, kw_only=True)
class AxiDesign:
    """Generated Verilog of a model's core for one part at one clock."""

    part: Part
    core: CoreConfig
    clock_mhz: float
    image: Image
    queue: int  #: places for steps and for results
    verilog: VerilogDesign


def make_axi_design(part: Part, image: Image, clock_mhz: float | None = None) -> AxiDesign:
    """Generate the Verilog.

    Parameters
    ----------
    part : Part
        Gives core and port.
    image : Image
        Model, packed for that core; refused otherwise.
    clock_mhz : float, optional
        Constraint of the clock; the part's own unless given.

    Raises
    ------
    UserError
        If the core or the image does not fit, or the clock is no frequency.
    """
    core = replace(core_preset(part.core), lane="portable")
    if core.bank_beats or core.streams > 1:
        raise UserError("a core for --target axi4 must have its image memory off the chip, and one "
                        f"stream, as {part.core!r} has not")
    image.check_core(core)
    clock = part.clock_mhz if clock_mhz is None else clock_mhz
    if not 0 < clock < float("inf"):
        raise UserError(f"the clock must be a positive frequency in MHz, not {clock:g}")
    system = AxiSystem(core, part.axi)
    return AxiDesign(part=part, core=core, clock_mhz=clock, image=image,
                     queue=system.control.queue, verilog=generate(AxiTop(system), TOP))


def estimate(design: AxiDesign, progress: Progress | None = None) -> AreaResult:
    """What Yosys counts of the design in the nearest family that it knows; minutes, then cached."""
    return estimate_area(design.verilog.text, TOP, design.part.area, progress=progress)


def write_axi_handoff(design: AxiDesign, out: Path, area: AreaResult | None = None) -> list[str]:
    """Write the folder, whole or not at all; the same bytes on every run. Returns its files.

    It holds the Verilog, the image as a file and as the bytes that go to memory, port and register
    tables, C header, IP-XACT and FuseSoC descriptions, constraints and a script for the vendor's
    tool, and a self-checking testbench with golden vectors.
    """
    image, core, part = design.image, design.core, design.part
    program = raise_(image)
    tokens = np.random.default_rng(1).integers(0, program.vocab_size, GOLDEN_STEPS).tolist()
    memory = image.memory().tobytes()
    golden = to_golden(accesses(core, part.axi, design.queue, image, program, tokens, BASE))
    values = {
        "name": TOP, "version": version("ternforge"), "part": part, "core": core, "axi": part.axi,
        "clock_mhz": design.clock_mhz, "period_ns": round(1000 / design.clock_mhz, 3),
        "model": image.model, "hash": image.model_hash, "vocab": program.vocab_size,
        "weights": program.ternary_weights, "steps": GOLDEN_STEPS, "size": len(memory),
        "count": golden.count("\n"), "base": BASE, "queue": design.queue,
        "cycles_offset": register("CYCLES").offset,
        # A token takes the beats of the image but the other tokens' rows, and some time to compute.
        "limit": GOLDEN_STEPS * (8 * len(memory) // core.lanes + 200_000),
        "area": area, "area_title": AREA_FAMILIES[part.area].title,
    }
    environment = templates(lstrip_blocks=True)

    def render(template: str) -> str:
        return environment.get_template(f"axi4/{template}.j2").render(values)

    with atomic_folder(out) as folder:
        design.verilog.write(folder)
        write_text(folder / "ports.md", design.verilog.port_table())
        write_text(folder / "registers.md", register_table())
        write_text(folder / f"{TOP}.h", c_header(TOP, core, part.axi, design.queue))
        write_text(folder / f"{TOP}_instance.vh", design.verilog.instance_template())
        write_text(folder / "component.xml", component_xml(
            TOP, version("ternforge"), part.vendor, design.verilog.ports, part.axi,
            design.clock_mhz))
        tool, suffix = {"amd": ("vivado", "xdc"), "altera": ("quartus", "sdc")}[part.vendor]
        for name, template in (("README.md", "README.md"), ("Makefile", "Makefile"),
                               (f"{TOP}.core", "core"), (f"{TOP}.{suffix}", "sdc"),
                               (f"{tool}.tcl", f"{tool}.tcl"),
                               ("testbench/testbench.v", "testbench.v")):
            (folder / name).parent.mkdir(exist_ok=True)
            write_text(folder / name, render(template))
        image.write(folder / "image.tfi")
        write_bytes(folder / "image.bin", memory)
        write_text(folder / "testbench" / "golden.mem", golden)
        if area is not None:
            write_text(folder / "area.json", to_json(area.as_dict()) + "\n")
        files = [path for path in folder.rglob("*") if path.is_file()]
        return sorted(path.relative_to(folder).as_posix() for path in files)
