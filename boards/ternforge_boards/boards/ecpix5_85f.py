"""LambdaConcept ECPIX-5 with the larger of its two FPGAs and 512 MB of DDR3."""

from ternforge.presets import DRAMS
from ternforge_boards.board import Board, ExternalMemory, Pin, vector
from ternforge_boards.boards import ulx3s_85f

__all__ = ["BOARD"]

_PAD = {"io": "SSTL15_I", "options": ("SLEWRATE=FAST",)}

BOARD = Board(
    name="ecpix5-85f",
    title="LambdaConcept ECPIX-5 (ECP5-5G 85F), weights in 128 of the 512 MB of its DDR3 memory",
    family="ecp5",
    device="um5g-85k",
    package="CABGA554",
    speed="8",
    part="LFE5UM5G-85F-8BG554I",
    oscillator_mhz=100.0,
    core_mhz=75.0,
    pins=(
        Pin(port="clk", site="K23", io="LVCMOS33"),
        Pin(port="uart_rx", site="R26", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="R24", io="LVCMOS33"),
        # green and red of the first light
        *(Pin(port=f"led[{index}]", site=site, io="LVCMOS33", inverted=True)
          for index, site in enumerate(("R21", "T23"))),
        Pin(port="ddram_clk_p", site="H3", io="SSTL15D_I", options=("SLEWRATE=FAST",)),
        Pin(port="ddram_cke", site="P1", **_PAD),
        Pin(port="ddram_odt", site="P3", **_PAD),
        Pin(port="ddram_ras_n", site="T3", **_PAD),
        Pin(port="ddram_cas_n", site="P2", **_PAD),
        Pin(port="ddram_we_n", site="R3", **_PAD),
        *vector("ddram_ba", "U6 N3 N4", **_PAD),
        *vector("ddram_a", "T5 M3 L3 V6 K2 W6 K3 L1 H2 L2 N1 J1 M1 K1 H1", **_PAD),
        *vector("ddram_dm", "U4 U1", **_PAD),
        *vector("ddram_dq", "T4 W4 R4 W5 R6 P6 P5 P4 R1 W3 T2 V3 U3 W1 T1 W2", io="SSTL15_I",
                options=("SLEWRATE=FAST", "TERMINATION=75")),
        *vector("ddram_dqs_p", "V4 V1", io="SSTL15D_I",
                options=("SLEWRATE=FAST", "TERMINATION=OFF", "DIFFRESISTOR=100")),
    ),
    resources=ulx3s_85f.BOARD.resources,
    # a beat has an address of 24 bits, which reaches a quarter of the chip
    memory=ExternalMemory(dram=DRAMS["ecpix5-85f"], size_bytes=128 << 20, prefix="ddram_",
                          absent=("cs_n", "reset_n")),
    url="https://docs.lambdaconcept.com/ecpix-5/",
    verified="pins follow litex-boards and agree with amaranth-boards; built to a bitstream; not "
             "run on hardware",
    loader="ecpix5_r03",
)
