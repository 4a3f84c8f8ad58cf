"""What bounds a model on a board: whether it fits, and how fast its memory can give its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ternforge.presets import MODELS, core_preset
from ternforge_boards.board import Board
from ternforge_firmware.footprint import footprint, shape_program
from ternforge_model.catalog import open_model
from ternforge_model.config import ModelConfig
from ternforge_model.synthetic import SIZES, released_config

__all__ = ["Ceiling", "ceilings", "models", "peak_bandwidth"]


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """One model on one board."""

    model: str
    image_bytes: int  #: of the image memory
    tokens_per_second: float  #: at the memory's peak bandwidth, at batch 1; nothing is faster
    misfit: str  #: what the board has too little of; empty if the model fits


@cache
def models() -> dict[str, tuple[ModelConfig, bool]]:
    """Shipped and released models: shape, and whether each matrix has a norm of its own."""
    shipped = {name: (open_model(name).config, False) for name in MODELS}
    return {**shipped, **{f"mmfree-{size}": (released_config(size), True)
                          for size in SIZES if size != "tiny"}}


def peak_bandwidth(board: Board) -> float:
    """Bytes per second of the image memory at the board's usual clock.

    Of block RAM, a beat in each cycle; of memory beside the FPGA, all its data pins at all times,
    or what the core takes if that is less.
    """
    lanes = core_preset(board.name).lanes
    per_cycle = min(lanes, board.memory.dram.bytes_per_cycle) if board.memory else lanes
    return per_cycle * board.core_mhz * 1e6


def ceilings(board: Board) -> Iterator[Ceiling]:
    """Every model of :func:`models` on ``board``, from its shape alone."""
    core = core_preset(board.name)
    for name, (config, inner_norms) in models().items():
        found = footprint(shape_program(config, inner_norms=inner_norms), core)
        yield Ceiling(model=name, image_bytes=found.image_bytes, misfit=found.misfit,
                      tokens_per_second=peak_bandwidth(board) / found.stream_bytes)
