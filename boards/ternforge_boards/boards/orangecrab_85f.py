"""OrangeCrab r0.2 with the larger of its two FPGAs: 128 MB of DDR3 hold the 370M model."""

from ternforge.presets import DRAMS
from ternforge_boards.board import Board, ExternalMemory, Pin, vector
from ternforge_boards.boards import ulx3s_85f

__all__ = ["BOARD"]

_PAD = {"io": "SSTL135_I", "options": ("SLEWRATE=FAST",)}
_DATA = {"io": "SSTL135_I", "options": ("SLEWRATE=FAST", "TERMINATION=OFF")}

BOARD = Board(
    name="orangecrab-85f",
    title="OrangeCrab r0.2 (ECP5-85F), weights in its DDR3 memory",
    family="ecp5",
    device="85k",
    package="CSFBGA285",
    speed="8",
    part="LFE5U-85F-8MG285C",
    oscillator_mhz=48.0,
    core_mhz=75.0,
    pins=(
        Pin(port="clk", site="A9", io="LVCMOS33"),
        # a serial adapter on the pins 0 (to the board) and 1 (from it); the USB port is not used
        Pin(port="uart_rx", site="N17", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="M18", io="LVCMOS33"),
        Pin(port="button", site="J17", io="SSTL135_I", inverted=True),
        # green and red of the light
        *(Pin(port=f"led[{index}]", site=site, io="LVCMOS33", inverted=True)
          for index, site in enumerate(("M3", "K4"))),
        Pin(port="ddram_clk_p", site="J18", io="SSTL135D_I", options=("SLEWRATE=FAST",)),
        Pin(port="ddram_cke", site="D18", **_PAD),
        Pin(port="ddram_odt", site="C13", **_PAD),
        Pin(port="ddram_reset_n", site="L18", **_PAD),
        Pin(port="ddram_cs_n", site="A12", **_PAD),
        Pin(port="ddram_ras_n", site="C12", **_PAD),
        Pin(port="ddram_cas_n", site="D13", **_PAD),
        Pin(port="ddram_we_n", site="B12", **_PAD),
        # amaranth-boards 0.0.21 has the banks of another board here; these are of litex-boards
        *vector("ddram_ba", "D6 B7 A6", **_PAD),
        *vector("ddram_a", "C4 D2 D3 A3 A4 D4 C3 B2 B1 D1 A7 C2 B6", **_PAD),
        *vector("ddram_dm", "D16 G16", **_PAD),
        *vector("ddram_dq", "C17 D15 B17 C16 A15 B13 A17 A13 F17 F16 G15 F15 J16 C18 H16 F18",
                **_DATA),
        *vector("ddram_dqs_p", "B15 G18", io="SSTL135D_I",
                options=("SLEWRATE=FAST", "TERMINATION=OFF", "DIFFRESISTOR=100")),
        # balls that the board ties to its supplies, driven alike so that they carry current too
        *vector("ddram_vccio", "K16 D17 K15 K17 B18 C6", io="SSTL135_II",
                options=("SLEWRATE=FAST",)),
        *vector("ddram_gnd", "L15 L16", io="SSTL135_II", options=("SLEWRATE=FAST",)),
    ),
    resources=ulx3s_85f.BOARD.resources,
    memory=ExternalMemory(dram=DRAMS["ddr3-n8"], size_bytes=128 << 20, prefix="ddram_",
                          tied=(("ddram_vccio", 1), ("ddram_gnd", 0))),
    url="https://orangecrab-fpga.github.io/orangecrab-hardware/",
    verified="pins follow litex-boards; simulated with LiteDRAM; built to a bitstream; not run on "
             "hardware",
    loader="orangeCrab",
)
