"""Figures as text: with their unit, and as a range where they have one."""

from .value import Value

__all__ = ["number", "shown"]

#: Units that take a prefix, and those prefixes.
PREFIXED = ("W", "J", "B/s")
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "μ"), (1e-9, "n"),
            (1e-12, "p"))


def number(value: float) -> str:
    """Three to four digits that count; whole from a thousand on.

    >>> number(1605.16), number(0.80154), number(33.25)
    ('1,605', '0.802', '33.2')
    """
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shown(value: Value | None) -> str:
    """A figure with its unit. A power or an energy with a range is shown as the range alone.

    >>> from .value import Status
    >>> shown(Value(value=6.1e-3, low=4.9e-3, high=7.6e-3, unit="W", status=Status.ESTIMATED,
    ...             source="x"))
    '4.9 to 7.6 mW'
    """
    if value is None:
        return ""
    numbers = [value.low, value.high] if value.low is not None else [value.value]
    known = [one for one in numbers if one is not None]
    if not known:
        return "unknown"
    if value.unit == "1":
        return " to ".join(f"{one:.1%}" for one in known)
    scale, prefix = _prefix(max(map(abs, known)), value.unit)
    return " to ".join(number(one / scale) for one in known) + f" {prefix}{value.unit}"


def _prefix(largest: float, unit: str) -> tuple[float, str]:
    if unit not in PREFIXED or not largest:
        return 1.0, ""
    return next(((scale, prefix) for scale, prefix in PREFIXES if largest >= scale), PREFIXES[-1])
