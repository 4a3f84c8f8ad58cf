"""Axes: from figures to places in a drawing, and where the ticks are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Scale", "linear", "logarithmic"]


@dataclass(frozen=True)
class Scale:
    """Maps ``low`` to ``high`` onto ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        """Place of ``value``; what lies outside goes to the border."""
        value = min(max(value, self.low), self.high)
        share = (math.log(value / self.low) / math.log(self.high / self.low) if self.log
                 else (value - self.low) / (self.high - self.low))
        return self.start + share * (self.end - self.start)


def linear(values: Iterable[float], start: float, end: float, *, most: int = 6) -> Scale:
    """From zero to a round number above ``values``, with at most ``most`` ticks."""
    top = max(values, default=0) or 1.0
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(s for k in (1, 2, 5, 10, 20) if (s := k * power) * (most - 1) >= top)
    count = math.ceil(top / step - 1e-9)
    return Scale(0, count * step, start, end, tuple(n * step for n in range(count + 1)))


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """From 1, 2 or 5 times a power of ten below ``values`` to one above; zeros are left out."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = min(known) / 1.08, max(known) * 1.08  # markers stand clear of the border
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1
    rounds = [k * 10.0 ** n for n in range(first - 1, last + 1) for k in (1, 2, 5)]
    below = max(r for r in rounds if r <= low * (1 + 1e-9))
    above = min(r for r in rounds if r >= high * (1 - 1e-9) and r > below)
    inside = [r for r in rounds if below <= r <= above]
    if len(inside) > 7:
        inside = [r for r in inside if math.isclose(r, 10.0 ** round(math.log10(r)))]
    if len(inside) < 4:
        inside = [k * 10.0 ** n for n in range(first - 1, last + 1) for k in (1, 1.5, 2, 3, 4, 5, 7)
                  if below <= k * 10.0 ** n <= above]
    return Scale(below, above, start, end, tuple(inside), log=True)
