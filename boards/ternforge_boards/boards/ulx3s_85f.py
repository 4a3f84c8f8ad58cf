"""ULX3S with the largest of its four FPGAs."""

from ternforge_boards.board import Board, Pin, Resources, vector

__all__ = ["BOARD"]

BOARD = Board(
    name="ulx3s-85f",
    title="Radiona ULX3S (ECP5-85F)",
    family="ecp5",
    device="85k",
    package="CABGA381",
    speed="6",
    part="LFE5U-85F-6BG381C",
    oscillator_mhz=25.0,
    core_mhz=90.0,
    pins=(
        Pin(port="clk", site="G2", io="LVCMOS33"),
        # The board labels these from the USB chip's side: ftdi_txd is what we receive.
        Pin(port="uart_rx", site="M1", io="LVCMOS33", pull="up"),
        Pin(port="uart_tx", site="L4", io="LVCMOS33"),
        Pin(port="button", site="R1", io="LVCMOS33", pull="down"),
        *vector("led", "B2 C2 C1 D2 D1 E2 E1 H3", io="LVCMOS33", drive_ma=4),
    ),
    resources=Resources(
        lut=83640, ff=83640, block_ram=208, block_ram_bits=18432, dsp=156,
    ),
    url="https://radiona.org/ulx3s/",
    trim_carries=False,  # 84.8 MHz instead of 91.8, with the portable lanes and seed 1
    route_options=("--router", "router2"),  # several times quicker on beats of 320 bits
    verified="pins agree with amaranth-boards; built to a bitstream; not run on hardware",
    loader="ulx3s",
)
