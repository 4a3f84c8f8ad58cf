"""Figures as a reader wants them: three digits, thousands apart, a unit with its prefix."""

import math

from .value import Value

__all__ = ["MISSING", "figure", "number", "percent", "shown", "span"]

#: Stands where a figure is not known.
MISSING = "\N{EN DASH}"

#: Units that take a prefix; others, such as cycles and LUT, are counted.
PREFIXED = ("J", "W", "s", "B/s", "MAC/s", "B")
PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "μ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}


def number(value: float, *, rough: bool = False) -> str:
    """Three significant digits; whole numbers in full, with thousands apart, unless ``rough``.

    >>> number(24187.4), number(24187.4, rough=True), number(91.823), number(0.012345)
    ('24,187', '24,200', '91.8', '0.0123')
    """
    if rough and abs(value) >= 1000 and math.isfinite(value):
        value = float(f"{value:.3g}")
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 99.95 or (value == int(value) and abs(value) < 1e15):
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.3g}"
    value = float(f"{value:.3g}")  # 9.996 is 10.0, not 10.00
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float) -> str:
    """A share, of 0 to 1, in percent."""
    return f"{number(share * 100)} %"


def prefix(value: float, unit: str) -> tuple[float, str]:
    """What to divide ``value`` by, and the unit with its prefix."""
    base = unit.split("/")[0]
    if (unit not in PREFIXED and base not in ("J", "W")) or value == 0:
        return 1.0, unit
    power = 3 * math.floor(math.log10(abs(value) * 1.0005) / 3)
    power = min(max(power, min(PREFIXES)), max(PREFIXES))
    return 10.0 ** power, f"{PREFIXES[power]}{unit}"


def figure(value: float, unit: str, *, rough: bool = False) -> str:
    """One figure with its unit; ``1`` is that of shares.

    >>> figure(0.0000061, "J"), figure(24187.4, "tok/s"), figure(5.3e9, "MAC/s")
    ('6.10 μJ', '24,187 tok/s', '5.30 GMAC/s')
    """
    if unit == "1":
        return percent(value)
    divisor, shown = prefix(value, unit)
    return f"{number(value / divisor, rough=rough)} {shown}".strip()


def span(value: Value, *, unit: bool = True) -> str:
    """The range of a figure, or nothing if it has no width; with its unit if asked for.

    >>> from .value import Status
    >>> span(Value(value=0.0061, low=0.0049, high=0.0076, unit="W", status=Status.ESTIMATED,
    ...            source="model"))
    '4.90 to 7.60 mW'
    """
    if value.low is None or value.high is None or value.low == value.high:
        return ""
    if value.unit == "1":
        return f"{number(100 * value.low)} to {percent(value.high)}"
    best = value.high if value.value is None else value.value
    divisor, shown = prefix(best, value.unit) if unit else (1.0, "")
    ends = (number(end / divisor, rough=True) for end in (value.low, value.high))
    return f"{' to '.join(ends)} {shown}".strip()


def shown(value: Value | None) -> str:
    """A figure with its unit; one with a range as the range alone.

    >>> from .value import Status
    >>> shown(Value(value=6.1e-3, low=4.9e-3, high=7.6e-3, unit="W", status=Status.ESTIMATED,
    ...             source="x"))
    '4.90 to 7.60 mW'
    """
    if value is None:
        return ""
    if between := span(value):
        return between
    return "unknown" if value.value is None else figure(value.value, value.unit)
