"""One point of a sweep, and what became of it."""

from enum import StrEnum
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

import ternforge
import ternforge_boards
import ternforge_firmware
import ternforge_model
import ternforge_sim
from ternforge.cache import content_key
from ternforge.config import CoreConfig
from ternforge_boards.board import board as find_board
from ternforge_boards.report.schema import Report, Throughput
from ternforge_boards.report.value import Record
from ternforge_boards.yosys import flow_versions
from ternforge_model.catalog import find_model

__all__ = ["FORMAT", "CyclesFrom", "Depth", "Estimate", "Point", "Result", "code_key",
           "model_files", "point_key"]

#: Version of a point's file.
FORMAT = 1


class Depth(StrEnum):
    """How far a point is taken."""

    ESTIMATE = "estimate"  #: cycles from the analytic model; no tool runs
    SYNTH = "synth"  #: and the cells that Yosys counts
    ROUTE = "route"  #: placed, routed and packed, with Fmax


class CyclesFrom(StrEnum):
    """Where the cycles of a token come from."""

    MODEL = "model"  #: the analytic model of :mod:`ternforge_firmware.cycles`
    SIMULATION = "simulation"  #: a few checked tokens of the Verilated core


class Point(Record):
    """One design at one clock with one seed."""

    board: str
    model: str = Field(description="shipped or released model, or folder of one")
    settings: dict[str, int | str] = Field(description="what the grid sets of the core")
    core: dict[str, int | str] = Field(description="every field of the core's configuration")
    core_mhz: float = Field(gt=0)
    seed: int = Field(ge=0, description="of nextpnr")
    depth: Depth
    cycles: CyclesFrom

    @property
    def config(self) -> CoreConfig:
        """The core."""
        fields: dict[str, Any] = dict(self.core)
        return CoreConfig(**fields)

    @property
    def alone(self) -> bool:
        """Whether the core is measured without host port and memory controller.

        A board's system serves one core and one sequence, as its host port does.
        """
        return self.config.cores > 1 or self.config.streams > 1

    @property
    def name(self) -> str:
        """What tables call it: the board, and what the grid sets."""
        parts = [f"{name}={value}" for name, value in self.settings.items()]
        seed = [f"seed {self.seed}"] if self.depth is Depth.ROUTE else []
        return " ".join([self.board, *parts, f"{self.core_mhz:g} MHz", *seed])


class Estimate(Record):
    """What is known of a design that no tool has seen."""

    throughput: Throughput


class Result(Record):
    """A finished point: a report, an estimate, or the reason why there is neither."""

    format: Literal[1] = FORMAT
    point: Point
    report: Report | None = Field(default=None, description="at the depths synth and route")
    estimate: Estimate | None = Field(default=None, description="at the depth estimate")
    reason: str | None = Field(default=None, description="why the point failed")
    lasting: bool = Field(default=True, description="whether to try again would give the same")
    seconds: float = Field(default=0.0, ge=0, description="that it took, results of others reused")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if [self.report, self.estimate, self.reason].count(None) != 2:
            raise ValueError("a point must have one of report, estimate and reason")
        return self

    @property
    def throughput(self) -> Throughput | None:
        """Cycles and tokens per second, unless it failed."""
        known = self.report or self.estimate
        return None if known is None else known.throughput

    @property
    def met(self) -> bool | None:
        """Whether every clock is met; None if none was placed."""
        clocks = () if self.report is None else self.report.clocks
        return all(clock.met for clock in clocks) if clocks else None


@cache
def code_key() -> str:
    """Hash of everything of ours that a point depends on: all Python and what lies beside it."""
    packages = (ternforge, ternforge_model, ternforge_firmware, ternforge_sim, ternforge_boards)
    files = [path for package in packages
             for path in sorted(Path(str(package.__file__)).parent.rglob("*"))
             if path.suffix in (".py", ".v", ".cpp", ".hpp", ".j2", ".json", ".toml", ".yaml")]
    return content_key(*files)


@cache
def model_files(model: str) -> str:
    """Hash of a model's files; of a released model, whose shape alone is known, nothing."""
    from ternforge_boards.ceiling import models
    if model in models() and model.startswith("mmfree-"):
        return model
    folder = find_model(model)
    return content_key(*(path for path in sorted(folder.iterdir()) if path.is_file()))


@cache
def _versions(family: str, depth: Depth) -> dict[str, str]:
    if depth is Depth.ESTIMATE:
        return {"amaranth": metadata.version("amaranth")}
    return {**flow_versions(family), "amaranth": metadata.version("amaranth")}


def point_key(point: Point) -> str:
    """Hash over all that a point's result depends on: itself, its model, our code, the tools."""
    return content_key("sweep", FORMAT, point.model_dump(mode="json"), model_files(point.model),
                       code_key(), _versions(find_board(point.board).family, point.depth))
