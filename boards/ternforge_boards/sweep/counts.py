"""Area from a netlist: what Yosys counts, before nextpnr packs it."""

from collections.abc import Mapping

from ternforge.errors import UserError
from ternforge_boards.area import AREA_FAMILIES
from ternforge_boards.board import Board
from ternforge_boards.nextpnr import GOWIN_MULTIPLIERS
from ternforge_boards.report.area import available
from ternforge_boards.report.schema import Area
from ternforge_boards.yosys import Netlist

__all__ = ["COUNTED", "check_area", "netlist_area"]

#: Where the counts come from.
COUNTED = "Yosys, before packing: nextpnr adds what it needs for carries, constants and registers"

_ECP5 = AREA_FAMILIES["ecp5"]

#: What each cell counts as, by family: LUT, block RAM, DSP and single-port RAM.
CELLS: dict[str, Mapping[str, Mapping[str, float]]] = {
    "ecp5": {"lut": _ECP5.lut, "block_ram": {**_ECP5.block_ram, "PDPW16KD": 1}, "dsp": _ECP5.dsp},
    "ice40": {"lut": {"SB_LUT4": 1}, "block_ram": {"SB_RAM40_4K": 1}, "dsp": {"SB_MAC16": 1},
              "spram": {"SB_SPRAM256KA": 1}},
    "gowin": {"lut": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
              "block_ram": dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM",
                                          "pROMX9"), 1),
              "dsp": {"MULT18X18": 1, "MULT9X9": 0.5, **GOWIN_MULTIPLIERS}},
}


def netlist_area(netlist: Netlist, family: str) -> Area:
    """Cells of a netlist by kind."""
    weights = CELLS[family]

    def count(kind: str) -> int:
        return round(sum(weight * netlist.cells.get(cell, 0)
                         for cell, weight in weights.get(kind, {}).items()) + 0.49)

    return Area(lut=count("lut"), ff=netlist.flip_flops, block_ram=count("block_ram"),
                dsp=count("dsp"), spram=count("spram"))


def check_area(area: Area, board: Board) -> None:
    """Refuse what the device has too little of.

    Raises
    ------
    UserError
        Saying what is needed and what there is.
    """
    have = available(board).model_dump()
    over = [f"{count} {name} of {have[name]}" for name, count in area.model_dump().items()
            if count > have[name]]
    if over:
        raise UserError(f"the design does not fit on {board.name}: it needs {', '.join(over)}")
