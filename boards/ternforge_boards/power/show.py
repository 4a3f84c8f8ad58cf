"""A power estimate as tables."""

from rich.console import Console
from rich.table import Table

from ternforge_boards.report.schema import Power
from ternforge_boards.report.value import Value

from .coefficients import Basis
from .published import MARLANN

__all__ = ["print_power", "si"]

#: Prefixes of units.
PREFIXES = (("", 1.0), ("m", 1e-3), ("u", 1e-6), ("n", 1e-9), ("p", 1e-12), ("f", 1e-15))


def si(value: Value) -> str:
    """A figure with its range and a prefix; "unknown" where there is none.

    >>> from ternforge_boards.report.value import Status
    >>> si(Value(value=0.002, unit="W", status=Status.ESTIMATED, source="x", low=1e-3, high=4e-3))
    '2 mW (1 to 4)'
    """
    if value.value is None:
        return "unknown"
    largest = value.value if value.high is None else value.high
    prefix, scale = next(((name, scale) for name, scale in PREFIXES if largest >= scale),
                         ("", 1.0) if largest == 0 else PREFIXES[-1])
    text = f"{value.value / scale:.3g} {prefix}{value.unit}"
    if value.low is None or value.high is None or value.low == value.high:
        return text
    return f"{text} ({value.low / scale:.3g} to {value.high / scale:.3g})"


def _basis(source: str) -> str:
    """What a figure was made of, without the coefficient's own source."""
    text, colon, _ = source.partition(": ")
    return f"{text} coefficient" if colon and text.endswith(tuple(Basis)) else text


def print_power(power: Power, title: str, console: Console | None = None) -> None:
    """Lines, sums and energies. Of a line's source, what it is and what it rests on."""
    console = console or Console()
    table = Table("supply", "of", "power (range)", "from", title=f"{title}: estimated power")
    for line in power.lines:
        table.add_row(line.rail, line.name, si(line.power), _basis(line.power.source))
    table.add_section()
    for name in ("core", "memory", "board"):
        value: Value = getattr(power, name)
        table.add_row(name, "sum", si(value), value.source if value.value is None else "")
    console.print(table)
    energies = Table("energy", "(range)", title="energy")
    for name, value in (("core, per token", power.energy.core_per_token),
                        ("memory, per token", power.energy.memory_per_token),
                        ("board, per token", power.energy.board_per_token),
                        ("core, per ternary multiply-accumulate", power.energy.core_per_mac)):
        energies.add_row(name, si(value))
    energies.add_row("published: MARLANN, core, per int8 multiply-accumulate",
                     f"{MARLANN.joules_per_mac * 1e12:.3g} pJ")
    console.print(energies)
    console.print(f"At {power.temperature_c:g} °C and {power.core_volts:g} V. Activity: "
                  f"{power.activity}. --json has each line's source in full.", markup=False)
