"""What a sweep varies: lists of values from the command line or a YAML file."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from ternforge.errors import UserError

from .point import CyclesFrom, Depth

__all__ = ["CORE_SETTINGS", "Grid", "Slurm", "make_grid", "read_grid"]

#: What a grid sets of a core.
CORE_SETTINGS = ("lanes", "elements", "lane", "streams", "cores", "tile_registers", "tree_levels")


def _listed(value: Any) -> Any:
    """A list of what may be one value, each once."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    return [one for index, one in enumerate(values) if one not in values[:index]]


def _numbers(value: Any) -> Any:
    values = _listed(value)
    if any(isinstance(one, bool) for one in values):
        raise ValueError("must be numbers, not true or false")
    return values


Names = Annotated[list[str], BeforeValidator(_listed)]
Counts = Annotated[list[Annotated[StrictInt, Field(ge=1)]], BeforeValidator(_listed)]
Seeds = Annotated[list[Annotated[StrictInt, Field(ge=0)]], BeforeValidator(_listed),
                  Field(min_length=1)]
Clocks = Annotated[list[Annotated[float, Field(gt=0, lt=1000)]], BeforeValidator(_numbers)]


class Slurm(BaseModel):
    """How Dask's workers are started through Slurm; each is one job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: str | None = None  #: partition
    account: str | None = None
    cores: int = Field(default=1, ge=1)  #: of one job; a point takes one
    memory: str = "8GB"  #: of one job
    walltime: str = "08:00:00"
    interface: str | None = None  #: network interface of the nodes, such as ib0
    directives: list[str] = []  #: more lines after ``#SBATCH``
    prologue: list[str] = []  #: lines of shell before the worker starts, such as ``module load``


class Grid(BaseModel):
    """All combinations of these values; an empty list leaves a setting as the board has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    board: Annotated[Names, Field(min_length=1)] = ["ulx3s-85f"]
    model: Names = []  #: empty: the board's shipped model, or the largest that fits
    lanes: Counts = []
    elements: Counts = []
    lane: Names = []
    streams: Counts = []
    cores: Counts = []
    tile_registers: Counts = []
    tree_levels: Counts = []
    clock: Clocks = []  #: MHz
    seeds: Seeds = [1]
    depth: Depth = Depth.ROUTE
    cycles: CyclesFrom | None = None  #: none: simulated where a point is routed
    slurm: Slurm = Slurm()


def read_grid(path: Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises
    ------
    UserError
        If it is no YAML, or not settings with names.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise UserError(f"the grid {str(path)!r} must be YAML{line}") from None
    if not isinstance(found, dict):
        raise UserError(f"the grid {str(path)!r} must be settings such as `lanes: [4, 8]`")
    return {str(name): value for name, value in found.items()}


def make_grid(settings: dict[str, Any], source: str) -> Grid:
    """Check the settings; ``source`` names where they are from in messages.

    Raises
    ------
    UserError
        If one is unknown, or its value is not of its kind.
    """
    try:
        return Grid.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise UserError(f"{source} has no setting {name!r}: it takes "
                            f"{', '.join(Grid.model_fields)}") from None
        if first["type"] == "too_short":
            raise UserError(f"{source}: {name} must have at least one value") from None
        text = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{source}: {name}: {text[:1].lower()}{text[1:]}, not "
                        f"{first['input']!r}") from None
