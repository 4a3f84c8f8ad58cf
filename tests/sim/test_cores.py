"""Toy models of many shapes on cores of many shapes: every write of their tokens is the contract's.

Short matrices on wide cores and long ones on narrow cores, quantisers of one and of four elements,
one tile, whole tiles, many tiles, matrices in parts, the head's too; rows shared by several cores;
models whose inner norms differ, with embeddings of 16 bits, and without bounds of the forget gates.
"""

from functools import cache
from typing import Any

import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.lower import lower
from ternforge_model.convert import convert
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Matvec, Program
from ternforge_model.stress import wide_range
from ternforge_model.toy import random_checkpoint, random_program
from ternforge_sim.runner import build_simulator
from ternforge_sim.simulate import simulate

SIZE: Any = {"vector_depth": 2048, "state_depth": 512, "max_rows": 512}
CORES = {
    "narrow": CoreConfig(lanes=8, memory_beats=4096, single_port_beats=2048, tree_levels=3,
                         max_fan_in=400, **SIZE),
    "narrow-four": CoreConfig(lanes=8, elements=4, memory_beats=4096, max_fan_in=400, **SIZE),
    "wide-single": CoreConfig(lanes=10, memory_beats=2048, max_fan_in=50, **SIZE),
    "few-rows": CoreConfig(lanes=8, elements=2, memory_beats=4096, max_fan_in=400,
                           **{**SIZE, "max_rows": 10}),
    "carry-chains": CoreConfig(lanes=8, elements=2, memory_beats=4096, max_fan_in=400,
                               tree_levels=1, lane="ecp5", **SIZE),
    "tables": CoreConfig(lanes=8, elements=2, memory_beats=4096, max_fan_in=400, tree_levels=1,
                         lane="table", **SIZE),
    "wide-tables": CoreConfig(lanes=16, elements=8, memory_beats=8192, max_fan_in=800,
                              tree_levels=1, tile_registers=2, lane="table", **SIZE),
    "wide-four": CoreConfig(lanes=40, elements=4, memory_beats=4096, max_fan_in=800, **SIZE),
    "two-cores": CoreConfig(lanes=16, cores=2, elements=4, memory_beats=4096, max_fan_in=400,
                            **SIZE),
    "four-cores": CoreConfig(lanes=64, cores=4, elements=16, tile_registers=2, tree_levels=1,
                             memory_beats=4096, max_fan_in=400, **{**SIZE, "max_rows": 64}),
    "eight-cores": CoreConfig(lanes=64, cores=8, elements=8, memory_beats=4096, max_fan_in=400,
                              **SIZE),
}

#: Core, tiles of its shortest and of its longest matrix, model.
CASES: list[tuple[str, int, int, Any]] = [
    ("narrow", 1, 1, {"d": 16, "m": 24, "inner_norms": True}),
    ("narrow", 1, 2, {"d": 40, "m": 80, "wide_embedding": True}),
    ("narrow", 2, 10, {"d": 48, "m": 392, "layers": 1}),
    ("narrow-four", 1, 1, {"d": 16, "m": 24, "lower_bound": False, "wide_embedding": True}),
    ("narrow-four", 2, 2, {"d": 44, "m": 76, "inner_norms": True}),
    ("narrow-four", 1, 10, {"d": 8, "m": 400}),
    ("wide-single", 1, 1, {"d": 16, "m": 24, "inner_norms": True, "lower_bound": False}),
    ("wide-single", 1, 1, {"d": 50, "m": 49}),
    ("few-rows", 2, 3, {"d": 44, "m": 100, "inner_norms": True, "vocab": 44}),
    ("carry-chains", 1, 1, {"d": 16, "m": 24, "inner_norms": True}),
    ("carry-chains", 2, 10, {"d": 48, "m": 392, "layers": 1}),
    ("tables", 1, 1, {"d": 16, "m": 24, "inner_norms": True}),
    ("tables", 2, 10, {"d": 48, "m": 392, "layers": 1}),
    ("wide-tables", 1, 2, {"d": 80, "m": 88}),
    ("wide-tables", 1, 10, {"d": 24, "m": 800, "inner_norms": True}),
    ("wide-four", 1, 1, {"d": 16, "m": 24, "inner_norms": True, "wide_embedding": True}),
    ("wide-four", 1, 2, {"d": 204, "m": 200, "layers": 1}),
    ("wide-four", 1, 4, {"d": 24, "m": 800}),
    ("two-cores", 2, 10, {"d": 48, "m": 392, "layers": 1}),
    ("four-cores", 1, 4, {"d": 64, "m": 256, "inner_norms": True, "vocab": 64}),
    ("eight-cores", 2, 10, {"d": 72, "m": 392, "layers": 1, "vocab": 64}),
]

PROMPT, STEPS = [3, 15, 0], 8


@cache
def library(name: str):
    """Simulators are built once, whatever the order of the tests."""
    return build_simulator(CORES[name])


@pytest.mark.parametrize(("name", "fewest", "most", "shape"), [
    pytest.param(name, fewest, most, shape, id=f"{name}-{shape['d']}-{shape['m']}",
                 marks=pytest.mark.xdist_group(f"core-{name}"))
    for name, fewest, most, shape in CASES])
def test_tokens_equal_integer_model(name, fewest, most, shape):
    core, program = CORES[name], random_program(21, **{"layers": 2, "vocab": 16, **shape})
    tiles = [-(-op.trits.shape[1] // core.tile) for op in program.ops if isinstance(op, Matvec)]
    assert (min(tiles), max(tiles)) == (fewest, most)
    check(name, program)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.xdist_group(f"core-{n}"))
                                  for n in ("narrow", "wide-four")])
@pytest.mark.parametrize("inner_norms", [False, True])
def test_norms_of_two_passes_equal_integer_model(name, inner_norms):
    config, tensors = random_checkpoint(21, d=40, m=80, vocab=16, inner_norms=inner_norms)
    program = convert(config, wide_range(config, tensors, outlier=400))
    passes = [op.name for op in program.ops if op.name.endswith(".power")]
    assert len(passes) >= 4
    check(name, program)


def check(name: str, program: Program) -> None:
    """Every write of some tokens is the integer model's, and so are the clips."""
    core = CORES[name]
    run = simulate(library(name), core, lower(program, core), PROMPT, STEPS - len(PROMPT) + 1,
                   temperature=0.9, seed=4)
    assert run.first_divergence is None, str(run.first_divergence)
    assert run.checked_tokens == run.fed_tokens == STEPS
    fed = [*PROMPT, *run.tokens[:-1]]
    assert run.saturations == dict(IntegerModel(program).forward(fed).saturations)
