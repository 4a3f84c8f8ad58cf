"""Power and energy of a build: coefficients times activity, as ranges."""

from collections.abc import Iterable, Sequence

from ternforge_boards.report.schema import Energy, Power, PowerLine, Report
from ternforge_boards.report.text import number
from ternforge_boards.report.value import Status, Value

from .activity import Activity, Range
from .coefficients import Coefficient, Coefficients

__all__ = ["core_lines", "known", "make_power", "pin_line", "product", "total"]

#: Voltage of the pins that the board's LEDs and serial port are on.
PIN_VOLTS = 3.3


def known(value: float, unit: str, source: str, status: Status = Status.ESTIMATED) -> Value:
    """A figure without uncertainty."""
    return Value(value=value, unit=unit, status=status, source=source, low=value, high=value)


def product(coefficient: Coefficient, times: Range, factor: float, unit: str, how: str) -> Value:
    """A coefficient times something that is itself a range, times ``factor``."""
    one = coefficient.si(factor, unit)
    if times.high == 0:
        return known(0.0, unit, how)
    source = f"{how} x {one.source}"
    if one.value is None or one.low is None or one.high is None:
        return Value(value=None, unit=unit, status=Status.ESTIMATED, source=source)
    return Value(value=one.value * times.value, unit=unit, status=Status.ESTIMATED, source=source,
                 low=one.low * times.low, high=one.high * times.high)


def total(values: Iterable[tuple[str, Value]], unit: str, source: str) -> Value:
    """Sum of named figures; the ranges add up as if all were wrong in the same direction.

    If nothing can be said of one of them, nothing can be said of the sum, as that one may be the
    greatest.
    """
    pairs = list(values)
    missing = [name for name, value in pairs if value.value is None]
    if missing:
        return Value(value=None, unit=unit, status=Status.ESTIMATED,
                     source=f"no figure, as nothing is known of: {', '.join(missing)}")

    def add(ends: Sequence[float | None]) -> float:
        return sum(end for end in ends if end is not None)

    return Value(
        value=add([value.value for _, value in pairs]), unit=unit, status=Status.ESTIMATED,
        source=source,
        low=add([value.value if value.low is None else value.low for _, value in pairs]),
        high=add([value.value if value.high is None else value.high for _, value in pairs]))


def _hull(value: Value, other: Value) -> Value:
    """``value`` with a range that holds that of ``other`` as well."""
    if value.low is None or value.high is None or other.low is None or other.high is None:
        return value
    return value.model_copy(update={"low": min(value.low, other.low),
                                    "high": max(value.high, other.high)})


def core_lines(activity: Activity, given: Coefficients, device: str, clock_hz: float,
               vco_hz: float, memory_hz: float = 0.0) -> tuple[PowerLine, ...]:
    """Contributions of the FPGA's own supplies.

    Parameters
    ----------
    activity : Activity
        Per clock cycle.
    given : Coefficients
        Of the family.
    device : str
        As nextpnr's option names it.
    clock_hz : float
        Clock of the core.
    vco_hz : float
        Oscillator of the PLL; 0 without one.
    memory_hz : float
        A second clock, of the memory's pins; 0 without one. Its few flip-flops count as the core's.
    """
    one = Range.exact(1.0)

    def rate(row: str, times: Range, how: str) -> Value:
        return product(given[row], times, clock_hz, "W", f"{number(times.value)} {how} per cycle")

    logic = rate("sink", activity.sink_toggles, "toggles x sinks")
    if activity.functional_toggles is not None and "sink_functional" in given.rows:
        logic = _hull(logic, rate("sink_functional", Range.exact(activity.functional_toggles),
                                  "toggles x sinks without glitches"))
    static = given.static(device)
    lines = [
        ("static", product(static, one, given.volts, "W", f"{given.volts:g} V")),
        ("clock network", rate("clock", one, "clock")),
        ("clock pins of flip-flops",
         rate("flip_flop_clock", Range.exact(activity.flip_flops), "flip-flops")),
        ("logic and routing", logic),
        ("block RAM, reads", rate("block_ram_read", activity.block_ram_reads, "reads")),
        ("block RAM, writes", rate("block_ram_write", activity.block_ram_writes, "writes")),
        ("DSP", rate("dsp", activity.dsp_operations, "multiplications")),
    ]
    if activity.spram_reads.high or activity.spram_writes.high:
        lines += [
            ("single-port RAM, reads", rate("spram_read", activity.spram_reads, "reads")),
            ("single-port RAM, writes", rate("spram_write", activity.spram_writes, "writes"))]
    if memory_hz:
        lines.append(("clock network of the memory", product(given["clock"], one, memory_hz, "W",
                                                              f"{memory_hz / 1e6:g} MHz")))
    if vco_hz:
        lines += [(name, product(given[row], one, vco_hz, "W", f"{vco_hz / 1e6:g} MHz"))
                  for name, row in (("PLL, from the core's supply", "pll"),
                                    ("PLL, its own supply", "pll_supply"))]
    auxiliary = given.rows.get(f"auxiliary_{device}")
    if auxiliary is not None:
        volts = given["auxiliary_volts"].value
        lines.append(("static, auxiliary supply",
                      product(auxiliary, one, volts or 0.0, "W", f"{volts:g} V")))
    return tuple(PowerLine(name=name, rail="core", power=value) for name, value in lines)


def pin_line(activity: Activity, given: Coefficients, clock_hz: float) -> PowerLine:
    """Charging what hangs on output pins: half of C V² for each change."""
    value = product(given["pin_capacitance"], activity.pin_toggles,
                    clock_hz * PIN_VOLTS ** 2 / 2, "W",
                    f"{activity.pin_toggles.value:.3g} changes per cycle x {PIN_VOLTS:g} V squared "
                    "/ 2")
    return PowerLine(name="output pins", rail="board", power=value)


def _per(power: Value, rate: float, what: str) -> Value:
    """Energy of one of what comes ``rate`` times a second."""
    known_ = power.value is not None or power.low is not None
    return power.scaled(1 / rate, "J", f"{power.source}; over {rate:,.5g} {what} per second"
                        if known_ else power.source)


def make_power(report: Report, activity: Activity, given: Coefficients,
               lines: Sequence[PowerLine], idle_watts: float | None) -> Power:
    """Sums by rail, and energies.

    The board's power is what it takes with the design loaded and idle, which a user measures, and
    what a token adds: everything of core, memory and pins that is not static. Without that
    measurement it has no figure.
    """
    def rail(name: str) -> list[tuple[str, Value]]:
        return [(line.name, line.power) for line in lines if line.rail == name]

    core = total(rail("core"), "W", "sum of the lines")
    memory = (total(rail("memory"), "W", "sum of the lines") if rail("memory")
              else known(0.0, "W", "the image lies inside the FPGA", Status.MEASURED))
    if idle_watts is None:
        idle = Value(value=None, unit="W", status=Status.ESTIMATED,
                     source="power of the idle board: measure it and give --idle")
    else:
        idle = known(idle_watts, "W", "given by the user", Status.MEASURED)
    added = [pair for pair in [*rail("core"), *rail("memory"), *rail("board")]
             if not pair[0].startswith(("static", "PLL", "clock", "memory, standing by"))]
    board = total([("idle board", idle), *added], "W",
                  "idle board and what a token adds: lines without static, clock, PLL, standby")
    steps = report.throughput.tokens_per_second_summed.value
    if not steps:
        raise ValueError("a report's tokens per second must be positive to give an energy")
    weights = report.design.ternary_weights
    return Power(
        temperature_c=given.temperature_c, core_volts=given.volts, activity=activity.how,
        lines=(*lines, PowerLine(name="idle board", rail="board", power=idle)),
        core=core, memory=memory, board=board,
        energy=Energy(
            core_per_token=_per(core, steps, "tokens"),
            memory_per_token=_per(memory, steps, "tokens"),
            board_per_token=_per(board, steps, "tokens"),
            core_per_mac=_per(core, steps * max(weights, 1), "ternary multiply-accumulates")))
