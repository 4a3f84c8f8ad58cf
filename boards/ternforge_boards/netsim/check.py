"""Tokens of a synthesised design, made by its netlist, against the integer model."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ternforge.cache import cached, content_key
from ternforge.errors import UserError
from ternforge.output import to_json, write_text
from ternforge_boards.board import Board
from ternforge_boards.handoff import Design
from ternforge_boards.jobs import Progress
from ternforge_boards.power.gates import GateNetlist, gate_netlist
from ternforge_boards.power.simulator import SOURCES
from ternforge_boards.power.token import COUNTED_TOKENS, WARM_TOKENS, simulate_tokens
from ternforge_boards.yosys import Netlist

from .ecp5 import ecp5_netlist
from .gowin import gowin_netlist

__all__ = ["NetlistCheck", "check_netlist", "family_netlist", "require_on_chip"]

#: What a build calls this.
STEP = "netlist simulation"

#: What the result depends on, beside the netlist and the image.
MODULES = (*(Path(__file__).with_name(f"{name}.py")
             for name in ("check", "ecp5", "elements", "gowin")),
           *(SOURCES[0].with_name(f"{name}.py")
             for name in ("gates", "serial", "simulator", "token")))


@dataclass(frozen=True, kw_only=True)
class NetlistCheck:
    """What was compared, and equal."""

    tokens: int
    cycles_per_token: float  #: of the tokens after the first two


def require_on_chip(board: Board) -> None:
    """Refuse a board whose image is in a memory chip, which has no model at the netlist's pins."""
    if board.memory is not None:
        raise UserError("a netlist is simulated only for a board that holds the image in the FPGA, "
                        f"not for {board.name}")


def family_netlist(module: dict[str, Any], family: str, undefined: int = 0) -> GateNetlist:
    """A flat module of a family's cells for the gate simulator.

    Parameters
    ----------
    module : dict
        The top module of the JSON that nextpnr reads.
    family : str
        ``ice40``, ``ecp5`` or ``gowin``.
    undefined : int
        Level of pins that are ``x``; on the iCE40 always 0.
    """
    if family == "ice40":
        return gate_netlist(module)
    return {"ecp5": ecp5_netlist, "gowin": gowin_netlist}[family](module, undefined)


def check_netlist(synthesised: Netlist, design: Design,
                  progress: Progress = lambda step, line: None) -> NetlistCheck:
    """Make tokens with the netlist that nextpnr reads, as a host on the serial line has them made.

    What is undefined is taken as what shows: a word of a block RAM that the other port writes in
    the same cycle is read inverted. Cached by content.

    Raises
    ------
    ToolError
        If a token differs from the integer model's.
    UserError
        If the image is not on the chip, or the netlist has cells that are not simulated.
    """
    require_on_chip(design.board)

    def fill(folder: Path) -> None:
        module = json.loads(synthesised.path.read_bytes())["modules"][synthesised.top]
        progress(STEP, f"{WARM_TOKENS + COUNTED_TOKENS} tokens")
        try:
            found = simulate_tokens(family_netlist(module, design.board.family), design)
        finally:
            progress(STEP, "")
        result = NetlistCheck(tokens=WARM_TOKENS + COUNTED_TOKENS,
                              cycles_per_token=found.cycles_per_token)
        write_text(folder / "check.json", to_json(asdict(result)))

    key = content_key(synthesised.path, design.image.model_hash, repr(design.core),
                      design.core_mhz, *SOURCES, *MODULES)
    found = json.loads((cached("netlist-check", key, fill) / "check.json").read_text())
    return NetlistCheck(**found)
