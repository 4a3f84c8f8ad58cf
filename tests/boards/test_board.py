import json

import pytest

from ternforge.cli import run
from ternforge.errors import UserError
from ternforge_boards.board import board, boards
from ternforge_boards.constraints import constraints, constraints_name
from ternforge_boards.measure import TANG_PRIMER_20K

BOARDS = list(boards().values())


def test_registry_finds_the_files():
    assert list(boards()) == sorted(boards())
    assert {"icebreaker", "ulx3s-85f"} <= set(boards())
    assert board("icebreaker").part == "iCE40UP5K-SG48"


def test_unknown_board_offers_the_nearest():
    with pytest.raises(UserError, match=r"^unknown board 'icebraker': "
                                        r"did you mean 'icebreaker' or 'icebreaker-flash'\?$"):
        board("icebraker")


def test_unknown_pin_offers_the_nearest():
    with pytest.raises(UserError, match=r"^unknown port of board icebreaker 'uart_rxd': "
                                        r"did you mean 'uart_rx' or 'uart_tx'\?$"):
        board("icebreaker").pin("uart_rxd")


@pytest.mark.parametrize("record", BOARDS, ids=lambda b: b.name)
def test_record_is_complete(record):
    ports = [pin.port for pin in record.pins]
    sites = [pin.site for pin in record.pins if pin.site]
    assert len(set(ports)) == len(ports)
    assert len(set(sites)) == len(sites)
    assert {record.clock_port, "uart_rx", "uart_tx", "led[0]"} <= set(ports)
    assert record.name == record.name.lower()
    assert record.url.startswith("https://")
    assert record.verified


def test_memory_of_the_devices():
    assert board("icebreaker").resources.memory_bytes == 128 * 1024 + 15 * 1024
    assert board("ulx3s-85f").resources.memory_bytes == 208 * 2304


@pytest.mark.parametrize(("name", "module", "platform"), [
    ("ulx3s-85f", "amaranth_boards.ulx3s", "ULX3S_85F_Platform"),
    ("icebreaker", "amaranth_boards.icebreaker", "ICEBreakerPlatform"),
    ("ulx3s-85f-sdram", "amaranth_boards.ulx3s", "ULX3S_85F_Platform"),
    ("ulx3s-85f-sdram-flash", "amaranth_boards.ulx3s", "ULX3S_85F_Platform"),
    ("icebreaker-flash", "amaranth_boards.icebreaker", "ICEBreakerPlatform"),
])
def test_pins_agree_with_amaranth_boards(name, module, platform):
    theirs = getattr(pytest.importorskip(module), platform)
    resources = {(r.name, r.number): r for r in theirs.resources}

    def site(resource, number=0, signal=None):
        entry = resources[resource, number]
        if signal is not None:
            [entry] = [io for io in entry.ios if io.name == signal]
        pins = entry.ios[0]
        return (pins.p if hasattr(pins, "p") else pins).names[0]

    record = board(name)
    clock = resources[theirs.default_clk, 0]
    assert record.pin("clk").site == site(theirs.default_clk)
    assert record.oscillator_mhz * 1e6 == clock.clock.frequency
    assert record.pin("uart_rx").site == site("uart", signal="rx")
    assert record.pin("uart_tx").site == site("uart", signal="tx")
    assert record.pin("button").site == site("button")
    leds = [pin for pin in record.pins if pin.port.startswith("led[")]
    assert [pin.site for pin in leds] == [site("led", n) for n in range(len(leds))]
    assert theirs.device.lower() in record.part.lower()


@pytest.mark.parametrize(("name", "module", "platform", "speaks"), [
    ("versa-ecp5-45f", "versa_ecp5_5g", "VersaECP55GPlatform", True),
    ("ecpix5-85f", "ecpix5", "ECPIX585Platform", True),
    ("butterstick-85f", "butterstick", "ButterStickPlatform", False),
])
def test_clock_part_and_serial_line_agree(name, module, platform, speaks):
    """Boards whose lights or buttons amaranth-boards describes in another way."""
    theirs = getattr(pytest.importorskip(f"amaranth_boards.{module}"), platform)
    resources = {(r.name, r.number): r for r in theirs.resources}
    record, clock = board(name), resources[theirs.default_clk, 0]
    pins = clock.ios[0]
    assert record.pin("clk").site == (pins.p if hasattr(pins, "p") else pins).names[0]
    assert record.oscillator_mhz * 1e6 == clock.clock.frequency
    assert record.part.startswith(f"{theirs.device}-{theirs.speed}{theirs.package}")
    if speaks:
        ours = {io.name: io.ios[0].names[0] for io in resources["uart", 0].ios}
        assert (record.pin("uart_rx").site, record.pin("uart_tx").site) == (ours["rx"], ours["tx"])
    else:
        assert ("uart", 0) not in resources


@pytest.mark.parametrize(("name", "module", "platform"), [
    ("icebreaker-flash", "icebreaker", "ICEBreakerPlatform"),
    ("ulx3s-85f-sdram-flash", "ulx3s", "ULX3S_85F_Platform"),
])
def test_pins_of_the_flash_agree(name, module, platform):
    theirs = getattr(pytest.importorskip(f"amaranth_boards.{module}"), platform)
    [entry] = [r for r in theirs.resources if r.name in ("spi_flash", "spi_flash_1x")][:1]
    sites = {io.name: io.ios[0].names[0] for io in entry.ios}
    record = board(name)
    assert record.flash_offset is not None
    assert record.flash_bytes > record.flash_offset > 0
    for ours, other in {"cs_n": "cs", "copi": "copi", "cipo": "cipo", "hold_n": "hold",
                        "wp_n": "wp"}.items():
        assert record.pin(f"flash_{ours}").site == sites[other], ours
    ports = {pin.port for pin in record.pins}
    assert ("flash_sck" in ports) == ("clk" in sites)  # of an ECP5 it is no pin
    if "clk" in sites:
        assert record.pin("flash_sck").site == sites["clk"]


#: Names of a memory's signals, here and in amaranth-boards.
SDRAM = {"cke": "clk_en", "cs_n": "cs", "ras_n": "ras", "cas_n": "cas", "we_n": "we", "dm": "dqm",
         "ba": "ba", "a": "a", "dq": "dq"}
DDR3 = {"clk_p": "clk", "cke": "clk_en", "odt": "odt", "reset_n": "rst", "cs_n": "cs",
        "ras_n": "ras", "cas_n": "cas", "we_n": "we", "dq": "dq"}


#: The same in boards that describe it with DDR3Resource.
RESOURCE = {**DDR3, "dm": "dm", "ba": "ba", "dqs_p": "dqs"}
#: Without what the ECPIX-5 ties itself.
TIED = {name: other for name, other in RESOURCE.items() if name not in ("cs_n", "reset_n")}


@pytest.mark.parametrize(("name", "prefix", "module", "platform", "resource", "signals"), [
    ("ulx3s-85f-sdram", "sdram", "ulx3s", "ULX3S_85F_Platform", "sdram", SDRAM),
    ("orangecrab-85f", "ddram", "orangecrab_r0_2", "OrangeCrabR0_2_85FPlatform", "ddr3", DDR3),
    ("versa-ecp5-45f", "ddram", "versa_ecp5_5g", "VersaECP55GPlatform", "ddr3",
     {**RESOURCE, "a": "a"}),
    ("ecpix5-85f", "ddram", "ecpix5", "ECPIX585Platform", "ddr3", {**TIED, "a": "a"}),
    ("butterstick-85f", "ddram", "butterstick", "ButterStickPlatform", "ddr3", RESOURCE),
])
def test_pins_of_the_memory_agree(name, prefix, module, platform, resource, signals):
    theirs = getattr(pytest.importorskip(f"amaranth_boards.{module}"), platform)
    [entry] = [r for r in theirs.resources if r.name == resource]
    subsignals = {io.name: io.ios[0] for io in entry.ios}
    for ours, other in signals.items():
        pins = subsignals[other]
        sites = [pin.site for pin in board(name).pins
                 if pin.port.partition("[")[0] == f"{prefix}_{ours}"]
        expected = pins.p.names if hasattr(pins, "p") else pins.names
        # of two ranks, ours is the first
        assert sites == (expected[:1] if len(sites) == 1 else expected), ours


def test_constraints_of_the_ecp5():
    assert constraints_name(board("ulx3s-85f")) == "ulx3s-85f.lpf"
    assert constraints(board("ulx3s-85f"), ["clk", "uart_rx", "led[0]"]) == (
        "# Radiona ULX3S (ECP5-85F), LFE5U-85F-6BG381C\n"
        'LOCATE COMP "clk" SITE "G2";\n'
        'IOBUF PORT "clk" IO_TYPE=LVCMOS33;\n'
        'LOCATE COMP "uart_rx" SITE "M1";\n'
        'IOBUF PORT "uart_rx" IO_TYPE=LVCMOS33 PULLMODE=UP;\n'
        'LOCATE COMP "led[0]" SITE "B2";\n'
        'IOBUF PORT "led[0]" IO_TYPE=LVCMOS33 DRIVE=4;\n'
        'FREQUENCY PORT "clk" 25 MHZ;\n'
    )


def test_constraints_of_the_ice40():
    assert constraints_name(board("icebreaker")) == "icebreaker.pcf"
    assert constraints(board("icebreaker"), ["uart_rx", "clk"], clock_mhz=40) == (
        "# 1BitSquared iCEBreaker (iCE40 UP5K), iCE40UP5K-SG48\n"
        "set_io clk 35\n"
        "set_io -pullup yes uart_rx 6\n"
        "set_frequency clk 40\n"
    )


def test_constraints_of_a_gowin_part():
    assert constraints_name(TANG_PRIMER_20K) == "tang-primer-20k.cst"
    assert constraints(TANG_PRIMER_20K, ["clk", "uart_tx"], clock_mhz=40) == (
        "// Sipeed Tang Primer 20K (GW2A-18), GW2A-LV18PG256C8/I7\n"
        'IO_LOC "clk" H11;\n'
        'IO_LOC "uart_tx" M11;\n'
    )
    assert "tang-primer-20k" not in boards()


def test_constraints_name_every_pin_unless_told():
    text = constraints(board("icebreaker"))
    assert all(f" {pin.port} {pin.site}\n" in text for pin in board("icebreaker").pins)


def test_port_without_a_pin():
    with pytest.raises(UserError, match=r"^the board icebreaker has no pin for the port 'sda' of "
                                        r"the design: its ports are clk, uart_rx, .*, led\[1\]$"):
        constraints(board("icebreaker"), ["clk", "sda"])


def test_boards_command(capsys):
    assert run(["boards", "--json"]) == 0
    records = {b["name"]: b for b in json.loads(capsys.readouterr().out)["boards"]}
    assert records["icebreaker"]["resources"]["spram"] == 4
    assert records["ulx3s-85f"]["pins"][0] == {
        "port": "clk", "site": "G2", "io": "LVCMOS33", "pull": "", "drive_ma": 0,
        "inverted": False, "options": [],
    }
    assert run(["boards"]) == 0
    told = capsys.readouterr().out
    assert "ulx3s-85f: Radiona ULX3S (ECP5-85F)" in told
