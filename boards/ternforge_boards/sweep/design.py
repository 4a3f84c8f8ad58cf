"""The Verilog of a point, generated once for all points that share it."""

import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from ternforge.accelerator import Accelerator
from ternforge.cache import cached, content_key
from ternforge.core.core import Core
from ternforge.mem.burst import BurstFetch
from ternforge.mem.litedram import DramConfig
from ternforge.output import to_json, write_text
from ternforge.verilog import Port, VerilogDesign, generate
from ternforge_boards.board import Board
from ternforge_boards.handoff import Design, make_design
from ternforge_boards.untraced import Untraced
from ternforge_firmware.image import Image

from .point import Point, code_key

__all__ = ["core_verilog", "design_of"]


def design_of(point: Point, board: Board, image: Image) -> Design:
    """The board's system; see :func:`~ternforge_boards.handoff.make_design`."""
    def fill(folder: Path) -> None:
        made = make_design(board, image, point.core_mhz, core=point.config)
        write_text(folder / "design.json", to_json({
            "core_mhz": made.core_mhz, "baud": made.baud, "board_top": made.board_top,
            "controller": made.controller, "dram": made.dram and asdict(made.dram),
            "verilog": _plain(made.verilog)}))

    key = content_key("design", board.name, point.core, point.core_mhz, image.model_hash,
                      code_key(), metadata.version("amaranth"))
    found = json.loads((cached("design", key, fill) / "design.json").read_text())
    return Design(board=board, core=point.config, core_mhz=found["core_mhz"], image=image,
                  baud=found["baud"], verilog=_verilog(found["verilog"]),
                  board_top=found["board_top"],
                  dram=DramConfig(**found["dram"]) if found["dram"] else None,
                  controller=found["controller"])


def core_verilog(point: Point, board: Board, image: Image) -> VerilogDesign:
    """The core alone, with its image memory where that is on the chip."""
    core = point.config

    def fill(folder: Path) -> None:
        if core.bank_beats:
            beats = [] if core.single_port_beats else [
                int.from_bytes(beat.tobytes(), "little") for beat in image.memory()]
            unit = Accelerator(core, beats)
        else:
            unit = Core(core, BurstFetch(core))
        made = generate(Untraced(unit), "ternforge_core", family=board.family)
        write_text(folder / "design.json", to_json(_plain(made)))

    key = content_key("core", board.family, point.core, image.model_hash, code_key(),
                      metadata.version("amaranth"))
    return _verilog(json.loads((cached("design", key, fill) / "design.json").read_text()))


def _plain(verilog: VerilogDesign) -> dict:
    return {"name": verilog.name, "text": verilog.text, "memories": verilog.memories,
            "ports": [asdict(port) for port in verilog.ports]}


def _verilog(plain: dict) -> VerilogDesign:
    return VerilogDesign(plain["name"], plain["text"], plain["memories"],
                         tuple(Port(**port) for port in plain["ports"]))
