"""The hand-off folder: Verilog of a model on a board that needs nothing of ternforge."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np

from ternforge.accelerator import Accelerator
from ternforge.config import CoreConfig
from ternforge.output import atomic_folder, write_text
from ternforge.presets import core_preset
from ternforge.system import System
from ternforge.verilog import VerilogDesign, generate
from ternforge_boards.board import Board
from ternforge_boards.constraints import constraints, constraints_name
from ternforge_boards.pll import pll_settings
from ternforge_boards.top import board_top
from ternforge_firmware.image import Image, write_mem
from ternforge_firmware.lower import raise_
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Matvec, Program

__all__ = ["ACCELERATOR", "TOP", "Design", "make_design", "write_build_sources", "write_handoff"]

TOP = "ternforge"  #: module and file name of the design without clock generation
ACCELERATOR = "accelerator"  #: the same without host port, in the testbench folder

#: Tokens that the hand-off's testbench runs.
GOLDEN_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class Design:
    """Generated Verilog of one model on one board at one clock."""

    board: Board
    core: CoreConfig
    core_mhz: float  #: what the PLL really makes
    image: Image
    verilog: VerilogDesign
    board_top: str  #: Verilog of the board-level top


def _beats(image: Image) -> list[int]:
    """Image memory as integers, byte 0 lowest."""
    return [int.from_bytes(beat.tobytes(), "little") for beat in image.memory()]


def make_design(board: Board, image: Image, core_mhz: float | None = None) -> Design:
    """Generate the Verilog.

    Parameters
    ----------
    board : Board
        Its core preset is used.
    image : Image
        Model, packed for that core; refused otherwise.
    core_mhz : float, optional
        Clock of the core; the board's own unless given.

    Raises
    ------
    UserError
        If the image is for another core, or the PLL cannot make the clock.
    """
    core = core_preset(board.name)
    image.check_core(core)
    clock = pll_settings(board, core_mhz or board.core_mhz).output_mhz
    initial = [] if core.single_port_beats else _beats(image)
    verilog = generate(System(core, round(clock * 1e6), initial), TOP)
    return Design(board=board, core=core, core_mhz=clock, image=image, verilog=verilog,
                  board_top=board_top(board, clock, name=TOP))


def write_build_sources(design: Design, folder: Path) -> None:
    """What synthesis reads: design, memory contents, board-level top."""
    design.verilog.write(folder)
    write_text(folder / f"{design.board.name.replace('-', '_')}_top.v", design.board_top)


def _golden(program: Program, steps: int) -> tuple[str, str, Matvec]:
    """Steps and logits of the integer model as ``$readmemh`` text."""
    head = program.ops[-1]
    assert isinstance(head, Matvec)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, program.vocab_size, steps)
    result = IntegerModel(program).forward(ids)
    lines = "".join(f"{int(want) << 16 | (position == 0) << 15 | int(token):08x}\n"
                    for position, (token, want) in enumerate(zip(ids, result.tokens, strict=True)))
    logits = "".join(f"{int(value) & 0xFFFFFF:06x}\n" for value in result.acc.reshape(-1))
    return lines, logits, head


def write_handoff(design: Design, out: Path) -> Path:
    """Write the folder, whole or not at all; the same bytes on every run.

    It holds the Verilog, memory contents, the packet image, port table, instantiation template,
    board-level top, constraints, and a self-checking testbench with golden vectors.
    """
    image, core = design.image, design.core
    program = raise_(image)
    steps, logits, head = _golden(program, GOLDEN_STEPS)
    vectors = {entry["name"]: entry["address"] for entry in image.metadata["vectors"]}
    values = {
        "name": TOP, "module": ACCELERATOR, "version": version("ternforge"),
        "board": design.board, "core": core, "model": image.model, "hash": image.model_hash,
        "vocab": program.vocab_size, "weights": program.ternary_weights, "steps": GOLDEN_STEPS,
        "beats": len(image.memory()), "beat_bits": core.beat_bits,
        "initialised": core.single_port_beats == 0,
        "logits_address": vectors.get(head.dst, 0) if head.dst else 0,
    }
    environment = jinja2.Environment(loader=jinja2.PackageLoader("ternforge_boards"),
                                     undefined=jinja2.StrictUndefined, keep_trailing_newline=True)

    def render(template: str) -> str:
        return environment.get_template(f"{template}.j2").render(values)

    with atomic_folder(out) as folder:
        design.verilog.write(folder)
        write_text(folder / "ports.md", design.verilog.port_table())
        write_text(folder / f"{TOP}_instance.vh", design.verilog.instance_template())
        write_text(folder / "README.md", render("README.md"))
        write_text(folder / "Makefile", render("Makefile"))
        image.write(folder / "image.tfi")
        bench = folder / "testbench"
        bench.mkdir()
        generate(Accelerator(core), ACCELERATOR).write(bench)
        write_text(bench / "testbench.v", render("testbench.v"))
        write_text(bench / "golden_steps.mem", steps)
        write_text(bench / "golden_logits.mem", logits)
        write_mem(bench / "image.mem", image)
        top = folder / "board"
        top.mkdir()
        write_text(top / f"{design.board.name.replace('-', '_')}_top.v", design.board_top)
        write_text(top / constraints_name(design.board), constraints(design.board))
    return out
