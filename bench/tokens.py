"""Whole tokens on the Verilated core, checked: cycles, and what share of them the weights take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ternforge.config import CoreConfig
from ternforge.presets import core_preset
from ternforge_firmware.cycles import model_packets, token_cycles
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower
from ternforge_model.config import ModelConfig
from ternforge_model.synthetic import SIZES, released_config
from ternforge_model.toy import wide_program
from ternforge_sim.runner import MemoryModel, build_simulator
from ternforge_sim.simulate import Simulation, simulate

from .figures import Data, Figure, Measurement, Reach

__all__ = ["FIGURES", "MEASUREMENTS", "N16", "core_of", "modelled", "run_token", "token_image"]

#: What the cycles of a token depend on.
DEPENDS = ("hw", "model/ternforge_model", "firmware", "sim", "bench/tokens.py", "bench/figures.py")

#: The core of 16 lanes, with room for the vectors and states of every released size.
N16 = replace(core_preset("ddr-n16"), **{
    name: getattr(core_preset("ddr-n64"), name)
    for name in ("vector_depth", "state_depth", "max_rows", "max_fan_in")})

#: Cycles from a request to its first beat.
LATENCY = 30

#: Layers of the two tokens that a longer one is calculated from.
SHORT = (2, 3)


@dataclass(frozen=True)
class Case:
    """A shape on a core."""

    size: str  #: of :data:`~ternforge_model.synthetic.SIZES`
    core: str  #: preset
    latency: int = LATENCY
    lane: str = ""  #: kind of lanes, if not the preset's

    @property
    def name(self) -> str:
        """Of its measurement."""
        latency = "" if self.latency == LATENCY else f"-latency-{self.latency}"
        return f"tokens.{self.size}-{self.core}{latency}{self.lane and '-' + self.lane}"


#: Sizes whose image fits the 24-bit addresses of the core with all their layers.
WHOLE = {("370m", "ddr-n16"), ("tiny", "ddr-n16"), ("370m", "ddr-n64"), ("tiny", "ddr-n64")}

CASES = (
    *(Case(size, core) for core in ("ddr-n16", "ddr-n64") for size in SIZES),
    *(Case("370m", "ddr-n16", latency) for latency in (1, 100)),
    *(Case(size, "hbm-c8", 100) for size in ("1.3b", "2.7b")),
)

#: The core of lanes whose tables have to be filled.
TABLES = Case("370m", "ddr-n16", lane="table")


def core_of(size: str, preset: str) -> CoreConfig:
    """The preset; with 16 lanes and the larger sizes, :data:`N16`."""
    return N16 if preset == "ddr-n16" and size in ("1.3b", "2.7b") else core_preset(preset)


def token_image(core: CoreConfig, config: ModelConfig, layers: int) -> Image:
    """Image of random weights in ``config``'s shapes, with ``layers`` layers.

    As in the released models, each matrix has a norm of its own, and so codes of its own.
    """
    return lower(wide_program(1, d=config.hidden_size, layers=layers, m=config.mlp_width,
                              vocab=config.vocab_size, inner_norms=True), core)


def run_token(core: CoreConfig, config: ModelConfig, layers: int, latency: int = LATENCY,
              ) -> Simulation:
    """Run one token of :func:`token_image`, compared write by write.

    Raises
    ------
    RuntimeError
        If it is not what the integer model says: figures of a broken core say nothing.
    """
    run = simulate(build_simulator(core), core, token_image(core, config, layers), [1], 1,
                   memory=MemoryModel(latency=latency))
    if not run.bit_exact:
        raise RuntimeError(f"not bit-exact: {run.first_divergence}")
    return run


def measure(case: Case, seeds: Sequence[int]) -> Data:
    """Cycles of a token of all layers: simulated, or calculated from two shorter tokens.

    Layers are alike, so that a token grows by the same number of cycles with each. ``simulated``
    holds the layers and the cycles of each token that ran.
    """
    core, config = core_of(case.size, case.core), released_config(case.size)
    if case.lane:
        core = replace(core, lane=case.lane)
    depth = config.num_hidden_layers
    whole = {depth} if (case.size, case.core) in WHOLE and not case.lane else set()
    runs = {layers: run_token(core, config, layers, case.latency)
            for layers in sorted({*SHORT, *whole})}
    short, longer = (runs[layers] for layers in SHORT)
    calculated = short.cycles + (depth - SHORT[0]) * (longer.cycles - short.cycles)
    ideal = short.ideal_cycles + (depth - SHORT[0]) * (longer.ideal_cycles - short.ideal_cycles)
    cycles = runs[depth].cycles if depth in runs else calculated
    return {
        "lanes": core.lanes, "layers": depth, "cycles": cycles, "ideal_cycles": ideal,
        "share": ideal / cycles, "calculated_cycles": calculated,
        "calculation_error": calculated / cycles - 1,
        "simulated": [[layers, run.cycles] for layers, run in runs.items()],
        "model_error": max(abs(modelled(core, config, layers, case.latency) / run.cycles - 1)
                           for layers, run in runs.items()),
        "checked_tokens": sum(run.checked_tokens for run in runs.values()),
        "bit_exact": all(run.bit_exact for run in runs.values()),
    }


def modelled(core: CoreConfig, config: ModelConfig, layers: int, latency: int) -> int:
    """Cycles of :func:`run_token` by the analytic model."""
    packets = model_packets(replace(config, num_hidden_layers=layers), core, wide_embedding=False)
    return int(token_cycles(packets, core, latency=latency).sum())


MEASUREMENTS = tuple(Measurement(name=case.name, run=partial(measure, case), depends=DEPENDS)
                     for case in (*CASES, TABLES))


def _share(case: Case, reach: str, quick: bool) -> Figure:
    return Figure(name=f"bandwidth.{case.name.partition('.')[2]}",
                  title=f"share of peak memory bandwidth, {case.size} on {case.core}, latency "
                        f"{case.latency}{case.lane and f', {case.lane} lanes'}",
                  unit="%", of=(case.name,), value=lambda data: 100 * data["share"],
                  reach=Reach(reach), checked=case.name, quick=quick)


def _cycles(case: Case) -> Figure:
    return Figure(name=f"cycles.{case.name.partition('.')[2]}",
                  title=f"cycles per token, {case.size} on {case.core}, latency {case.latency}",
                  unit="cycles", of=(case.name,), value=lambda data: data["cycles"],
                  checked=case.name)


FIGURES = (
    *(_share(case, ">= 97" if case.core == "ddr-n16" and case.size != "tiny" else "",
             case.core == "ddr-n16" and case.latency == LATENCY) for case in CASES),
    _share(TABLES, "", False),
    *(_cycles(case) for case in CASES),
    Figure(name="bandwidth.calculation-error",
           title="370m: cycles calculated from 2 and 3 layers against all 24 simulated", unit="%",
           of=("tokens.370m-ddr-n16",), value=lambda data: 100 * abs(data["calculation_error"]),
           reach=Reach("<= 0.1"), checked="tokens.370m-ddr-n16", quick=True),
    *(Figure(name=f"model-error.{case.name.partition('.')[2]}",
             title=f"analytic cycle model against simulation, {case.size} on {case.core}, latency "
                   f"{case.latency}",
             unit="%", of=(case.name,), value=lambda data: 100 * data["model_error"],
             reach=Reach("<= 3"), checked=case.name,
             quick=case.core == "ddr-n16" and case.latency == LATENCY) for case in CASES),
)
