import json
import zlib
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ternforge_model.checkpoint import (
    atomic_write,
    load_tensors,
    read_safetensors,
    save_tensors,
)
from ternforge_model.config import ModelConfig

CONFIG = ModelConfig(vocab_size=5, hidden_size=4, num_hidden_layers=2, intermediate_size=6)
HEAD = "lm_head.weight"


def random_tensors(seed=1):
    rng = np.random.default_rng(seed)
    return {k: rng.normal(size=s).astype(np.float32) for k, s in CONFIG.tensor_shapes().items()}


def write(folder, tensors):
    (folder / "config.json").write_text(CONFIG.to_json())
    save_file(tensors, folder / "model.safetensors")


def refusal(folder):
    with pytest.raises(ValueError) as caught:
        load_tensors(folder)
    return str(caught.value).replace(str(folder), "DIR")


def test_round_trip(tmp_path):
    tensors = random_tensors()
    save_tensors(tmp_path / "new", CONFIG, tensors)
    config, got = load_tensors(tmp_path / "new")
    assert config == CONFIG
    assert len(got) == 15 * 2 + 5
    assert set(got) == set(tensors)
    assert all(np.array_equal(got[k], tensors[k]) and got[k].dtype == np.float32 for k in got)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "config.json", "model.safetensors"]


def test_two_shards_with_an_index(tmp_path):
    tensors = random_tensors()
    names = sorted(tensors)
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    save_file({k: tensors[k] for k in names[:20]}, tmp_path / "a.safetensors")
    save_file({k: tensors[k] for k in names[20:]}, tmp_path / "b.safetensors")
    index = {k: "a.safetensors" if n < 20 else "b.safetensors" for n, k in enumerate(names)}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": index}))
    assert np.array_equal(load_tensors(tmp_path)[1][HEAD], tensors[HEAD])
    path.write_text(json.dumps({"weight_map": {HEAD: "../x.safetensors"}}))
    assert refusal(tmp_path) == (
        "DIR/model.safetensors.index.json must name files of its own folder, "
        "not '../x.safetensors'"
    )


def test_bfloat16_and_float16_are_widened(tmp_path):
    path = tmp_path / "x.safetensors"
    header = json.dumps({
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        "h": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]},
    }).encode()
    body = np.array([0x3FC0, 0xC000], "<u2").tobytes() + np.array([0.25], "<f2").tobytes()
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    got = read_safetensors(path)
    assert got["b"].tolist() == [1.5, -2.0]
    assert got["h"].tolist() == [0.25]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    tensors = random_tensors()
    tensors[HEAD][3, 2] = value
    write(tmp_path, tensors)
    assert refusal(tmp_path) == (
        f"DIR/model.safetensors: tensor 'lm_head.weight' must be finite, but holds {value} "
        "at index [3, 2]"
    )


def test_wrong_shape(tmp_path):
    write(tmp_path, {**random_tensors(), HEAD: np.zeros((4, 5), np.float32)})
    assert refusal(tmp_path) == (
        "DIR/model.safetensors: tensor 'lm_head.weight' must have shape [5, 4], not [4, 5]"
    )


def test_missing_tensor(tmp_path):
    tensors = random_tensors()
    del tensors[HEAD]
    write(tmp_path, tensors)
    assert refusal(tmp_path) == "DIR/model.safetensors: tensor 'lm_head.weight' must be present"


def test_extra_tensor(tmp_path):
    write(tmp_path, {**random_tensors(), "x": np.zeros(1, np.float32)})
    assert refusal(tmp_path) == (
        "DIR/model.safetensors: tensor 'x' must not be there; the config has no such"
    )


def test_integer_tensor(tmp_path):
    write(tmp_path, {**random_tensors(), HEAD: np.zeros((5, 4), np.int8)})
    assert refusal(tmp_path) == (
        "DIR/model.safetensors: tensor 'lm_head.weight' must have type F64, F32, F16, BF16, "
        "not 'I8'"
    )


def test_every_flipped_bit_is_refused_or_harmless(tmp_path):
    tensors = random_tensors()
    save_tensors(tmp_path, CONFIG, tensors)
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    rng = np.random.default_rng(2)
    loaded = []
    for place in [*range(start), *rng.integers(start, len(raw), 200)]:
        damaged = bytearray(raw)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        got = {}
        with suppress(ValueError):  # and no other exception
            got = load_tensors(tmp_path)[1]
            loaded.append(place)
        assert not got or all(np.array_equal(got[k], tensors[k]) for k in tensors), place
    # What goes unnoticed stands in the names of the metadata and in their values.
    assert max(loaded, default=0) < start
    assert len(loaded) < 30


def test_damaged_tensor_is_named(tmp_path):
    save_tensors(tmp_path, CONFIG, random_tensors())
    path = tmp_path / "model.safetensors"
    raw = bytearray(path.read_bytes())
    header = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])
    start = 8 + int.from_bytes(raw[:8], "little") + header[HEAD]["data_offsets"][0]
    assert json.loads(header["__metadata__"]["crc32"])[HEAD] == (
        f"{zlib.crc32(raw[start:start + 80]):08x}")
    raw[start + 9] ^= 1
    path.write_bytes(raw)
    assert refusal(tmp_path) == (
        f"DIR/model.safetensors: tensor 'lm_head.weight' is corrupt: its CRC-32 must be "
        f"{json.loads(header['__metadata__']['crc32'])[HEAD]}, not "
        f"{zlib.crc32(raw[start:start + 80]):08x}")


def test_the_library_reads_what_we_write(tmp_path):
    tensors = random_tensors()
    save_tensors(tmp_path, CONFIG, tensors)
    got = load_file(tmp_path / "model.safetensors")
    assert set(got) == set(tensors)
    assert all(np.array_equal(got[k], tensors[k]) for k in tensors)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_truncated_file(tmp_path, keep):
    write(tmp_path, random_tensors())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(tmp_path)
    assert message.startswith("DIR/model.safetensors")
    assert "truncated" in message


def test_missing_files(tmp_path):
    missing = tmp_path / "none"
    with pytest.raises(ValueError) as caught:
        load_tensors(missing)
    assert str(caught.value) == (
        f"{missing} must be a folder with config.json and model.safetensors"
    )
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    assert refusal(tmp_path) == (
        "DIR/model.safetensors must be a readable file: No such file or directory"
    )


def test_an_overlong_header_is_refused(tmp_path):
    write(tmp_path, random_tensors())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    assert "must hold the 18446744073709551615 header bytes" in refusal(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"


def test_saving_refuses_what_loading_would(tmp_path):
    tensors = random_tensors()
    tensors[HEAD][0, 0] = np.inf
    with pytest.raises(ValueError, match=r"'lm_head\.weight' must be finite"):
        save_tensors(tmp_path / "new", CONFIG, tensors)
    assert not (tmp_path / "new").exists()
