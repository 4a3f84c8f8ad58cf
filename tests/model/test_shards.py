"""Checkpoints of several files with an index."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from ternforge_model.checkpoint import load_tensors, open_checkpoint

from .test_checkpoint import CONFIG, HEAD, random_tensors, refusal

INDEX = "model.safetensors.index.json"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def place():
    """Shard of each tensor: the first 20 by name are in the first."""
    return {name: SHARDS[n >= 20] for n, name in enumerate(sorted(CONFIG.tensor_shapes()))}


def write_index(folder, weight_map):
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.fixture
def folder(tmp_path):
    tensors = random_tensors()
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    for shard in SHARDS:
        save_file({k: tensors[k] for k, v in place().items() if v == shard}, tmp_path / shard)
    write_index(tmp_path, place())
    return tmp_path


def test_shards_are_one_checkpoint(folder):
    tensors, got = random_tensors(), load_tensors(folder)[1]
    assert set(got) == set(tensors)
    assert all(np.array_equal(got[k], tensors[k]) for k in tensors)


def test_a_shard_that_changes_is_noticed(folder):
    checkpoint = open_checkpoint(folder)
    path = folder / SHARDS[1]
    path.write_bytes(path.read_bytes() + b" ")
    assert checkpoint[HEAD].shape == (5, 4)  # of the other shard
    with pytest.raises(ValueError, match=r"00002\.safetensors must not change while it is read"):
        checkpoint.check_unchanged()


def test_the_index_must_name_every_shard(folder):
    write_index(folder, dict.fromkeys(place(), SHARDS[0]))
    assert refusal(folder) == (f"DIR/{INDEX} must name every shard of the folder, but not "
                               f"'{SHARDS[1]}'")


def test_shards_must_be_there(folder):
    (folder / SHARDS[1]).unlink()
    assert refusal(folder) == (f"DIR/{INDEX} must name files of its own folder, but "
                               f"'{SHARDS[1]}' is missing")


def test_index_and_shards_must_agree(folder):
    write_index(folder, {**place(), HEAD: SHARDS[1]})
    assert refusal(folder) == (f"DIR/{INDEX} must list tensor '{HEAD}' for '{SHARDS[1]}', not "
                               f"'{SHARDS[0]}', which holds it")


def test_a_tensor_must_be_in_the_index(folder):
    write_index(folder, {k: v for k, v in place().items() if k != HEAD})
    assert refusal(folder) == (f"DIR/{INDEX} must list tensor '{HEAD}' for '{SHARDS[0]}', which "
                               "holds it")


def test_a_tensor_of_the_index_must_be_in_its_shard(folder):
    write_index(folder, {**place(), "more": SHARDS[1]})
    assert refusal(folder) == f"DIR/{SHARDS[1]}: tensor 'more' must be present, as {INDEX} says"


def test_a_tensor_must_not_be_in_two_shards(folder):
    tensors = random_tensors()
    save_file({k: v for k, v in tensors.items() if place()[k] == SHARDS[1] or k == HEAD},
              folder / SHARDS[1])
    assert refusal(folder) == (f"DIR/{SHARDS[1]}: tensor '{HEAD}' must not also be in "
                               f"DIR/{SHARDS[0]}")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', "[" * 100_000])
def test_an_index_that_is_none(folder, text):
    (folder / INDEX).write_text(text)
    assert refusal(folder) == f"DIR/{INDEX} must be a JSON object with a 'weight_map'"


@pytest.mark.parametrize("name", ["../x.safetensors", 3, ""])
def test_an_index_must_stay_in_its_folder(folder, name):
    write_index(folder, {HEAD: name})
    assert refusal(folder) == f"DIR/{INDEX} must name files of its own folder, not {name!r}"
