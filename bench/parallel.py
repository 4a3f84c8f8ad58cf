"""Rows over cores, sequences over streams, a prompt through all of them: cycles of checked passes.

Shapes are those of the released models, with the fewer layers that a longer token is calculated
from, as in :mod:`.tokens`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ternforge.config import CoreConfig
from ternforge.presets import core_preset
from ternforge_model.synthetic import released_config
from ternforge_sim.runner import MemoryModel, build_simulator
from ternforge_sim.simulate import simulate

from .figures import Data, Figure, Measurement, Reach
from .tokens import LATENCY, N16, SHORT, modelled, token_image

__all__ = ["FIGURES", "MEASUREMENTS", "Case", "CASES", "measure"]

#: What the cycles depend on.
DEPENDS = ("hw", "model/ternforge_model", "firmware", "sim", "bench/parallel.py",
           "bench/tokens.py", "bench/figures.py")


@dataclass(frozen=True)
class Case:
    """A shape on a core, and the prompts that are fed."""

    name: str  #: of its measurement
    title: str
    size: str  #: of :data:`~ternforge_model.synthetic.SIZES`
    core: CoreConfig
    prompts: tuple[tuple[int, ...], ...]
    count: int = 1  #: tokens that are generated


def _cores(count: int) -> Case:
    core = replace(N16, lanes=16 * count, cores=count, elements=16)
    return Case(f"cores.1.3b-c{count}", f"1.3b, {count} cores of N = 16", "1.3b", core, ((1,),))


def _streams(count: int) -> Case:
    return Case(f"streams.370m-b{count}", f"370m on ddr-n16, {count} streams", "370m",
                replace(core_preset("ddr-n16"), streams=count),
                tuple((token,) for token in range(1, count + 1)))


CORES = tuple(_cores(count) for count in (2, 4, 8))
STREAMS = tuple(_streams(count) for count in (2, 4))
_PREFILL = core_preset("ddr-n16-prefill")
#: Two passes of prompt, of which the first needs no logits, and a token by itself.
PREFILL = Case("prefill.370m", "370m on ddr-n16-prefill", "370m", _PREFILL,
               (tuple(range(1, 2 * _PREFILL.streams + 1)),), count=2)

CASES = (*CORES, *STREAMS, PREFILL)


def measure(case: Case, seeds: Sequence[int]) -> Data:
    """Cycles of each pass, calculated for all layers.

    Raises
    ------
    RuntimeError
        If a token is not what the integer model says.
    """
    config, library = released_config(case.size), build_simulator(case.core)
    cycles, checked, ideal, errors = [], 0, [], []
    for layers in SHORT:
        run = simulate(library, case.core, token_image(case.core, config, layers), case.prompts,
                       case.count, memory=MemoryModel(latency=LATENCY))
        if not run.bit_exact:
            raise RuntimeError(f"not bit-exact: {run.first_divergence}")
        cycles.append(run.pass_cycles)
        ideal.append(run.ideal_cycles)
        checked += run.checked_tokens
        errors.append(abs(modelled(case.core, config, layers, LATENCY) / run.pass_cycles[-1] - 1))
    more = config.num_hidden_layers - SHORT[0]
    whole = [short + more * (longer - short)
             for short, longer in zip(cycles[0], cycles[1], strict=True)]
    alone = ideal[0] + more * (ideal[1] - ideal[0])
    return {"streams": case.core.streams, "cores": case.core.cores, "lanes": case.core.lanes,
            "cycles": whole[-1], "pass_cycles": whole, "ideal_cycles": alone,
            "share": alone / whole[-1], "simulated": list(zip(SHORT, cycles, strict=True)),
            "model_error": max(errors), "checked_tokens": checked, "bit_exact": True}


MEASUREMENTS = tuple(Measurement(name=case.name, run=partial(measure, case), depends=DEPENDS)
                     for case in CASES)

#: The token of a single core with a single stream.
_ONE = {"1.3b": "tokens.1.3b-ddr-n16", "370m": "tokens.370m-ddr-n16"}


def _over(factor: int, one: Data, several: Data) -> float:
    return factor * one["cycles"] / several["cycles"]


def _prefill(data: Data) -> float:
    return data["streams"] * data["cycles"] / data["pass_cycles"][0]


FIGURES = (
    *(Figure(name=f"{case.name}.speed-up",
             title=f"{case.title}, as many times the bandwidth: speed-up over one", unit="x",
             of=(_ONE["1.3b"], case.name), value=partial(_over, 1),
             reach=Reach(">= 3.8" if case.core.cores == 4 else ""), checked=case.name)
      for case in CORES),
    *(Figure(name=f"{case.name}.throughput",
             title=f"{case.title}: tokens per second of all over those of one", unit="x",
             of=(_ONE["370m"], case.name), value=partial(_over, case.core.streams),
             checked=case.name) for case in STREAMS),
    Figure(name="prefill.370m.speed-up",
           title=f"{PREFILL.title}, {_PREFILL.streams} streams: prompt tokens per second over "
                 "decoded ones", unit="x", of=("prefill.370m",), value=_prefill,
           reach=Reach(">= 12"), checked="prefill.370m"),
    *(Figure(name=f"model-error.{case.name}",
             title=f"analytic cycle model against simulation, {case.title}", unit="%",
             of=(case.name,), value=lambda data: 100 * data["model_error"], reach=Reach("<= 3"),
             checked=case.name) for case in CASES),
)
