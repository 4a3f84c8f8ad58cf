"""iCEBreaker, the smallest device that holds a language model of ours."""

from ternforge_boards.board import Board, Pin, Resources

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker",
    title="1BitSquared iCEBreaker (iCE40 UP5K)",
    family="ice40",
    device="up5k",
    package="sg48",
    part="iCE40UP5K-SG48",
    oscillator_mhz=12.0,
    core_mhz=30.0,
    pins=(
        Pin(port="clk", site="35", io="SB_LVCMOS"),
        Pin(port="uart_rx", site="6", io="SB_LVCMOS", pull="up"),
        Pin(port="uart_tx", site="9", io="SB_LVCMOS"),
        Pin(port="button", site="10", io="SB_LVCMOS", inverted=True),
        Pin(port="led[0]", site="11", io="SB_LVCMOS", inverted=True),
        Pin(port="led[1]", site="37", io="SB_LVCMOS", inverted=True),
    ),
    resources=Resources(
        lut=5280, ff=5280, block_ram=30, block_ram_bits=4096, dsp=8, spram=4, spram_bits=262144,
    ),
    url="https://1bitsquared.com/products/icebreaker",
    verified="pins agree with amaranth-boards; built to a bitstream; not run on hardware",
    synth_options=("-dsp", "-device", "u"),
    loader="ice40_generic",
)
