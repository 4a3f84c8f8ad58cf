"""Cycles per token by cause: of one stream, of several, and out of a memory chip."""

from dataclasses import replace
from typing import Any

import pytest

from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge_firmware.lower import lower
from ternforge_model.toy import random_program
from ternforge_sim.cycles import measure_cycles
from ternforge_sim.runner import build_simulator
from ternforge_sim.simulate import simulate

SIZE: Any = {"memory_beats": 4096, "max_fan_in": 100, "vector_depth": 512, "state_depth": 64,
             "max_rows": 64}
CORE = CoreConfig(lanes=4, **SIZE)

pytestmark = pytest.mark.xdist_group("cycles")


@pytest.fixture
def program():
    return random_program(5, d=16, layers=2, m=24, vocab=16)


def test_causes_are_those_of_the_run_and_add_up(program):
    image = lower(program, CORE)
    told = measure_cycles(CORE, image)
    run = simulate(build_simulator(CORE), CORE, image, [0, 1, 2, 3], 1)
    assert sum(told["causes"].values()) == told["cycles_per_token"] == run.cycles / 4
    assert told["causes"] == {cause: count / 4 for cause, count in run.causes.items()}
    assert set(told["causes"]) == {cause.name.lower() for cause in Cause}
    assert told["causes"]["weights"] >= told["ideal_cycles_per_token"]
    assert told["ternary_weights"] == told["ideal_cycles_per_token"] * 20
    assert (told["steps"], told["streams"], told["checked_tokens"]) == (4, 1, 4)
    assert told["bit_exact"]
    assert told["causes"]["memory"] < told["causes"]["weights"]


@pytest.mark.parametrize(("options", "streams"), [
    ({"streams": 2}, 2), ({"streams": 2, "prefill_states": 64}, 1)])
def test_a_step_of_several_streams_makes_a_token_of_each(program, options, streams):
    core = replace(CORE, lanes=8, **options)
    told = measure_cycles(core, lower(program, core))
    assert told["streams"] == streams
    assert (told["steps"], told["checked_tokens"]) == (4, 4 * streams)
    assert sum(told["causes"].values()) == told["cycles_per_token"]
    assert told["bit_exact"]
