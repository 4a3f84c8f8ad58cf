"""What a model takes of a core's memories, from its shape alone: no weights, no image."""

from dataclasses import dataclass, replace

from ternforge.config import CoreConfig
from ternforge_model.config import ModelConfig
from ternforge_model.program import Program
from ternforge_model.toy import wide_program

from .lower import Layout

__all__ = ["Footprint", "footprint", "shape_program"]

#: Depths that no model comes near. Matrices with more rows than accumulators are cut in parts.
_ROOM = {"vector_depth": 1 << 24, "state_depth": 1 << 24, "max_fan_in": 1 << 20,
         "memory_beats": 1 << 40}


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a model takes of one kind of core."""

    image_bytes: int  #: of the image memory, all embedding rows included
    stream_bytes: int  #: that one token reads: directory, its embedding row, the program
    misfit: str  #: what the core has too little of, and how much it would need; empty if it fits


def shape_program(config: ModelConfig, *, inner_norms: bool = True) -> Program:
    """A program of a model's shapes without weights, and an embedding of 8 bits.

    Parameters
    ----------
    config : ModelConfig
        Shape of the model.
    inner_norms : bool
        The norms inside the linear maps have weights of their own, as in the released models.
    """
    return wide_program(1, d=config.hidden_size, layers=config.num_hidden_layers,
                        m=config.mlp_width, vocab=config.vocab_size, inner_norms=inner_norms,
                        weights=False)


def footprint(program: Program, core: CoreConfig) -> Footprint:
    """What ``program`` takes of ``core``; its weights are not read."""
    roomy = replace(core, bank_beats=0, single_port_beats=0, prefill_states=0, **_ROOM)
    layout = Layout(program, roomy)
    needs = {**layout.allocation.needs, "memory_beats": layout.beats}
    short = [f"{name}={need} of {getattr(core, name)}" for name, need in needs.items()
             if need > getattr(core, name)]
    return Footprint(
        image_bytes=layout.beats * core.lanes,
        stream_bytes=(layout.beats - (program.vocab_size - 1) * layout.row_beats) * core.lanes,
        misfit=", ".join(short))
