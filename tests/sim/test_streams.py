"""Streams and cores: every write of every stream is the integer model's, alone or in a chain."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.allocate import FitError
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.toy import random_program
from ternforge_sim.runner import MemoryModel, VerilatedCore, build_simulator
from ternforge_sim.simulate import simulate

from .toys import damaged

SIZE: Any = {"memory_beats": 4096, "max_fan_in": 400, "vector_depth": 1024, "state_depth": 128,
             "max_rows": 512}
#: One element and four; with and without a register for beats, and for tiles; memory on the chip
#: and off; streams alone, with cores, and with the states of a single layer.
CORES = {
    "two": CoreConfig(lanes=8, streams=2, **SIZE),
    "three": CoreConfig(lanes=16, streams=3, elements=4, tile_registers=2, tree_levels=1,
                        bank_beats=0, **SIZE),
    "three-prefill": CoreConfig(lanes=16, streams=3, elements=4, prefill_states=64, tree_levels=1,
                                lane="ecp5", **SIZE),
    "two-of-two-cores-tables": CoreConfig(lanes=32, streams=2, cores=2, elements=4, tree_levels=1,
                                          tile_registers=2, lane="table", **SIZE),
    "two-of-two-cores": CoreConfig(lanes=32, streams=2, cores=2, elements=4, tree_levels=1, **SIZE),
}
PROMPT = [3, 15, 0, 9, 11, 30, 4]

pytestmark = pytest.mark.xdist_group("streams")


@cache
def library(name: str):
    return build_simulator(CORES[name])


@cache
def program():
    return random_program(21, d=48, m=192, layers=2, vocab=64, inner_norms=True)


def decoded(prompt: list[int], count: int) -> list[int]:
    """Tokens that the integer model chooses."""
    known = list(prompt)
    for _ in range(count):
        known.append(int(IntegerModel(program()).forward(known).tokens[-1]))
    return known[len(prompt):]


@pytest.mark.parametrize("name", CORES)
def test_a_prompt_in_a_chain(name):
    core = CORES[name]
    for length in (1, len(PROMPT) - 1, len(PROMPT)):
        run = simulate(library(name), core, lower(program(), core), PROMPT[:length], 3)
        assert run.first_divergence is None, str(run.first_divergence)
        assert run.checked_tokens == run.fed_tokens == length + 2
        assert run.passes == -(-length // core.streams) + 2
        assert run.tokens == decoded(PROMPT[:length], 3)


@pytest.mark.parametrize("name", [name for name in CORES if not CORES[name].prefill_states])
def test_sequences_side_by_side(name):
    core = CORES[name]
    prompts = [[3, 15, 0], [7, 1], [9]][:core.streams]
    run = simulate(library(name), core, lower(program(), core), prompts, 4)
    assert run.first_divergence is None, str(run.first_divergence)
    assert run.sequences == [decoded(prompt, 4) for prompt in prompts]
    assert run.checked_tokens == run.fed_tokens == sum(len(prompt) + 3 for prompt in prompts)
    assert run.passes == 6
    fed = [[*prompt, *tokens[:-1]] for prompt, tokens in zip(prompts, run.sequences, strict=True)]
    clips = [dict(IntegerModel(program()).forward(ids).saturations) for ids in fed]
    assert run.saturations == {site: sum(one[site] for one in clips) for site in clips[0]}


def test_sequences_of_a_model_whose_weights_are_not_kept(monkeypatch):
    monkeypatch.setattr("ternforge_sim.reference.KEPT_WEIGHTS", 0)
    run = simulate(library("two"), CORES["two"], lower(program(), CORES["two"]), [[3, 15], [7]], 2)
    assert run.bit_exact, str(run.first_divergence)
    assert run.sequences == [decoded([3, 15], 2), decoded([7], 2)]


def test_sampling_is_of_each_stream():
    core = CORES["two"]
    run = simulate(library("two"), core, lower(program(), core), [[3], [3]], 6, temperature=1.5)
    assert run.bit_exact
    assert run.sequences[0] != run.sequences[1]
    one = simulate(library("two"), core, lower(program(), core), [[3]], 6, temperature=1.5)
    assert one.sequences[0] == run.sequences[0]


def test_latency_of_the_memory_does_not_matter():
    core = CORES["three"]
    for memory in (MemoryModel(latency=1), MemoryModel(latency=60, stalls=0.3, burst=16, gap=5)):
        run = simulate(library("three"), core, lower(program(), core), PROMPT, 2, memory=memory)
        assert run.bit_exact, str(run.first_divergence)


def test_a_stream_that_takes_no_part_keeps_its_state():
    core = CORES["two"]
    hardware = VerilatedCore(library("two"), core)
    hardware.load(lower(program(), core).memory())
    first = hardware.step_all([3, 7], reset=[True, True]).tokens or []
    hardware.step_all([5, None], reset=[False, False])
    hardware.step_all([5, None], reset=[True, False])
    last = hardware.step_all([None, 9], reset=[False, False]).tokens or []
    hardware.close()
    model = IntegerModel(program())
    assert (first[1], last[1]) == tuple(model.forward([7, 9]).tokens)
    assert first[0] == model.forward([3]).tokens[-1]


def test_a_divergence_names_its_stream():
    core = CORES["two"]
    wrong, row = damaged(program(), "layers.1.attn.o_proj")
    run = simulate(library("two"), core, lower(program(), core), [[3], [3]], 1, reference=wrong)
    found = run.first_divergence
    assert found is not None
    assert (found.stream, found.op, found.element) == (0, "layers.1.attn.o_proj", row)
    assert str(found).startswith("token 0, stream 0, layer 1, ")


def test_a_token_that_the_model_has_not_is_refused_for_any_stream():
    core = CORES["three"]
    hardware = VerilatedCore(library("three"), core)
    hardware.load(lower(program(), core).memory())
    for stream in range(3):
        tokens = [1, 1, 1]
        tokens[stream] = 64
        with pytest.raises(ValueError, match="was refused by the core"):
            hardware.step_all(tokens, reset=[True] * 3)
        assert hardware.step(3, reset=True).token == IntegerModel(program()).forward([3]).tokens[-1]
    hardware.close()


def test_what_does_not_fit():
    core = CORES["three-prefill"]
    image = lower(program(), core)
    with pytest.raises(ValueError, match=r"^the core keeps the states of 1 sequences"):
        simulate(library("three-prefill"), core, image, [[1], [2]], 1)
    with pytest.raises(ValueError, match=r"^the core keeps the states of 2 sequences"):
        simulate(library("two"), CORES["two"], lower(program(), CORES["two"]), [[1], [2], [3]], 1)
    with pytest.raises(FitError, match=r"needs? prefill_states=48, 16 more than its 32$"):
        lower(program(), replace(core, prefill_states=32))
    for wrong in ({"prefill_states": 48}, {"streams": 1, "prefill_states": 64}):
        with pytest.raises(ValueError, match=r"^CoreConfig\.prefill_states must be"):
            replace(core, **wrong)
