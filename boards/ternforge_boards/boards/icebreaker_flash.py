"""iCEBreaker that boots its image from the flash beside the bitstream, without a host."""

from dataclasses import replace

from ternforge_boards.board import Pin
from ternforge_boards.boards import icebreaker

__all__ = ["BOARD"]

BOARD = replace(
    icebreaker.BOARD,
    name="icebreaker-flash",
    title="1BitSquared iCEBreaker (iCE40 UP5K), booting its image from flash",
    pins=(
        *icebreaker.BOARD.pins,
        Pin(port="flash_cs_n", site="16", io="SB_LVCMOS"),
        Pin(port="flash_sck", site="15", io="SB_LVCMOS"),
        Pin(port="flash_copi", site="14", io="SB_LVCMOS"),
        Pin(port="flash_cipo", site="17", io="SB_LVCMOS"),
        Pin(port="flash_wp_n", site="12", io="SB_LVCMOS"),
        Pin(port="flash_hold_n", site="13", io="SB_LVCMOS"),
    ),
    high=("flash_wp_n", "flash_hold_n"),
    core_mhz=27.0,  # 30 MHz is just what it reaches, with 43 logic cells left
    verified="pins agree with amaranth-boards; boot simulated on small cores; built to a "
             "bitstream; not run on hardware",
    flash_offset=1 << 20,  # behind the bitstream, of 104,090 bytes
    flash_bytes=16 << 20,
)
