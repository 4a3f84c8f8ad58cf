"""Board-level tops: each board's pins, and around a memory its clocks."""

import re

import pytest
from amaranth.lib.wiring import In

from ternforge.lanes import resolve_lane
from ternforge.mem.flash import FLASH_PINS
from ternforge.presets import core_preset
from ternforge.verilog import Port, generate
from ternforge_boards.board import board, boards
from ternforge_boards.dram import DramSystem, controller
from ternforge_boards.handoff import TOP
from ternforge_boards.pll import pll_settings
from ternforge_boards.top import board_top

WITH_MEMORY = [b for b in boards().values() if b.memory]


def made(record):
    clock_hz = round(pll_settings(record, record.core_mhz).output_mhz * 1e6)
    system = DramSystem(resolve_lane(core_preset(record.name), record.family), clock_hz,
                        controller(record, clock_hz), flash_offset=record.flash_offset)
    return generate(system, TOP, family=record.family, extra_ports=system.extra_ports)


def outside(text):
    """Ports of the top module, bit by bit."""
    header = text[text.index("("):text.index(");")]
    found = set()
    for width, name in re.findall(r"(?:input|output|inout) wire (?:\[(\d+):0\] )?(\w+)", header):
        found |= {f"{name}[{bit}]" for bit in range(int(width) + 1)} if width else {name}
    return found


@pytest.mark.parametrize("record", WITH_MEMORY, ids=lambda b: b.name)
def test_every_pin_is_a_port_and_every_port_is_connected(record):
    design = made(record)
    text = board_top(record, record.core_mhz, ports=design.ports)
    assert outside(text) == {pin.port for pin in record.pins}
    instance = text[text.index(f"    {TOP} {TOP}_i"):].partition(");")[0]
    connected = dict(re.findall(r"\.(\w+)\((\w+(?:\[\d\])?)\)", instance))
    assert set(connected) == {port.name for port in design.ports} - set(record.memory.absent)


@pytest.mark.parametrize("record", [b for b in boards().values() if not b.memory],
                         ids=lambda b: b.name)
def test_boards_without_a_memory_have_their_pins(record):
    ports = [Port(f"flash_{name}", "input" if member.flow == In else "output", 1, False)
             for name, member in FLASH_PINS.items() if record.flash_offset is not None]
    text = board_top(record, record.core_mhz, ports=ports)
    assert outside(text) == {pin.port for pin in record.pins}
    assert all(f".{port.name}({port.name})" in text for port in ports)
    assert all(f"assign {port} = 1'b1;" in text for port in record.high)


def test_the_flash_of_an_ecp5_has_its_clock_through_a_cell():
    record = board("ulx3s-85f-sdram-flash")
    text = board_top(record, record.core_mhz, ports=made(record).ports)
    assert "USRMCLK flash_clock_cell (.USRMCLKI(flash_sck), .USRMCLKTS(1'b0));" in text
    assert ".flash_sck(flash_sck)" in text
    assert "USRMCLK" not in board_top(board("ulx3s-85f-sdram"), 62.5,
                                      ports=made(board("ulx3s-85f-sdram")).ports)


def test_sdram_at_twice_the_clock_of_the_core():
    record = board("ulx3s-85f-sdram")
    settings = pll_settings(record, 66)
    p = settings.parameters
    assert settings.memory_mhz == pytest.approx(2 * settings.output_mhz)
    assert settings.output_mhz == pytest.approx(66, rel=0.01)
    assert p["CLKOS_DIV"] == 2 * int(p["CLKOP_DIV"])
    assert p["CLKOS_CPHASE"] == p["CLKOP_CPHASE"]  # edges at the same time
    text = board_top(record, 66, ports=made(record).ports)
    assert ".CLKFB(memory_clock), .CLKOP(memory_clock), .CLKOS(core_clock)" in text
    assert ".SCLK(memory_clock), .RST(1'b0), .D0(1'b0), .D1(1'b1), .Q(sdram_clk)" in text


def test_a_ddr3_phy_gets_a_slow_clock_and_makes_the_core_s():
    record = board("orangecrab-85f")
    settings = pll_settings(record, 75)
    assert (settings.output_mhz, settings.memory_mhz) == pytest.approx((75, 150), rel=0.01)
    assert settings.vco_mhz / int(settings.parameters["CLKOS_DIV"]) == pytest.approx(25, rel=0.05)
    text = board_top(record, 75, ports=made(record).ports)
    assert "core_clock" not in text
    assert (".clk_2x(memory_clock),\n        .clk_init(setup_clock),\n        "
            ".locked(locked)") in text
    assert "assign ddram_vccio = {6{1'b1}};" in text


@pytest.mark.parametrize("mhz", [24, 27, 48, 54, 66])
def test_gowin_frequencies(mhz):
    settings = pll_settings(board("tang-nano-20k"), mhz)
    p = settings.parameters
    output = 27 * (int(p["FBDIV_SEL"]) + 1) / (int(p["IDIV_SEL"]) + 1)
    assert settings.output_mhz == output == pytest.approx(mhz, rel=0.01)
    assert 500 <= output * int(p["ODIV_SEL"]) <= 1250
