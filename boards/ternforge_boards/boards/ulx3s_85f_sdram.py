"""ULX3S with weights in its SDRAM: 32 MB at 16 bits, for models that block RAM does not hold."""

from dataclasses import replace

from ternforge.presets import DRAMS
from ternforge_boards.board import ExternalMemory, Pin, vector
from ternforge_boards.boards import ulx3s_85f

__all__ = ["BOARD"]

_PAD = {"io": "LVCMOS33", "drive_ma": 4, "options": ("SLEWRATE=FAST",)}

BOARD = replace(
    ulx3s_85f.BOARD,
    name="ulx3s-85f-sdram",
    title="Radiona ULX3S (ECP5-85F), weights in its SDRAM",
    core_mhz=62.5,
    pins=(
        *ulx3s_85f.BOARD.pins,
        Pin(port="sdram_clk", site="F19", **_PAD),
        Pin(port="sdram_cke", site="F20", **_PAD),
        Pin(port="sdram_cs_n", site="P20", **_PAD),
        Pin(port="sdram_ras_n", site="R20", **_PAD),
        Pin(port="sdram_cas_n", site="T19", **_PAD),
        Pin(port="sdram_we_n", site="T20", **_PAD),
        *vector("sdram_dm", "U19 E20", **_PAD),
        *vector("sdram_ba", "P19 N20", **_PAD),
        *vector("sdram_a", "M20 M19 L20 L19 K20 K19 K18 J20 J19 H20 N19 G20 G19", **_PAD),
        *vector("sdram_dq", "J16 L18 M18 N18 P18 T18 T17 U20 E19 D20 D19 C20 E18 F18 J18 J17",
                **_PAD),
    ),
    memory=ExternalMemory(dram=DRAMS["sdr-n4"], size_bytes=32 << 20, prefix="sdram_"),
    trim_carries=True,
)
