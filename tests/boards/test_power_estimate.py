"""Power and energy of cases that were computed by hand."""

import pytest

from ternforge.errors import UserError
from ternforge.mem.litedram import DramConfig
from ternforge_boards.board import board
from ternforge_boards.power.activity import Activity, Range, typical_activity
from ternforge_boards.power.coefficients import (
    FOLDER,
    Basis,
    Coefficient,
    Coefficients,
    coefficients_of,
    read_toml,
)
from ternforge_boards.power.dram import DramRates, chip_of, dram_lines
from ternforge_boards.power.estimate import core_lines, make_power, pin_line, product, total
from ternforge_boards.power.heldout import held_out
from ternforge_boards.power.published import MARLANN
from ternforge_boards.report.schema import (
    Area,
    AreaReport,
    Design,
    Evidence,
    PowerLine,
    Report,
    Throughput,
)
from ternforge_boards.report.value import Status, Value
from ternforge_sim.dram import DramCounts

NOW = Range.exact


def row(value: float | None, unit: str = "pJ", uncertainty: float = 1.0) -> Coefficient:
    if value is None:
        return Coefficient(unit=unit, status=Basis.UNKNOWN, source="nothing")
    return Coefficient(value=value, unit=unit, status=Basis.MEASURED, uncertainty=uncertainty,
                       source="by hand")


def given(**changed: Coefficient) -> Coefficients:
    rows = {"static": row(100.0, "uA"), "clock": row(50.0), "flip_flop_clock": row(0.01),
            "sink": row(0.2), "dsp": row(20.0), "block_ram_read": row(3.0),
            "block_ram_write": row(4.0), "spram_read": row(10.0), "spram_write": row(10.0),
            "pll": row(0.5), "pll_supply": row(0.1), "pin_capacitance": row(10.0, "pF")}
    return Coefficients(name="by hand", volts=1.2, temperature_c=25.0, rows={**rows, **changed})


def activity(**changed) -> Activity:
    return Activity(**{
        "how": "by hand", "flip_flops": 1000, "sink_toggles": Range(100.0, 50.0, 200.0),
        "block_ram_reads": NOW(2.0), "block_ram_writes": NOW(0.5), "spram_reads": NOW(4.0),
        "spram_writes": NOW(0.0), "dsp_operations": NOW(0.25), "pin_toggles": NOW(0.1), **changed})


def report(tokens: float = 1000.0, weights: int = 1000) -> Report:
    def value(number: float, unit: str) -> Value:
        return Value(value=number, unit=unit, status=Status.SIMULATED, source="by hand")

    area = Area(lut=5000, ff=1000, block_ram=10, dsp=4, spram=4)
    return Report(
        name="by hand", design=Design(
            board="icebreaker", device="UP5K", family="ice40", core={}, core_mhz=10.0,
            memory="single-port RAM", memory_bytes_per_second=1e6, design_hash="0", model="small",
            model_hash="0", ternary_weights=weights),
        tool_versions={}, seed=1, seeds=(), clocks=(), bitstream=None,
        area=AreaReport(total=area, available=area, units=(), source="by hand"),
        throughput=Throughput(
            cycles_per_token=value(10000, "cycles"), ideal_cycles_per_token=value(9000, "cycles"),
            causes=(), tokens_per_second=value(tokens, "tok/s"),
            tokens_per_second_summed=value(tokens, "tok/s"), bandwidth_share=value(0.5, "1")),
        evidence=Evidence(checked_tokens=1, bit_exact=True, of="by hand"))


def watts(lines) -> dict[str, tuple]:
    return {line.name: tuple(None if part is None else pytest.approx(part) for part in (
        line.power.value, line.power.low, line.power.high)) for line in lines}


def test_lines_of_the_core():
    """At 10 MHz 1 pJ per cycle is 10 uW; ranges are half and twice, times those of the activity."""
    lines = core_lines(activity(), given(), "up5k", 10e6, 100e6)
    assert watts(lines) == {
        "static": (120e-6, 60e-6, 240e-6),
        "clock network": (500e-6, 250e-6, 1000e-6),
        "clock pins of flip-flops": (100e-6, 50e-6, 200e-6),
        "logic and routing": (200e-6, 50e-6, 800e-6),
        "block RAM, reads": (60e-6, 30e-6, 120e-6),
        "block RAM, writes": (20e-6, 10e-6, 40e-6),
        "DSP": (50e-6, 25e-6, 100e-6),
        "single-port RAM, reads": (400e-6, 200e-6, 800e-6),
        "single-port RAM, writes": (0.0, 0.0, 0.0),
        "PLL, from the core's supply": (50e-6, 25e-6, 100e-6),
        "PLL, its own supply": (10e-6, 5e-6, 20e-6),
    }
    assert {line.rail for line in lines} == {"core"}


def test_memory_has_a_clock_of_its_own():
    """50 pJ at 20 MHz beside the core's at 10 MHz."""
    lines = core_lines(activity(), given(), "up5k", 10e6, 100e6, 20e6)
    assert watts(lines)["clock network"] == (500e-6, 250e-6, 1000e-6)
    assert watts(lines)["clock network of the memory"] == (1e-3, 0.5e-3, 2e-3)


def test_toggles_without_glitches_widen_the_range():
    """100 toggles at 0.2 pJ with glitches, or 40 at 0.4 pJ (range 0.1 to 1.6) without."""
    moving = activity(sink_toggles=NOW(100.0), functional_toggles=40.0)
    lines = core_lines(moving, given(sink=row(0.2, uncertainty=0.0), sink_functional=row(0.4)),
                       "up5k", 10e6, 0.0)
    assert watts(lines)["logic and routing"] == (200e-6, 80e-6, 320e-6)


def test_energy_per_token_and_per_mac():
    lines = core_lines(activity(), given(), "up5k", 10e6, 100e6)
    power = make_power(report(), activity(), given(), lines, None)
    assert power.core.value == pytest.approx(1510e-6)
    assert power.core.low == pytest.approx(705e-6)
    assert power.core.high == pytest.approx(3420e-6)
    assert power.energy.core_per_token.value == pytest.approx(1.51e-6)
    assert power.energy.core_per_mac.value == pytest.approx(1.51e-9)
    assert power.energy.core_per_mac.high == pytest.approx(3.42e-9)
    assert (power.memory.value, power.energy.memory_per_token.value) == (0.0, 0.0)
    assert power.board.value is None
    assert power.board.source.endswith("nothing is known of: idle board")
    assert power.energy.board_per_token.value is None


def test_board_is_idle_and_what_a_token_adds():
    """Idle 0.5 W; of the core: toggles 200, reads 60, writes 20, DSP 50, SPRAM 400 uW; pins."""
    moving = activity()
    pins = pin_line(moving, given(), 10e6)
    assert pins.power.value == pytest.approx(0.1 * 10e6 * 10e-12 * 3.3 ** 2 / 2)
    lines = [*core_lines(moving, given(), "up5k", 10e6, 100e6), pins]
    power = make_power(report(), moving, given(), lines, 0.5)
    assert pins.power.value is not None
    assert power.board.value == pytest.approx(0.5 + 730e-6 + pins.power.value)


@pytest.mark.parametrize("unknown", ["static", "clock", "sink", "block_ram_read"])
def test_no_sum_where_a_term_is_unknown(unknown):
    changed = {unknown: row(None, "uA" if unknown == "static" else "pJ")}
    lines = core_lines(activity(), given(**changed), "up5k", 10e6, 0.0)
    power = make_power(report(), activity(), given(), lines, 1.0)
    assert power.core.value is None
    assert power.core.low is None
    assert "nothing is known of" in power.core.source
    assert power.energy.core_per_mac.value is None


def test_unknown_times_nothing_is_nothing():
    value = product(row(None), NOW(0.0), 1e6, "W", "writes")
    assert (value.value, value.low, value.high) == (0.0, 0.0, 0.0)


def test_sum_of_ranges_and_plain_figures():
    def value(number, low=None, high=None):
        return Value(value=number, unit="W", status=Status.ESTIMATED, source="x", low=low,
                     high=high)

    found = total([("a", value(1.0)), ("b", value(2.0, 1.0, 5.0))], "W", "sum")
    assert (found.value, found.low, found.high) == (3.0, 2.0, 6.0)


def test_static_current_by_device():
    ecp5 = coefficients_of(board("ulx3s-85f"))
    assert ecp5.static("85k").figure > ecp5.static("25k").figure
    assert ecp5.static("85k").status is Basis.EXTRAPOLATED


def test_gowin_has_no_figure():
    found = coefficients_of(board("tang-nano-20k"))
    lines = core_lines(activity(spram_reads=NOW(0.0)), found, "x", 48e6, 500e6)
    assert total([(line.name, line.power) for line in lines], "W", "sum").source == (
        "no figure, as nothing is known of: static, clock network")


def test_every_file_of_coefficients_is_whole():
    for file in sorted(FOLDER.glob("*.toml")):
        for name, found in read_toml(file).rows.items():
            assert found.source, name
            assert (found.value is None) == (found.status is Basis.UNKNOWN), name


HEAD = "name = 'x'\nvolts = 1\ntemperature_c = 25\n[rows.static]\nsource = 'x'\n"


@pytest.mark.parametrize(("content", "message"), [
    (HEAD + "value = 1\nunit = 'uA'\nstatus = 'measured'\n", "wrong at rows.static"),
    (HEAD + "value = 1\nunit = 'furlong'\nstatus = 'unknown'\n", "the unit must be one of"),
    (HEAD + "value = 1\nunit = 'uA'\nstatus = 'unknown'\n", "unknown must have no value"),
    ("volts", "must be TOML"),
])
def test_bad_coefficients_are_refused(content, message, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_toml(file)


def test_missing_row_and_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="have no row 'fuel'"):
        given()["fuel"]
    with pytest.raises(UserError, match="No such file"):
        read_toml(tmp_path / "none.toml")


def dram_of(name: str) -> DramConfig:
    memory = board(name).memory
    assert memory is not None
    return memory.dram


def test_memory_chip():
    """Counts over 2 ms to rates; each command's energy; standby between two currents."""
    dram = dram_of("ulx3s-85f-sdram")
    rates = DramRates.of(DramCounts(activates=10, reads=100, writes=0, refreshes=5),
                         DramCounts(activates=30, reads=1100, writes=0, refreshes=25), 2e-3)
    assert rates == DramRates(activates=10e3, reads=500e3, writes=0.0, refreshes=10e3)
    chip = Coefficients(name="chip", volts=3.0, temperature_c=25.0, rows={
        "standby_precharged": row(10.0, "mA", 0.0), "standby_open": row(20.0, "mA", 0.0),
        "activate": row(1000.0), "beat_read": row(100.0), "beat_written": row(100.0),
        "refresh": row(2000.0)})
    beats = dram.word_bits // dram.data_bits
    assert watts(dram_lines(rates, dram, chip)) == {
        "memory, standing by": (45e-3, 30e-3, 60e-3),
        "memory, activate": (10e-6, 5e-6, 20e-6),
        "memory, beat read": (beats * 50e-6, beats * 25e-6, beats * 100e-6),
        "memory, refresh": (20e-6, 10e-6, 40e-6)}


def test_chip_of_which_nothing_is_known():
    inside = dram_of("tang-nano-20k")
    assert chip_of(inside) is None
    [line] = dram_lines(DramRates(activates=1, reads=1, writes=0, refreshes=1), inside, None)
    assert line.power.value is None
    power = make_power(report(), activity(), given(), [
        *core_lines(activity(), given(), "x", 10e6, 0.0), line], None)
    assert power.memory.value is None
    assert power.core.value is not None


def test_typical_activity_is_wide():
    found = typical_activity(report())
    assert found.sink_toggles.high == 8 * found.sink_toggles.low
    assert found.block_ram_reads.high == 10
    assert found.how.startswith("not simulated")


def test_held_out_design_lies_in_the_range():
    """MARLANN: 8.7 mA at 1.216 V, 154 M multiply-accumulates a second."""
    assert MARLANN.joules_per_mac == pytest.approx(68.7e-12, rel=1e-3)
    found = held_out(MARLANN, coefficients_of(board("icebreaker")))
    assert found.inside
    assert found.model.low is not None
    assert found.model.high is not None
    # a range that says something
    assert found.measured / 4 < found.model.low < found.model.high < 4 * found.measured


def test_line_of_a_rail_is_checked():
    with pytest.raises(ValueError, match="rail"):
        PowerLine(name="x", rail="roof", power=Value(  # pyright: ignore[reportArgumentType]
            value=1.0, unit="W", status=Status.ESTIMATED, source="x"))
