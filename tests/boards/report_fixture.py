"""Reports as builds give them, for tests of what reads reports.

Figures are of the size of real ones, and belong to no build.
"""

import sys
from typing import Any

from ternforge_boards.page import SweepPoint, write_page
from ternforge_boards.report.compare import Comparison, Row
from ternforge_boards.report.schema import (
    Area,
    AreaReport,
    CauseCycles,
    ClockReport,
    Design,
    Energy,
    Evidence,
    PathStep,
    Power,
    PowerLine,
    Report,
    SeedReport,
    Throughput,
    UnitArea,
)
from ternforge_boards.report.value import Status, Value

__all__ = ["HOSTILE", "comparison", "ecp5_report", "hostile_report", "ice40_report", "points"]

#: A name that would run as a script, were it not escaped.
HOSTILE = """</script><script>throw 1</script><img src=x onerror=alert(1)>"'&{{7*7}}"""


def measured(value: float, unit: str, source: str = "nextpnr") -> Value:
    return Value(value=value, unit=unit, status=Status.MEASURED, source=source)


def simulated(value: float, unit: str, source: str = "Verilator, 4 tokens") -> Value:
    return Value(value=value, unit=unit, status=Status.SIMULATED, source=source)


def estimated(value: float | None, low: float | None, high: float | None, unit: str = "W",
              source: str = "activity of a token times energies of the family") -> Value:
    return Value(value=value, low=low, high=high, unit=unit, status=Status.ESTIMATED,
                 source=source)


def units(shares: dict[str, tuple[int, int, int, int]]) -> tuple[UnitArea, ...]:
    return tuple(UnitArea(name=name, area=Area(lut=lut, ff=ff, block_ram=ram, dsp=dsp))
                 for name, (lut, ff, ram, dsp) in shares.items())


def throughput(causes: dict[str, float], ideal: float, mhz: float) -> Throughput:
    total = sum(causes.values())
    rate = simulated(mhz * 1e6 / total, "tok/s", "clock over cycles")
    return Throughput(
        cycles_per_token=simulated(total, "cycles"),
        ideal_cycles_per_token=simulated(ideal, "cycles", "beats of a token"),
        causes=tuple(CauseCycles(cause=c, cycles=n) for c, n in causes.items()),
        tokens_per_second=rate, tokens_per_second_summed=rate,
        bandwidth_share=simulated(ideal / total, "1", "ideal over simulated cycles"))


def path(*steps: tuple[str, float, str, str]) -> tuple[PathStep, ...]:
    return tuple(PathStep(kind=kind, delay_ns=ns, unit=unit, cell=cell)
                 for kind, ns, unit, cell in steps)


def power(core: tuple[float, float, float], memory: tuple[float, float, float] | None,
          rate: float, macs: int) -> Power:
    """With a contribution that is not known, and so a board that is not."""
    best, low, high = core
    parts = {"static": 0.1, "clock network": 0.35, "logic and routing": 0.4, "block RAM": 0.15}
    lines = [PowerLine(name=name, rail="core", power=estimated(best * part, low * part,
                                                               high * part))
             for name, part in parts.items()]
    unknown = "regulators and USB bridge are not known; measure the idle board"
    lines.append(PowerLine(name="regulators and USB bridge", rail="board",
                           power=estimated(None, None, None, source=unknown)))
    of_memory = estimated(None, None, None, source="the image lies inside the FPGA")
    if memory:
        of_memory = estimated(*memory)
        lines.append(PowerLine(name="SDRAM", rail="memory", power=of_memory))
    whole = estimated(*core)
    per_token = whole.scaled(1 / rate, "J", "core over tokens per second")
    return Power(
        temperature_c=25, core_volts=1.2, activity="simulated netlist of one token", core=whole,
        lines=tuple(lines), memory=of_memory, board=estimated(None, None, None, source=unknown),
        energy=Energy(core_per_token=per_token,
                      memory_per_token=of_memory.scaled(1 / rate, "J", of_memory.source),
                      board_per_token=estimated(None, None, None, "J", unknown),
                      core_per_mac=per_token.scaled(1 / macs, "J", "core per token over MAC")))


def report(name: str, **parts: Any) -> Report:
    same: dict[str, Any] = {
        "tool_versions": {"yosys": "0.70", "nextpnr": "0.11.1", "amaranth": "0.5.10"},
        "evidence": Evidence(checked_tokens=4, bit_exact=True,
                             of="Verilated system against the integer model, prompt \"a\"")}
    return Report(name=name, **{**same, **parts})


def ice40_report(name: str = "shakespeare-up5k on icebreaker", **changes: Any) -> Report:
    """With power, as a calibrated family has it."""
    speed = throughput({"weights": 15_577, "barrier": 2_410, "fill": 512, "host": 190}, 15_577, 30)
    macs = 610_000
    parts: dict[str, Any] = {
        "design": Design(
            board="icebreaker", device="iCE40UP5K-SG48", family="ice40", core_mhz=30,
            core={"lanes": 8, "cores": 1, "streams": 1, "elements": 1, "lane": "portable"},
            clock_from="PLL", memory="single-port RAM", memory_bytes_per_second=240e6,
            design_hash="b3d1f0a2c47e5d90", model="shakespeare-up5k",
            model_hash="5f0c1de4a8b79236", ternary_weights=macs),
        "seed": 3, "bitstream": "top.bin", "seeds": tuple(
            SeedReport(seed=n, fmax_mhz=mhz, met=mhz >= 30)
            for n, mhz in enumerate((30.1, 29.4, 30.9, 31.5, 29.9))),
        "area": AreaReport(
            total=Area(lut=4_702, ff=2_207, block_ram=24, dsp=8, spram=4),
            available=Area(lut=5_280, ff=5_280, block_ram=30, dsp=8, spram=4),
            source="cells of the routed netlist by the unit of their source lines", units=units({
                "core.quantiser": (1_109, 564, 0, 4), "core.lanes": (912, 82, 0, 0),
                "core.epilogue": (767, 413, 2, 3), "core.tile_buffer": (402, 350, 4, 0),
                "core.sequencer": (292, 184, 0, 0), "core.fetch": (262, 139, 4, 0),
                "host": (258, 190, 2, 0), "core.scale_unit": (130, 62, 0, 1),
                "core.constants": (114, 18, 0, 0), "core.accumulator": (79, 57, 3, 0),
                "core.vector_ram": (37, 0, 6, 0), "memory": (320, 138, 1, 0),
                "core.state_ram": (2, 0, 2, 0), "top": (18, 10, 0, 0)})),
        "clocks": (ClockReport(
            net="clk_core", achieved_mhz=31.48, constrained_mhz=30, met=True, path=path(
                ("clk-to-q", 1.39, "core.vector_ram", "vector_ram.bank_0.DO_7"),
                ("routing", 3.10, "core.quantiser", "quantiser.magnitude[7]"),
                ("logic", 1.28, "core.quantiser", "quantiser.max_LUT_3"),
                ("routing", 2.46, "core.quantiser", "quantiser.carry_in"),
                ("logic", 6.40, "core.quantiser", "quantiser.carry_20"),
                ("routing", 4.05, "core.scale_unit", "scale_unit.shift[3]"),
                ("logic", 5.35, "core.scale_unit", "scale_unit.product_DSP"),
                ("routing", 3.96, "core.epilogue", "epilogue.operand[11]"),
                ("logic", 2.54, "core.epilogue", "epilogue.sum_LUT_9"),
                ("setup", 1.24, "core.epilogue", "epilogue.sum_FF_9"))),
            ClockReport(net="clk_usb", achieved_mhz=62.9, constrained_mhz=12, met=True)),
        "throughput": speed,
        "power": power((0.0112, 0.0091, 0.0138), None, 30e6 / 18_689, macs),
    }
    return report(name, **{**parts, **changes})


def ecp5_report(name: str = "shakespeare-85f on ulx3s-85f-sdram", **changes: Any) -> Report:
    """Misses a clock, has an external memory, and a wide range of power."""
    macs = 3_412_992
    speed = throughput({"weights": 222_000, "barrier": 9_450, "fill": 4_600, "refresh": 17_300,
                        "host": 260}, 174_600, 62.5)
    parts: dict[str, Any] = {
        "design": Design(
            board="ulx3s-85f-sdram", device="LFE5U-85F-6BG381", family="ecp5", core_mhz=62.5,
            core={"lanes": 4, "cores": 1, "streams": 1, "elements": 1, "lane": "chains"},
            memory="SDRAM, 16 bits", memory_bytes_per_second=250e6,
            design_hash="90ee41b7c5f2a8d3", model="shakespeare-85f",
            model_hash="c2d7729b0e61f4aa", ternary_weights=macs),
        "seed": 1, "bitstream": "top.bit",
        "seeds": (SeedReport(seed=1, fmax_mhz=61.7, met=False),),
        "area": AreaReport(
            total=Area(lut=9_870, ff=7_420, block_ram=41, dsp=12),
            available=Area(lut=83_640, ff=83_640, block_ram=208, dsp=156),
            source="cells of the routed netlist by the unit of their source lines", units=units({
                "core.quantiser": (3_240, 2_010, 0, 6), "memory": (2_105, 1_630, 4, 0),
                "core.epilogue": (1_090, 870, 1, 4), "core.lanes": (980, 1_120, 0, 0),
                "core.fetch": (690, 540, 4, 0), "host": (610, 480, 2, 0),
                "core.vector_ram": (420, 310, 12, 0), "core.sequencer": (310, 250, 0, 0),
                "core.scale_unit": (210, 90, 0, 2), "core.tile_buffer": (140, 60, 4, 0),
                "core.state_ram": (60, 50, 14, 0), "top": (15, 10, 0, 0)})),
        "clocks": (ClockReport(
            net="clk_core", achieved_mhz=61.7, constrained_mhz=62.5, met=False, path=path(
                ("clk-to-q", 0.52, "core.fetch", "fetch.level_FF_4"),
                ("routing", 2.91, "core.fetch", "fetch.level[4]"),
                ("logic", 0.24, "core.fetch", "fetch.room_LUT"),
                ("routing", 4.18, "memory", "memory.request_ready"),
                ("logic", 0.48, "memory", "memory.arbiter_LUT_2"),
                ("routing", 5.22, "core.sequencer", "sequencer.stall"),
                ("logic", 0.71, "core.sequencer", "sequencer.next_LUT_5"),
                ("routing", 1.95, "core.sequencer", "sequencer.state[2]"))),
            ClockReport(net="clk_memory", achieved_mhz=151.2, constrained_mhz=125, met=True)),
        "throughput": speed,
        "power": power((0.34, 0.14, 0.82), (0.118, 0.084, 0.161), 62.5e6 / 253_610, macs),
    }
    return report(name, **{**parts, **changes})


def hostile_report() -> Report:
    """Every text that a file may hold is :data:`HOSTILE`; there is no power."""
    plain = ice40_report()
    areas = plain.area.model_copy(update={
        "source": HOSTILE, "units": (UnitArea(name=HOSTILE, area=Area(
            lut=900, ff=2, block_ram=1, dsp=1)),)})
    clock = ClockReport(net=HOSTILE, achieved_mhz=20, constrained_mhz=30, met=False, path=path(
        (HOSTILE, 30, HOSTILE, HOSTILE), ("logic", 20, HOSTILE, HOSTILE)))
    design = plain.design.model_copy(update={
        "board": HOSTILE, "device": HOSTILE, "model": HOSTILE, "model_hash": HOSTILE,
        "memory": HOSTILE, "core": {HOSTILE: HOSTILE}, "clock_from": HOSTILE})
    speed = plain.throughput.model_copy(update={
        "causes": (CauseCycles(cause=HOSTILE, cycles=9),),
        "tokens_per_second": simulated(1, HOSTILE, HOSTILE)})
    return plain.model_copy(update={
        "name": HOSTILE, "area": areas, "clocks": (clock,), "design": design, "power": None,
        "throughput": speed, "tool_versions": {HOSTILE: HOSTILE}, "bitstream": HOSTILE,
        "evidence": Evidence(checked_tokens=0, bit_exact=False, of=HOSTILE)})


def comparison(*reports: Report) -> Comparison:
    """Builds beside two published systems."""
    def published(value: float, unit: str) -> Value:
        return Value(value=value, unit=unit, status=Status.PUBLISHED, source="its authors")

    host = "embedding and head run on the host"
    summed = "summed over 48 streams"
    rows = [Row(name=one.name, cells=(
        one.design.device, one.throughput.tokens_per_second,
        one.throughput.tokens_per_second_summed, None if one.power is None else one.power.core))
        for one in reports]
    rows += [
        Row(name="a published system", citation="its authors", marks=(host, summed), cells=(
            "a large FPGA", published(77.3, "tok/s"), published(3_712, "tok/s"),
            published(53, "W"))),
        Row(name="another system", citation="its paper", cells=(
            "another FPGA", published(25, "tok/s"), published(25, "tok/s"), published(5, "W")),
            href="https://example.org/paper", marks=("another model",))]
    return Comparison(columns=("device", "tok/s of a stream", "tok/s summed", "power"),
                    rows=tuple(rows))


def points() -> list[SweepPoint]:
    """Points of two boards; some miss a clock, and one failed."""
    made = []
    for board, base, size in (("icebreaker", 30, 1_500), ("ulx3s-85f", 62.5, 2_600)):
        for n, lanes in enumerate((2, 4, 8, 16, 32, 40)):
            speed = base * 1e6 / (150_000 / lanes + 900 * (1 + n))
            lut = size + 330 * lanes * (2.6 if n % 2 else 1.3)
            watts = lut * base * 2e-7
            made.append(SweepPoint(
                name=f"{board} lanes={lanes} {base:g} MHz", group=f"{board}, shakespeare-up5k",
                speed=simulated(speed, "tok/s"), lut=round(lut), met=lanes < 40,
                area_front=n in (0, 2, 4), power_front=n in (0, 2),
                power=estimated(watts, watts * 0.8, watts * 1.4) if n < 4 else None))
    made.append(SweepPoint(name="icebreaker lanes=64 30 MHz", group="icebreaker, shakespeare-up5k",
                           reason="needs 6,900 LUT4; the iCE40UP5K has 5,280"))
    return made


if __name__ == "__main__":  # python -m tests.boards.report_fixture PAGE
    builds = [ice40_report(), ecp5_report()]
    write_page(sys.argv[1], builds, comparison=comparison(*builds), points=points(),
               title="Two boards (invented figures)")
