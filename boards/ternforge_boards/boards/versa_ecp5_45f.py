"""Lattice's ECP5-5G Versa board: 128 MB of DDR3 beside an FPGA of half the others' size."""

from ternforge.presets import DRAMS
from ternforge_boards.board import Board, ExternalMemory, Pin, Resources, vector

__all__ = ["BOARD"]

_PAD = {"io": "SSTL135_I", "options": ("SLEWRATE=FAST",)}

BOARD = Board(
    name="versa-ecp5-45f",
    title="Lattice Versa (ECP5-5G 45F), weights in its DDR3 memory",
    family="ecp5",
    device="um5g-45k",
    package="CABGA381",
    speed="8",
    part="LFE5UM5G-45F-8BG381C",
    oscillator_mhz=100.0,
    core_mhz=75.0,
    pins=(
        Pin(port="clk", site="P3", io="LVDS"),  # and P4
        Pin(port="uart_rx", site="C11", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="A11", io="LVCMOS33"),
        *vector("led", "E16 D17 D18 E18 F17 F18 E17 F16", io="LVCMOS25", inverted=True),
        Pin(port="ddram_clk_p", site="M4", io="SSTL135D_I", options=("SLEWRATE=FAST",)),
        Pin(port="ddram_cke", site="N2", **_PAD),
        Pin(port="ddram_odt", site="L2", **_PAD),
        Pin(port="ddram_reset_n", site="N4", **_PAD),
        Pin(port="ddram_cs_n", site="K1", **_PAD),
        Pin(port="ddram_ras_n", site="P1", **_PAD),
        Pin(port="ddram_cas_n", site="L1", **_PAD),
        Pin(port="ddram_we_n", site="M1", **_PAD),
        *vector("ddram_ba", "P5 N3 M3", **_PAD),
        *vector("ddram_a", "P2 C4 E5 F5 B3 F4 B5 E4 C5 E3 D5 B4 C3", **_PAD),
        *vector("ddram_dm", "J4 H5", **_PAD),
        *vector("ddram_dq", "L5 F1 K4 G1 L4 H1 G2 J3 D1 C1 E2 C2 F3 A2 E1 B1", io="SSTL135_I",
                options=("SLEWRATE=FAST", "TERMINATION=75")),
        *vector("ddram_dqs_p", "K2 H4", io="SSTL135D_I",
                options=("SLEWRATE=FAST", "TERMINATION=OFF", "DIFFRESISTOR=100")),
    ),
    resources=Resources(lut=43848, ff=43848, block_ram=108, block_ram_bits=18432, dsp=72),
    memory=ExternalMemory(dram=DRAMS["ddr3-n8"], size_bytes=128 << 20, prefix="ddram_"),
    url="https://www.latticesemi.com/en/Products/DevelopmentBoardsAndKits/"
        "ECP55GVersaDevKit",
    verified="pins follow litex-boards and agree with amaranth-boards; core and memory are those "
             "simulated for orangecrab-85f; built to a bitstream; not run on hardware",
    cable="ft2232",
)
