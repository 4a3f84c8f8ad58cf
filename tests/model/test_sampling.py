from random import Random

import numpy as np
import pytest

from ternforge.numerics import Ratio
from ternforge_model.integer import IntegerModel
from ternforge_model.sampling import PROMPT_PART, generate, generate_stream, logits, sample
from ternforge_model.toy import random_program

ONE = Ratio(1 << 14, -14)  # 1.0


class Fixed(Random):
    """Gives the numbers that it was told."""

    def __init__(self, *values: float):
        super().__init__()
        self.values = list(values)

    def random(self) -> float:
        return self.values.pop(0)


def test_zero_temperature_takes_the_first_of_equals_and_no_random_number():
    assert sample(np.array([3, 7, 7, -1]), ONE, 1.0, 0, Fixed()) == 1


def test_sample_cuts_the_unit_interval_by_softmax():
    acc = np.array([0, 1, 2])
    edges = np.cumsum(np.exp(acc * 0.5) / np.exp(acc * 0.5).sum())
    # logit_scale 1 and temperature 2 halve the accumulators
    for token, (low, high) in enumerate([(0.0, edges[0]), (edges[0], edges[1]), (edges[1], 1.0)]):
        for u in (low + 1e-9, (low + high) / 2, high - 1e-9):
            assert sample(acc, ONE, 1.0, 2.0, Fixed(u)) == token


def test_sample_never_takes_a_token_without_probability():
    assert sample(np.array([-9999, -9999, 0]), ONE, 1.0, 1.0, Fixed(0.0)) == 2


def test_sample_survives_huge_logits():
    assert sample(np.array([-(1 << 23), 1 << 23]), ONE, 1e6, 1e-3, Fixed(0.5)) == 1


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_bad_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match=f"^temperature must be zero or more, not {temperature}$"):
        sample(np.array([1, 2]), ONE, 1.0, temperature, Random(1))


def test_logits_scale_by_the_ratio():
    assert logits(np.array([-2, 3]), Ratio(3 << 14, -15), 0.5).tolist() == [-1.5, 2.25]


def test_generation_is_the_argmax_of_the_whole_sequence():
    model = IntegerModel(random_program(1))
    prompt = [4, 9]
    out = generate(model, prompt, 10)
    assert model.forward(prompt + out).tokens[1:-1].tolist() == out


def test_generation_depends_on_the_seed_alone():
    program = random_program(1)
    first = generate(program, [4, 9], 24, temperature=1.0, seed=5)
    assert first == generate(program, [4, 9], 24, temperature=1.0, seed=5)
    assert first != generate(program, [4, 9], 24, temperature=1.0, seed=6)
    assert first[:8] == generate(program, [4, 9], 8, temperature=1.0, seed=5)


def test_empty_prompt_is_refused():
    with pytest.raises(ValueError, match=r"^prompt must hold at least one token$"):
        generate(random_program(1), [], 4)


@pytest.mark.parametrize("length", [1, PROMPT_PART - 1, PROMPT_PART, PROMPT_PART + 1,
                                    2 * PROMPT_PART + 5])
def test_prompts_of_any_length_are_read_whole(length):
    program = random_program(1)
    ids = np.random.default_rng(length).integers(0, program.vocab_size, length).tolist()
    fed: list[int] = []
    tokens = list(generate_stream(program, ids, 3, on_result=lambda count, _: fed.append(count)))
    assert tokens == IntegerModel(program).forward([*ids, *tokens[:-1]]).tokens[-3:].tolist()
    parts = [*range(PROMPT_PART, length, PROMPT_PART), length]
    assert fed == [*parts, length + 1, length + 2]
