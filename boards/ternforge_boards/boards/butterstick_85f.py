"""ButterStick r1.0 with the larger FPGA and two ranks of DDR3, of which one is used."""

from ternforge.presets import DRAMS
from ternforge_boards.board import Board, ExternalMemory, Pin, vector
from ternforge_boards.boards import ulx3s_85f

__all__ = ["BOARD"]

_PAD = {"io": "SSTL135_I", "options": ("SLEWRATE=FAST",)}
_CLOCK = {"io": "SSTL135D_I", "options": ("SLEWRATE=FAST",)}

BOARD = Board(
    name="butterstick-85f",
    title="ButterStick r1.0 (ECP5-5G 85F, 8 Gbit), weights in 128 MB of its DDR3 memory",
    family="ecp5",
    device="um5g-85k",
    package="CABGA381",
    speed="8",
    part="LFE5UM5G-85F-8BG381C",
    oscillator_mhz=30.0,
    core_mhz=75.0,
    pins=(
        Pin(port="clk", site="B12", io="LVCMOS33"),
        # a serial adapter on the contacts CMD (to the board) and DAT0 (from it) of the card's
        # socket; the USB port is not used, and other connectors want a voltage set first
        Pin(port="uart_rx", site="A13", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="C12", io="LVCMOS33"),
        Pin(port="button", site="U16", io="SSTL135_I", inverted=True),
        *vector("led", "C13 D12 U2 T3 D13 E13 C16", io="LVCMOS33"),
        Pin(port="led_blue", site="R1", io="LVCMOS33"),  # the colour of them all
        Pin(port="ddram_clk_p", site="C20", **_CLOCK),
        Pin(port="ddram_cke", site="F18", **_PAD),
        Pin(port="ddram_odt", site="K20", **_PAD),
        Pin(port="ddram_reset_n", site="E17", **_PAD),
        Pin(port="ddram_cs_n", site="J20", **_PAD),
        Pin(port="ddram_ras_n", site="K18", **_PAD),
        Pin(port="ddram_cas_n", site="J17", **_PAD),
        Pin(port="ddram_we_n", site="G19", **_PAD),
        *vector("ddram_ba", "H16 F20 H20", **_PAD),
        # G20, the sixteenth, is for larger chips
        *vector("ddram_a", "G16 E19 E20 F16 F19 E16 F17 L20 M20 E18 G18 D18 H18 C18 D17", **_PAD),
        *vector("ddram_dm", "U20 L18", **_PAD),
        *vector("ddram_dq", "U19 T18 U18 R20 P18 P19 P20 N20 L19 L17 L16 R16 N18 R17 N17 P17",
                io="SSTL135_I", options=("SLEWRATE=FAST", "TERMINATION=75")),
        *vector("ddram_dqs_p", "T19 N16", io="SSTL135D_I",
                options=("SLEWRATE=FAST", "TERMINATION=OFF", "DIFFRESISTOR=100")),
        # the second rank, which is never selected, nor its clock enabled
        Pin(port="ddram_clk1_p", site="J19", **_CLOCK),
        Pin(port="ddram_cke1", site="J18", **_PAD),
        Pin(port="ddram_odt1", site="H17", **_PAD),
        Pin(port="ddram_cs1_n", site="J16", **_PAD),
    ),
    high=("led_blue",),
    resources=ulx3s_85f.BOARD.resources,
    # a beat has an address of 24 bits, which reaches a quarter of the chip
    memory=ExternalMemory(dram=DRAMS["butterstick-85f"], size_bytes=128 << 20, prefix="ddram_",
                          tied=(("ddram_clk1_p", 0), ("ddram_cke1", 0), ("ddram_odt1", 0),
                                ("ddram_cs1_n", 1))),
    url="https://github.com/butterstick-fpga/butterstick-hardware",
    verified="pins follow litex-boards and agree with amaranth-boards; built to a bitstream; not "
             "run on hardware",
)
