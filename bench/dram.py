"""Whole tokens out of SDRAM and DDR3: what share of the chip's peak bandwidth they take.

The core, its memory adapter and LiteDRAM's controller are Verilated; the chip is a model that
refuses whatever it does not allow (``docs/memory.md``). Every write of the token is checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ternforge.presets import DRAMS, core_preset
from ternforge_model.config import ModelConfig
from ternforge_model.synthetic import released_config
from ternforge_sim.dram import DramMemoryModel, build_dram_simulator
from ternforge_sim.simulate import simulate

from .figures import Data, Figure, Measurement, Reach
from .tokens import DEPENDS as TOKEN_DEPENDS
from .tokens import token_image

__all__ = ["FIGURES", "MEASUREMENTS"]

DEPENDS = (*TOKEN_DEPENDS, "bench/dram.py")


@dataclass(frozen=True)
class Case:
    """A model in the memory of a core."""

    name: str
    core: str  #: preset, also of its memory
    title: str
    config: ModelConfig
    reach: str


def _model_of_25_mb() -> ModelConfig:
    """25 MB of packets, and 8 MB of embedding, which 32 MB hold beside each other."""
    return ModelConfig(vocab_size=8192, hidden_size=1024, num_hidden_layers=9,
                       intermediate_size=2752)


CASES = (
    Case("sdr", "sdr-n4", "9 layers of 1024, vocabulary 8192, SDR x16 at 125 MHz, 4 lanes",
         _model_of_25_mb(), ">= 94"),
    Case("ddr3-370m", "ddr3-n8", "370m, DDR3 x16 at 300 MT/s, 8 lanes", released_config("370m"),
         ">= 92"),
)


def measure(case: Case, seeds: Sequence[int]) -> Data:
    """One token of all layers, checked write by write.

    Returns
    -------
    dict
        ``cycles``; ``beats`` of the program, which are read; ``share`` of the chip's peak that
        they take, and ``weights_share`` that the weights alone take; ``clock_hz`` of the core.

    Raises
    ------
    RuntimeError
        If it is not what the integer model says.
    """
    core, dram = core_preset(case.core), DRAMS[case.core]
    image = token_image(core, case.config, case.config.num_hidden_layers)
    run = simulate(build_dram_simulator(core, dram), core, image, [1], 1,
                   memory=DramMemoryModel(dram=dram))
    if not run.bit_exact:
        raise RuntimeError(f"not bit-exact: {run.first_divergence}")
    beats, per_cycle = len(image.program_beats), dram.bytes_per_cycle / core.lanes
    return {"cycles": run.cycles, "beats": beats, "share": beats / per_cycle / run.cycles,
            "weights_share": run.ideal_cycles / per_cycle / run.cycles,
            "image_bytes": len(image.memory()) * core.lanes, "clock_hz": dram.clock_hz,
            "checked_tokens": run.checked_tokens, "bit_exact": run.bit_exact}


MEASUREMENTS = tuple(Measurement(name=f"dram.{case.name}", run=partial(measure, case),
                                 depends=DEPENDS) for case in CASES)


def _figures(case: Case) -> tuple[Figure, ...]:
    name = f"dram.{case.name}"
    return (
        Figure(name=f"{name}-share",
               title=f"share of peak bandwidth, refresh included: {case.title}", unit="%",
               of=(name,), value=lambda data: 100 * data["share"], reach=Reach(case.reach),
               checked=name),
        Figure(name=f"{name}-weights-share", title=f"of these, weights alone: {case.title}",
               unit="%", of=(name,), value=lambda data: 100 * data["weights_share"], checked=name),
        Figure(name=f"{name}-cycles", title=f"cycles per token: {case.title}", unit="cycles",
               of=(name,), value=lambda data: data["cycles"], checked=name),
    )


FIGURES = tuple(figure for case in CASES for figure in _figures(case))
