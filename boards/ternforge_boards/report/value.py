"""A figure of a report: what it is, how it was come by, and from where."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Record", "Status", "Value"]


class Status(StrEnum):
    """How a figure was come by."""

    MEASURED = "measured"  #: counted in the routed design, or read from an instrument
    SIMULATED = "simulated"  #: counted in a run of the generated Verilog
    ESTIMATED = "estimated"  #: from a model; its source names the method
    PUBLISHED = "published"  #: taken from a publication


class Record(BaseModel):
    """Base of all in a report: unknown fields and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Value(Record):
    """One figure. Where nothing can be said, ``value`` is null and ``source`` says why.

    Raises
    ------
    pydantic.ValidationError
        If the range does not hold the value, or only one of its ends is given.
    """

    value: float | None = Field(description="best figure; null where none can be given")
    unit: str = Field(description="SI unit or unit of counting, such as W, J, tok/s, MHz, cycles")
    status: Status
    source: str = Field(min_length=1, description="tool, data sheet, citation, or formula")
    low: float | None = Field(default=None, description="lower end of the range")
    high: float | None = Field(default=None, description="upper end of the range")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("a range must have both ends")
        if self.low is not None and self.high is not None and not (
                self.low <= self.high and (self.value is None
                                           or self.low <= self.value <= self.high)):
            raise ValueError(f"the range {self.low:g} to {self.high:g} must hold the value "
                             f"{self.value}")
        return self

    def scaled(self, factor: float, unit: str, source: str) -> "Value":
        """The figure and its range, times a positive ``factor``, in another unit."""
        def times(number: float | None) -> float | None:
            return None if number is None else number * factor

        return Value(value=times(self.value), unit=unit, status=self.status, source=source,
                     low=times(self.low), high=times(self.high))
