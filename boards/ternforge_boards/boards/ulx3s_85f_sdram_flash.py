"""ULX3S with weights in its SDRAM, which it fills from the flash beside the bitstream."""

from dataclasses import replace

from ternforge_boards.board import Pin
from ternforge_boards.boards import ulx3s_85f_sdram

__all__ = ["BOARD"]

BOARD = replace(
    ulx3s_85f_sdram.BOARD,
    name="ulx3s-85f-sdram-flash",
    title="Radiona ULX3S (ECP5-85F), weights in its SDRAM, booting from flash",
    pins=(
        *ulx3s_85f_sdram.BOARD.pins,
        # its clock is that of the configuration, which no pin of the fabric reaches
        Pin(port="flash_cs_n", site="R2", io="LVCMOS33"),
        Pin(port="flash_copi", site="W2", io="LVCMOS33"),
        Pin(port="flash_cipo", site="V2", io="LVCMOS33"),
        Pin(port="flash_hold_n", site="W1", io="LVCMOS33"),
        Pin(port="flash_wp_n", site="Y2", io="LVCMOS33"),
    ),
    verified="pins agree with amaranth-boards; boot simulated on small cores; built to a "
             "bitstream; not run on hardware",
    high=("flash_hold_n", "flash_wp_n"),
    flash_offset=4 << 20,  # behind the bitstream, of less than 2 MB even if it is not compressed
    flash_bytes=16 << 20,
)
