"""What a figure is: a number with its unit, what it must reach, and the measurements it is of."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ternforge.errors import UserError

__all__ = ["Data", "Figure", "Measurement", "Reach", "Row", "check_registry"]

#: What a measurement gives: plain data, as JSON holds them.
Data = Mapping[str, Any]

_RULE = re.compile(r"(?P<comparison>>=|<=) (?P<limit>-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Reach:
    """What a figure must reach.

    Parameters
    ----------
    rule : str
        ``>= 97`` or ``<= 12.5``; empty for a figure that only informs.

    Raises
    ------
    ValueError
        If the rule is of another form.
    """

    rule: str = ""

    def __post_init__(self):
        if self.rule and not _RULE.fullmatch(self.rule):
            raise ValueError("a figure's reach must be '>= NUMBER', '<= NUMBER' or '', not "
                             f"{self.rule!r}")

    def _parts(self) -> tuple[bool, float]:
        found = _RULE.fullmatch(self.rule)
        assert found is not None
        return found["comparison"] == ">=", float(found["limit"])

    def reached(self, value: float | None) -> bool | None:
        """Whether ``value`` reaches it; None without a rule, False without a value."""
        if not self.rule:
            return None
        if value is None:
            return False
        at_least, limit = self._parts()
        return value >= limit if at_least else value <= limit

    def share(self, value: float) -> float | None:
        """1 where ``value`` just reaches the rule, more where it is better; None without one."""
        if not self.rule:
            return None
        at_least, limit = self._parts()
        above, below = (value, limit) if at_least else (limit, value)
        return above / below if below else None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Something that is measured once, however many figures are taken from it."""

    name: str
    run: Callable[[Sequence[int]], Data]  #: takes the seeds of nextpnr; gives plain data
    depends: tuple[str, ...]  #: files and folders of the repository that the result depends on
    seeded: bool = False  #: whether the seeds count; otherwise ``run`` must not look at them
    kept: bool = True  #: whether the result may be taken from an earlier run; not so for speeds


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table.

    ``value`` is called with the data of each measurement that ``of`` names. Where ``checked``
    names one, the configuration that is measured is that of its tokens, and there is no figure
    unless they are those of the integer model.
    """

    name: str  #: letters, digits, ``-`` and ``.``; the first part groups it
    title: str
    unit: str
    of: tuple[str, ...]
    value: Callable[..., float]
    reach: Reach = Reach()
    checked: str = ""
    quick: bool = False  #: also measured by ``--quick``
    command: str = ""  #: prints the figure; this program itself unless given

    @property
    def group(self) -> str:
        """First part of the name."""
        return self.name.partition(".")[0]

    @property
    def needs(self) -> tuple[str, ...]:
        """Every measurement that it takes, that of its tokens included."""
        return (*self.of, *filter(None, [self.checked]))

    def printed_by(self, quick: bool) -> str:
        """The command that prints it."""
        again = f"python -m bench --only {self.name}" + (" --quick" if quick else "")
        return self.command or again


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure with its value."""

    name: str
    group: str
    title: str
    value: float | None  #: None if it could not be measured
    unit: str
    reach: str
    reached: bool | None  #: None without a rule
    command: str
    reason: str  #: why there is no value; empty otherwise


def check_registry(measurements: Sequence[Measurement], figures: Sequence[Figure]) -> None:
    """Refuse a registry with names given twice, or with figures of unknown measurements.

    Raises
    ------
    UserError
        Naming the first such entry.
    """
    for kind, entries in (("measurement", measurements), ("figure", figures)):
        seen = set()
        for entry in entries:
            if entry.name in seen:
                raise UserError(f"the {kind} {entry.name!r} is registered twice")
            if not re.fullmatch(r"[\w.-]+", entry.name):
                raise UserError(f"the name of a {kind} must be letters, digits, '-' and '.', not "
                                f"{entry.name!r}")
            seen.add(entry.name)
    known = {measurement.name for measurement in measurements}
    for figure in figures:
        for name in (*figure.of, *filter(None, [figure.checked])):
            if name not in known:
                raise UserError(f"the figure {figure.name!r} is of {name!r}, which is no "
                                "measurement")
