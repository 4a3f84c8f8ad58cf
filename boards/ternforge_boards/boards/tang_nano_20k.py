"""Sipeed Tang Nano 20K: its FPGA has 8 MB of SDRAM in the same package."""

from ternforge.presets import DRAMS
from ternforge_boards.board import Board, ExternalMemory, Pin, Resources

__all__ = ["BOARD"]


def _inside(port: str, bits: int = 0) -> tuple[Pin, ...]:
    """Pins within the package, which nextpnr finds by the port's name."""
    return tuple(Pin(port=f"{port}[{bit}]", site="") for bit in range(bits)) if bits else (
        Pin(port=port, site=""),)


BOARD = Board(
    name="tang-nano-20k",
    title="Sipeed Tang Nano 20K (GW2AR-18), weights in its SDRAM",
    family="gowin",
    device="GW2AR-LV18QN88C8/I7",
    package="",
    part="GW2AR-LV18QN88C8/I7",
    oscillator_mhz=27.0,
    core_mhz=48.0,
    pins=(
        Pin(port="clk", site="4", io="LVCMOS33"),
        Pin(port="uart_rx", site="70", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="69", io="LVCMOS33"),
        Pin(port="button", site="88", io="LVCMOS33", pull="down"),
        *(Pin(port=f"led[{index}]", site=site, io="LVCMOS33", inverted=True)
          for index, site in enumerate(("15", "16", "17", "18", "19", "20"))),
        *(pin for signal in ("clk", "cke", "cs_n", "ras_n", "cas_n", "wen_n")
          for pin in _inside(f"O_sdram_{signal}")),
        *_inside("O_sdram_dqm", 4),
        *_inside("O_sdram_ba", 2),
        *_inside("O_sdram_addr", 11),
        *_inside("IO_sdram_dq", 32),
    ),
    resources=Resources(lut=20736, ff=15552, block_ram=46, block_ram_bits=18432, dsp=48),
    # named as nextpnr, and the maker's tools, know the pads inside the package
    memory=ExternalMemory(
        dram=DRAMS["gw2ar-18"], size_bytes=8 << 20, prefix="O_sdram_",
        renamed=(("a", "O_sdram_addr"), ("we_n", "O_sdram_wen_n"), ("dm", "O_sdram_dqm"),
                 ("dq", "IO_sdram_dq"))),
    url="https://wiki.sipeed.com/hardware/en/tang/tang-nano-20k/nano-20k.html",
    verified="pins follow litex-boards; simulated with LiteDRAM; built to a bitstream; not run on "
             "hardware",
    synth_options=("-family", "gw2a", "-nowidelut"),
    route_options=("--vopt", "family=GW2A-18C"),
    loader="tangnano20k",
)
