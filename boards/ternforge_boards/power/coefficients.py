"""Energies and currents of a family's resources, each with its source and uncertainty."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ternforge.errors import UserError
from ternforge_boards.board import Board
from ternforge_boards.report.value import Status, Value

__all__ = ["FOLDER", "Basis", "Coefficient", "Coefficients", "coefficients_of", "read_toml"]

#: Files that come with the package, one per family or kind of memory chip.
FOLDER = Path(__file__).with_name("coefficients")

#: Units of the files and what they are in SI.
UNITS = {"uA": (1e-6, "A"), "mA": (1e-3, "A"), "pJ": (1e-12, "J"), "pF": (1e-12, "F"),
         "V": (1.0, "V"), "1": (1.0, "1")}


class Basis(StrEnum):
    """What a coefficient rests on."""

    MEASURED = "measured"  #: fitted to, or read from, measurements of this device
    DATASHEET = "datasheet"  #: of the manufacturer, read there
    EXTRAPOLATED = "extrapolated"  #: from another device, another process, or memory
    UNKNOWN = "unknown"  #: nothing can be said: what depends on it gets no figure


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Coefficient(_Record):
    """One row. ``uncertainty`` u means a range from ``value / (1 + u)`` to ``value * (1 + u)``."""

    value: float | None = Field(default=None, ge=0)
    unit: str
    status: Basis
    uncertainty: float | None = Field(default=None, ge=0)
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.unit not in UNITS:
            raise ValueError(f"the unit must be one of {', '.join(UNITS)}, not {self.unit!r}")
        known = self.status is not Basis.UNKNOWN
        if known and (self.value is None or self.uncertainty is None):
            raise ValueError("a value and its uncertainty must be given unless the status is "
                             "unknown")
        if not known and self.value is not None:
            raise ValueError("a row of status unknown must have no value")
        return self

    @property
    def figure(self) -> float:
        """The value in the row's unit; raises :class:`ValueError` where there is none."""
        if self.value is None:
            raise ValueError(f"a coefficient must be known: {self.source}")
        return self.value

    def si(self, factor: float = 1.0, unit: str = "") -> Value:
        """In SI units with its range, times ``factor``, which may change the unit."""
        scale, plain = UNITS[self.unit]
        source = f"{self.status}: {self.source}"
        if self.value is None or self.uncertainty is None:
            return Value(value=None, unit=unit or plain, status=Status.ESTIMATED, source=source)
        middle, spread = self.value * scale * factor, 1 + self.uncertainty
        return Value(value=middle, unit=unit or plain, status=Status.ESTIMATED, source=source,
                     low=middle / spread, high=middle * spread)


class Coefficients(_Record):
    """Everything of one family, at one voltage and temperature."""

    name: str
    volts: float = Field(gt=0, description="of the core, or of a memory chip")
    temperature_c: float
    rows: dict[str, Coefficient]

    def __getitem__(self, name: str) -> Coefficient:
        """A row; of what differs by device, the more special one is to be asked for first."""
        if name not in self.rows:
            raise UserError(f"the coefficients {self.name} have no row {name!r}: add one, if only "
                            "with status = \"unknown\"")
        return self.rows[name]

    def static(self, device: str) -> Coefficient:
        """Current of the core's supply without a clock; ``static_DEVICE`` if there is one."""
        return self.rows.get(f"static_{device}") or self["static"]


def read_toml(path: Path) -> Coefficients:
    """Read and check a file of coefficients.

    Raises
    ------
    UserError
        If it cannot be read, or a row is not as :class:`Coefficient` says.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the coefficients {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the coefficients {str(path)!r} must be TOML: {error}") from None
    try:
        return Coefficients.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"the coefficients {str(path)!r} are wrong at {where}: {first['msg']}"
                        ) from None


def coefficients_of(board: Board, file: Path | None = None) -> Coefficients:
    """Those of a board's family, or of the user's file."""
    return read_toml(file or FOLDER / f"{board.family}.toml")
