"""``ternforge generate``: the same tokens as the integer model's, and what bad input says."""

import json
import re
from pathlib import Path

import pytest

from ternforge_firmware.cpu.jit import thread_limit
from ternforge_firmware.generate import HOST_CORE
from ternforge_firmware.lower import lower
from ternforge_model.catalog import open_model
from ternforge_model.integer import SITES, IntegerModel
from ternforge_model.sampling import PROMPT_PART, generate
from ternforge_model.toy import narrowed

KEYS = ["tokens", "text", "prompt_tokens", "tokens_per_second", "prompt_tokens_per_second",
        "threads", "saturations"]
LETTERS = b"abcdefghijklmnop"


@pytest.fixture
def call(toy_model, invoke):
    """Runs the command, with the toy unless told otherwise; returns what ``invoke`` does."""

    def with_model(*arguments, model=toy_model):
        chosen = ["--model", model] if model else []
        return invoke("generate", *chosen, *arguments)

    return with_model


@pytest.mark.parametrize("temperature", [0, 0.9])
@pytest.mark.parametrize("prompt", ["a", "hoop", "abcp" * PROMPT_PART],
                         ids=["one", "several", "parts"])
def test_tokens_are_those_of_the_integer_model(call, toy_model, prompt, temperature):
    found = open_model(toy_model)
    ids = found.tokenizer.encode(prompt)
    code, out, _ = call("--prompt", prompt, "--tokens", 12, "--temperature", temperature,
                        "--seed", 5, "--json")
    told = json.loads(out)
    expected = generate(found.program, ids, 12, temperature=temperature, seed=5)
    assert code == 0
    assert list(told) == KEYS
    assert told["tokens"] == expected
    assert told["text"] == bytes(LETTERS[token] for token in expected).decode()
    assert told["prompt_tokens"] == len(ids)
    assert told["threads"] == thread_limit()
    assert told["tokens_per_second"] > 0 < told["prompt_tokens_per_second"]
    fed = IntegerModel(found.program).forward([*ids, *expected[:-1]])
    assert told["saturations"] == fed.saturations
    assert list(told["saturations"]) == list(SITES)
    assert list(Path().iterdir()) == []


def test_an_image_runs_like_its_model(call, toy_model, tmp_path):
    found = open_model(toy_model)
    path = lower(found.program, HOST_CORE, found.tokenizer).write(tmp_path / "toy.tfi")
    options = ("--prompt", "abc", "--tokens", 9, "--temperature", 1, "--json")
    from_image = json.loads(call("--image", path, *options, model=None)[1])
    assert from_image["tokens"] == json.loads(call(*options)[1])["tokens"]


def test_saturations_are_those_of_every_token(call, toy_model, tmp_path):
    found = open_model(toy_model)
    program = narrowed(found.program)
    path = lower(program, HOST_CORE, found.tokenizer).write(tmp_path / "narrow.tfi")
    prompt = "bead" * PROMPT_PART
    told = json.loads(call("--image", path, "--prompt", prompt, "--tokens", 9, "--json",
                           model=None)[1])
    ids = [*found.tokenizer.encode(prompt), *told["tokens"][:-1]]
    result = IntegerModel(program).forward(ids)
    assert told["tokens"] == result.tokens[-9:].tolist()
    assert told["saturations"] == result.saturations
    assert all(result.saturations[site] for site in ("product", "square", "rescale", "gate"))


def test_one_token_has_no_speed(call):
    told = json.loads(call("--prompt", "abc", "--tokens", 1, "--json")[1])
    assert len(told["tokens"]) == 1
    assert told["tokens_per_second"] is None


def test_report_for_people(call):
    code, out, _ = call("--prompt", "abc", "--tokens", 6, "--threads", 1)
    assert code == 0
    text = json.loads(call("--prompt", "abc", "--tokens", 6, "--json")[1])["text"]
    assert out.startswith(f"abc{text}\n")
    for row in ("tokens/s +[0-9.]+", "prompt +3 tokens, [0-9.]+ tokens/s", "threads +1",
                "weights +[0-9.]+ MB", "saturations +(none|[a-z]+ [0-9]+.*)"):
        assert re.search(rf"\n {row} *\n", out), row


@pytest.mark.parametrize(("arguments", "message"), [
    (["--prompt", ""], "--prompt must hold at least one character"),
    (["--prompt", "abz"], "--prompt: .*'z'.*"),
    (["--tokens", "0"], "--tokens must be positive, not 0"),
    (["--temperature", "-1"], r"--temperature must be zero or more, not -1\.0"),
    (["--threads", "0"], rf"--threads must be in 1\.\.{thread_limit()}, not 0"),
    (["--image", "none.tfi"], "give either --model or --image"),
    (["--model", "shakespeare-85g"], r"unknown model 'shakespeare-85g' .*"),
])
def test_bad_input_is_one_sentence(call, arguments, message):
    code, out, err = call("--prompt", "a", *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {message}\n", err)


def test_a_damaged_image_is_one_sentence(call, tmp_path):
    path = tmp_path / "model.tfi"
    path.write_bytes(b"something else")
    code, out, err = call("--image", path, model=None)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: '.*model\.tfi' is not a ternforge image: .*\n", err)
