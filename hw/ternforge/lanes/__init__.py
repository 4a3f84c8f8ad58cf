"""Kinds of ternary lanes, by the name that :attr:`ternforge.config.CoreConfig.lane` gives.

A kind is a module with a subclass ``Lanes`` of :class:`ternforge.core.lanes.DotProduct`, and one
line here. Nothing is imported before it is needed.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ternforge.errors import suggestion

if TYPE_CHECKING:
    from ternforge.config import CoreConfig
    from ternforge.core.lanes import DotProduct

__all__ = ["AUTO", "KINDS", "Kind", "cell_models", "check_lane", "dot_product", "holds_tiles",
           "resolve_lane"]

#: Instead of a kind: the best one for the device.
AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of lanes."""

    module: str
    best_for: tuple[str, ...] = ()  #: families for which ``auto`` means this kind
    cells: str = ""  #: file beside this one with models of its primitives, for simulators
    holds_tiles: bool = False  #: takes the place of the tile buffer too


#: Every kind. All of them work on any part and in simulation: primitives of a family are only used
#: in Verilog that is generated for it.
KINDS = {
    "portable": Kind(module="ternforge.lanes.portable", best_for=("ice40",)),
    "ecp5": Kind(module="ternforge.lanes.ecp5", best_for=("ecp5",), cells="ecp5_cells.v"),
    "table": Kind(module="ternforge.lanes.table", cells="ecp5_cells.v", holds_tiles=True),
}


def check_lane(name: object) -> None:
    """Raise ValueError unless ``name`` is a kind or ``auto``."""
    if name not in KINDS and name != AUTO:
        raise ValueError(f"CoreConfig.lane must be a kind of lanes, not {name!r}: "
                         f"{suggestion(str(name), [*KINDS, AUTO])}")


def holds_tiles(name: str) -> bool:
    """Whether lanes of this kind take the place of the tile buffer too."""
    return name != AUTO and KINDS[name].holds_tiles


def resolve_lane(config: "CoreConfig", family: str) -> "CoreConfig":
    """``config`` with the kind of lanes that ``auto`` means for a family."""
    if config.lane != AUTO:
        return config
    best = [name for name, kind in KINDS.items() if family in kind.best_for]
    return replace(config, lane=best[0] if best else "portable")


def dot_product(config: "CoreConfig", *, packed: bool = True) -> "DotProduct":
    """The lanes of a core; of an unknown device (``auto`` not resolved), the portable ones."""
    kind = KINDS["portable" if config.lane == AUTO else config.lane]
    return import_module(kind.module).Lanes(config, packed=packed)


def cell_models(config: "CoreConfig") -> str:
    """Verilog of the primitives in lanes that were generated for their family; may be empty."""
    kind = KINDS.get(config.lane)
    return Path(__file__).with_name(kind.cells).read_text() if kind and kind.cells else ""
