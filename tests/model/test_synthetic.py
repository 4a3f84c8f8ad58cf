import errno
import json
import shutil
from collections import namedtuple

import numpy as np
import pytest
import safetensors.torch
import torch

from ternforge.cli import run_function
from ternforge_model import load_checkpoint
from ternforge_model.checkpoint import load_tensors
from ternforge_model.config import ModelConfig
from ternforge_model.synthetic import Dtype, synthetic, word_tokenizer
from ternforge_model.tokenizer import open_tokenizer

torch.set_num_threads(1)  # small tensors; threads would only wait for each other


def make(folder, *options):
    arguments = ["--size", "tiny", "-o", str(folder), *options]
    assert run_function(synthetic, "synthetic", arguments) == 0
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make(tmp_path_factory.mktemp("synthetic") / "tiny")


def test_the_same_options_give_the_same_bytes(tiny, tmp_path):
    assert files(make(tmp_path / "again")) == files(tiny)
    other = files(make(tmp_path / "other", "--seed", "1"))
    assert {name for name, content in files(tiny).items() if content != other[name]} == {
        "model.safetensors"}


def test_types_and_shards_hold_the_same_weights(tiny, tmp_path):
    config, exact = load_tensors(make(tmp_path / "f32", "--dtype", "float32", "--shards", "3"))
    assert config.extra["torch_dtype"] == "float32"
    index = json.loads((tmp_path / "f32" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in exact.values())
    sizes = [path.stat().st_size for path in (tmp_path / "f32").glob("model-*-of-00003.*")]
    assert len(sizes) == 3
    half = load_tensors(make(tmp_path / "f16", "--dtype", "float16"))[1]
    brain = load_tensors(tiny)[1]
    for name, value in exact.items():
        assert np.array_equal(half[name], value.astype(np.float16).astype(np.float32))
        rounded = torch.from_numpy(value).to(torch.bfloat16).float().numpy()
        assert np.array_equal(brain[name], rounded)


def test_the_library_reads_it(tiny):
    got = safetensors.torch.load_file(tiny / "model.safetensors")
    ours = load_tensors(tiny)[1]
    assert set(got) == set(ours)
    assert all(np.array_equal(got[k].float().numpy(), ours[k]) for k in ours)


def test_fewer_layers(tmp_path):
    config, tensors = load_tensors(make(tmp_path / "short", "--layers", "1"))
    assert config.num_hidden_layers == 1
    assert len(tensors) == 20


def test_a_forward_pass_is_finite_and_depends_on_its_tokens(tiny):
    model = load_checkpoint(tiny)
    ids = torch.arange(5, 21).reshape(2, 8) * 1000
    with torch.inference_mode():
        logits, state = model(ids, return_state=True)
    assert logits.isfinite().all()
    assert 0.05 < logits.std().item() < 20
    assert logits.std(dim=(0, 1)).mean().item() > 0.05  # over the tokens
    assert state.abs().mean().item() > 1e-3


def test_config_is_that_of_a_release(tiny):
    values = json.loads((tiny / "config.json").read_text())
    assert values["architectures"] == ["HGRNBitForCausalLM"]
    assert values["torch_dtype"] == "bfloat16"
    assert values["vocab_size"] == 32000
    assert ModelConfig.from_json(tiny / "config.json").mlp_width == 256


def test_the_tokenizer_has_words_and_bytes(tiny):
    tokenizer = open_tokenizer(tiny, 32000)
    for text in ("the cat and a dog.", "Caf\u00e9 \u20ac", "  two", "x"):
        tokens = tokenizer.encode(text)
        assert tokens[0] == 1  # BOS
        assert tokenizer.decode(tokens) == text
    assert len(tokenizer.encode("the cat and dog")) == 5
    with pytest.raises(ValueError, match=r"^vocab_size must be in 354\.\.36884, not 300$"):
        word_tokenizer(300)


@pytest.mark.parametrize(("options", "message"), [
    (["--size", "3b"], "--size must be one of 370m, 1.3b, 2.7b, tiny, not '3b'"),
    (["--layers", "0"], "--layers must be positive, not 0"),
    (["--shards", "0"], "--shards must be in 1..35, not 0"),
    (["--shards", "36"], "--shards must be in 1..35, not 36"),
    (["--seed", "-1"], "--seed must be zero or more, not -1"),
])
def test_bad_options(tmp_path, capsys, options, message):
    arguments = ["--size", "tiny", "-o", str(tmp_path / "x"), *options]
    assert run_function(synthetic, "synthetic", arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not list(tmp_path.iterdir())


def test_as_many_shards_as_tensors(tmp_path):
    folder = make(tmp_path / "many", "--shards", "35", "--dtype", "float16")
    assert len(list(folder.glob("*.safetensors"))) == len(load_tensors(folder)[1]) == 35


def test_a_disk_without_room_is_told_before(tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "free")(1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    path = tmp_path / "new" / "x"
    assert run_function(synthetic, "synthetic", ["--size", "tiny", "-o", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: {str(path)!r} must have room for 8,457,728 bytes, but only 1,000 are free: free "
        "some, or choose another disk\n")


def test_a_disk_that_fills_up_leaves_the_old_folder(tmp_path, capsys, monkeypatch):
    old = files(make(tmp_path / "x"))

    def full(self, values):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Dtype, "encode", full)
    arguments = ["--size", "tiny", "-o", str(tmp_path / "x"), "--seed", "3"]
    assert run_function(synthetic, "synthetic", arguments) == 2
    assert capsys.readouterr().err == (
        "error: the disk is full: free some space and run it again\n")
    assert files(tmp_path / "x") == old
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
