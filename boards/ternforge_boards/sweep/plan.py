"""From a grid to the points that can be, and the rules that exclude the others."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ternforge.errors import UserError
from ternforge_boards.board import Board
from ternforge_boards.board import board as find_board
from ternforge_boards.pll import pll_settings

from .cores import Refused, core_for
from .grid import CORE_SETTINGS, Grid
from .models import candidates, has_weights, program_of
from .point import CyclesFrom, Depth, Point

__all__ = ["Excluded", "Plan", "plan"]


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A combination that cannot be built."""

    name: str
    rule: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a grid comes to."""

    points: tuple[Point, ...]  #: those of a board's first seed before those of its second
    excluded: tuple[Excluded, ...]
    notes: tuple[str, ...]  #: what was chosen for the user

    def check(self) -> None:
        """Refuse a grid without a point.

        Raises
        ------
        UserError
            Saying how many combinations each rule excludes, and how the first of them breaks it.
        """
        if self.points:
            return
        rules = Counter(one.rule for one in self.excluded)
        first = {one.rule: one for one in reversed(self.excluded)}
        told = "; ".join(f"{count} by the {rule} ({first[rule].name}: {first[rule].reason})"
                         for rule, count in rules.most_common())
        raise UserError(f"no point of the grid is valid, {len(self.excluded)} are excluded: {told}")


def plan(grid: Grid) -> Plan:
    """Every combination of the grid, as a point or with the rule that excludes it.

    Raises
    ------
    UserError
        If there is no such board or model.
    """
    points: dict[str, Point] = {}
    excluded: list[Excluded] = []
    notes = []
    for name in grid.board:
        board = find_board(name)
        models, note = ([*grid.model], "") if grid.model else _own_model(board, grid)
        notes += [note] if note else []
        for model, settings, clock, seed in product(
                models, _settings(grid), _clocks(grid, board), _seeds(grid)):
            try:
                found = _point(board, model, settings, clock, seed, grid)
                points.setdefault(found.model_dump_json(), found)
            except Refused as error:
                shown = " ".join([board.name, *(f"{k}={v}" for k, v in settings.items()),
                                  f"{clock:g} MHz"])
                excluded.append(Excluded(name=shown, rule=error.rule, reason=str(error)))
    if len(grid.seeds) > 1 and grid.depth is not Depth.ROUTE:
        notes.append(f"seeds count at --depth route alone: one point for {len(grid.seeds)} of them")
    order = {seed: index for index, seed in enumerate(grid.seeds)}
    return Plan(points=tuple(sorted(points.values(), key=lambda point: order[point.seed])),
                excluded=tuple(dict.fromkeys(excluded)), notes=tuple(notes))


def _settings(grid: Grid) -> Iterator[dict[str, int | str]]:
    """Every combination of what the grid sets of a core."""
    named = {name: getattr(grid, name) for name in CORE_SETTINGS if getattr(grid, name)}
    for values in product(*named.values()):
        yield dict(zip(named, values, strict=True))


def _clocks(grid: Grid, board: Board) -> list[float]:
    return grid.clock or [board.core_mhz]


def _seeds(grid: Grid) -> list[int]:
    return grid.seeds if grid.depth is Depth.ROUTE else grid.seeds[:1]


def _own_model(board: Board, grid: Grid) -> tuple[list[str], str]:
    """The first shipped model that a point of the board holds, for all its points."""
    own, *others = candidates(board.name)
    for model in (own, *others):
        for settings in _settings(grid):
            try:
                core_for(board, settings, program_of(model))
            except Refused:
                continue
            note = f"{board.name}: {own} fits none of its points, {model} is taken"
            return [model], note if model != own else ""
    return [own], ""


def _point(board: Board, model: str, settings: dict[str, int | str], clock: float, seed: int,
           grid: Grid) -> Point:
    if grid.depth is not Depth.ESTIMATE and not has_weights(model):
        raise Refused("model's weights", f"of {model} the shape alone is known: use --depth "
                      "estimate")
    core = core_for(board, settings, program_of(model))
    alone = core.cores > 1 or core.streams > 1
    if alone and board.family == "gowin" and grid.depth is Depth.ROUTE:
        raise Refused("host port", "a board's system serves one core and one stream, and cores "
                      "alone are not placed on Gowin parts: use --depth synth")
    try:
        core_mhz = clock if alone else pll_settings(board, clock).output_mhz
    except UserError as error:
        raise Refused("board's clock", str(error)) from None
    cycles = grid.cycles or (CyclesFrom.SIMULATION if grid.depth is Depth.ROUTE
                             else CyclesFrom.MODEL)
    # In a simulation one prompt goes through all streams, which is not a token of each, and the
    # memory of a core alone is no chip.
    if core.streams > 1 or (alone and board.memory) or grid.depth is Depth.ESTIMATE:
        cycles = CyclesFrom.MODEL
    return Point(board=board.name, model=model, settings=settings, core=dict(vars(core)),
                 core_mhz=core_mhz, seed=seed, depth=grid.depth, cycles=cycles)
