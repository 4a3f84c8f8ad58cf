"""The hand-off folder: Verilog of a model on a board that needs nothing of ternforge."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.host.uart import uart_divisor
from ternforge.lanes import cell_models, resolve_lane
from ternforge.mem.litedram import DramConfig
from ternforge.mem.onchip import banks_of
from ternforge.output import atomic_folder, write_text
from ternforge.presets import core_preset, line_baud
from ternforge.system import System
from ternforge.verilog import VerilogDesign, generate
from ternforge_boards.board import Board
from ternforge_boards.constraints import constraints, constraints_name
from ternforge_boards.dram import DramSystem, controller
from ternforge_boards.exchange import exchanges, to_mem
from ternforge_boards.pll import pll_settings
from ternforge_boards.rendering import templates
from ternforge_boards.top import board_top
from ternforge_firmware.image import Image
from ternforge_firmware.lower import raise_
from ternforge_model.program import Program

__all__ = ["TOP", "Design", "make_design", "write_build_sources", "write_handoff"]

TOP = "ternforge"  #: module and file name of the design without clock generation

#: Tokens that the hand-off's testbench runs.
GOLDEN_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Design:
    """Generated Verilog of one model on one board at one clock."""

    board: Board
    core: CoreConfig
    core_mhz: float  #: what the PLL really makes
    image: Image
    verilog: VerilogDesign
    baud: int  #: symbols per second of the serial line
    board_top: str  #: Verilog of the board-level top
    dram: DramConfig | None = None  #: the memory beside the FPGA, at this clock
    controller: str = ""  #: Verilog of its controller

    @property
    def top(self) -> str:
        """Module of the board-level top."""
        return f"{TOP}_{self.board.identifier}"


def _beats(image: Image) -> list[int]:
    """Image memory as integers, byte 0 lowest."""
    return [int.from_bytes(beat.tobytes(), "little") for beat in image.memory()]


def make_design(board: Board, image: Image, core_mhz: float | None = None,
                baud: int | None = None, *, core: CoreConfig | None = None) -> Design:
    """Generate the Verilog.

    Parameters
    ----------
    board : Board
        Where the design goes.
    image : Image
        Model, packed for that core; refused otherwise.
    core_mhz : float, optional
        Clock of the core; the board's own unless given.
    baud : int, optional
        Symbols per second of the serial line; the board's own unless given.
    core : CoreConfig, optional
        The core; the board's preset unless given.

    Raises
    ------
    UserError
        If the image is for another core, the PLL cannot make the clock, or the clock not the line.
    """
    core = resolve_lane(core_preset(board.name) if core is None else core, board.family)
    image.check_core(core)
    clock = pll_settings(board, board.core_mhz if core_mhz is None else core_mhz).output_mhz
    clock_hz, baud = round(clock * 1e6), line_baud(board.name) if baud is None else baud
    try:
        uart_divisor(clock_hz, baud)
    except ValueError as error:
        raise UserError(f"the serial line of {board.name} cannot be so: {error}") from None
    if board.memory is not None:
        dram = controller(board, clock_hz)
        system = DramSystem(core, clock_hz, dram, baud=baud,
                            flash_offset=board.flash_offset)
        verilog = generate(system, TOP, family=board.family, extra_ports=system.extra_ports)
        return Design(board=board, core=core, core_mhz=clock, image=image, verilog=verilog,
                      baud=baud, dram=dram.config, controller=dram.text,
                      board_top=board_top(board, clock, name=TOP, ports=verilog.ports))
    initial = [] if core.single_port_beats else _beats(image)
    verilog = generate(System(core, clock_hz, initial, baud=baud,
                              flash_offset=board.flash_offset), TOP, family=board.family)
    return Design(board=board, core=core, core_mhz=clock, image=image, verilog=verilog, baud=baud,
                  board_top=board_top(board, clock, name=TOP, ports=verilog.ports))


def write_build_sources(design: Design, folder: Path) -> None:
    """What synthesis reads: design, memory contents, board-level top."""
    design.verilog.write(folder)
    write_text(folder / f"{design.board.identifier}_top.v", design.board_top)
    if design.controller:
        write_text(folder / "litedram.v", design.controller)


def _bank_files(design: Design) -> dict[str, str]:
    """``$readmemh`` text by name of the bank, where the bitstream leaves the memory empty.

    The first beat is left out: the testbench writes it through the host port.
    """
    if not design.core.single_port_beats:
        return {}
    beats, digits = [0, *_beats(design.image)[1:]], design.core.beat_bits // 4
    return {f"bank_{index}": "".join(f"{beat:0{digits}x}\n" for beat in held)
            for index, bank in enumerate(banks_of(design.core))
            if (held := beats[bank.start:bank.start + bank.depth])}


def _values(design: Design, program: Program) -> dict[str, Any]:
    """What every template may name."""
    image, core = design.image, design.core
    return {
        "name": TOP, "version": version("ternforge"), "board": design.board, "core": core,
        "model": image.model, "hash": image.model_hash, "vocab": program.vocab_size,
        "weights": program.ternary_weights, "initialised": not core.single_port_beats,
        "dram": design.dram,
    }


def _write_testbench(design: Design, program: Program, folder: Path) -> None:
    """A host on the serial line, with what it says and must hear."""
    image, core = design.image, design.core
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, program.vocab_size, GOLDEN_STEPS).tolist()
    golden = to_mem(exchanges(core, image, program, tokens))
    banks = _bank_files(design)
    divisor = uart_divisor(round(design.core_mhz * 1e6), design.baud)
    cells = cell_models(core)
    values = {
        **_values(design, program), "steps": GOLDEN_STEPS, "count": golden.count("\n"),
        "divisor": divisor,
        # four times what the stream of the weights takes, and the pause between two bytes
        "limit": 4 * len(image.memory()) // divisor + 10000,
        "banks": {name: text.count("\n") for name, text in banks.items()}, "cells": bool(cells),
    }
    environment = templates()
    write_text(folder / "Makefile", environment.get_template("Makefile.j2").render(values))
    bench = folder / "testbench"
    bench.mkdir()
    write_text(bench / "testbench.v", environment.get_template("testbench.v.j2").render(values))
    write_text(bench / "golden.mem", golden)
    if cells:
        write_text(bench / "cells.v", cells)
    for name, text in banks.items():
        write_text(bench / f"{name}.mem", text)


def write_handoff(design: Design, out: Path) -> list[str]:
    """Write the folder, whole or not at all; the same bytes on every run. Returns its files.

    It holds the Verilog, memory contents, the packet image, port table, instantiation template,
    board-level top, constraints, and a self-checking testbench of that Verilog with golden vectors.
    Of a memory beside the FPGA there is LiteDRAM's controller, and no testbench: it would need a
    model of the chip.
    """
    program = raise_(design.image)
    readme = templates().get_template("README.md.j2").render(_values(design, program))
    with atomic_folder(out) as folder:
        design.verilog.write(folder)
        write_text(folder / "ports.md", design.verilog.port_table())
        write_text(folder / f"{TOP}_instance.vh", design.verilog.instance_template())
        write_text(folder / "README.md", readme)
        design.image.write(folder / "image.tfi")
        if design.dram is None:
            _write_testbench(design, program, folder)
        else:
            write_text(folder / "litedram.v", design.controller)
        top = folder / "board"
        top.mkdir()
        write_text(top / f"{design.board.identifier}_top.v", design.board_top)
        write_text(top / constraints_name(design.board), constraints(design.board))
        files = [path for path in folder.rglob("*") if path.is_file()]
        return sorted(path.relative_to(folder).as_posix() for path in files)
