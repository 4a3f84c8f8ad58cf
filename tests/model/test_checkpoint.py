import json
import os
import zlib
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ternforge_model.checkpoint import (
    atomic_write,
    load_tensors,
    open_checkpoint,
    save_tensors,
)
from ternforge_model.config import ModelConfig
from ternforge_model.tensorfile import TensorFile

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


def test_bfloat16_and_float16_are_widened(tmp_path):
    path = tmp_path / "x.safetensors"
    header = json.dumps({
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        "h": {"dtype": "F16", "shape": [1], "data_offsets": [4, 6]},
    }).encode()
    body = np.array([0x3FC0, 0xC000], "<u2").tobytes() + np.array([0.25], "<f2").tobytes()
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    file = TensorFile(path)
    assert file.read("b").tolist() == [1.5, -2.0]
    assert file.read("h").tolist() == [0.25]


def test_float64_is_narrowed(tmp_path):
    tensors = {k: v.astype(np.float64) / 3 for k, v in random_tensors().items()}
    write(tmp_path, tensors)
    assert open_checkpoint(tmp_path).dtypes[HEAD] == "F64"
    assert np.array_equal(load_tensors(tmp_path)[1][HEAD], tensors[HEAD].astype(np.float32))
    tensors[HEAD][1, 2] = 1e300
    write(tmp_path, tensors)
    assert refusal(tmp_path) == ("DIR/model.safetensors: tensor 'lm_head.weight' must be finite, "
                                 "but holds inf at index [1, 2]")


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


def test_several_missing_or_extra_tensors_are_counted(tmp_path):
    tensors = random_tensors()
    write(tmp_path, {k: v for k, v in tensors.items() if "layers.1." not in k})
    assert refusal(tmp_path) == ("DIR/model.safetensors: tensor 'model.layers.1.attn_norm.weight' "
                                 "must be present (and 14 more)")
    bias = "model.layers.0.attn.f_proj.bias"
    write(tmp_path, {**tensors, bias: np.zeros(4, np.float32), "x": np.zeros(1, np.float32)})
    assert refusal(tmp_path) == (f"DIR/model.safetensors: tensor '{bias}' must not be there "
                                 "(and 1 more); the config has no such")


@pytest.mark.parametrize("name", [HEAD, "model.layers.1.attn.g_proj.weight",
                                  "model.embeddings.weight"])
def test_a_matrix_of_zeros_is_refused(tmp_path, name):
    tensors = random_tensors()
    write(tmp_path, {**tensors, name: np.zeros_like(tensors[name])})
    assert refusal(tmp_path) == f"DIR/model.safetensors: tensor {name!r} must not be all zeros"


def test_lower_bounds_of_zeros_are_a_fresh_model(tmp_path):
    write(tmp_path, {**random_tensors(), "model.lower_bounds": np.zeros((2, 4), np.float32)})
    assert not load_tensors(tmp_path)[1]["model.lower_bounds"].any()


def test_only_the_tensor_asked_for_is_read(tmp_path):
    tensors = random_tensors()
    tensors["model.norm.weight"][2] = np.nan
    write(tmp_path, tensors)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.config == CONFIG
    assert checkpoint.shapes == CONFIG.tensor_shapes()
    assert set(checkpoint.dtypes.values()) == {"F32"}
    assert set(checkpoint) == set(tensors)
    assert "model.norm.weight" in checkpoint
    assert np.array_equal(checkpoint[HEAD], tensors[HEAD])
    with pytest.raises(ValueError, match=r"'model\.norm\.weight' must be finite"):
        checkpoint["model.norm.weight"]


@pytest.mark.parametrize("change", ["rewritten", "truncated", "removed"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_source_that_changes_while_it_is_read(tmp_path, name, change):
    write(tmp_path, random_tensors())
    checkpoint, path = open_checkpoint(tmp_path), tmp_path / name
    assert checkpoint[HEAD].shape == (5, 4)
    stat = path.stat()
    if change == "removed":
        path.unlink()
    elif change == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
    message = (f"^{path} must not change while it is read, but it did: read it again when nothing "
               "writes to it$")
    with pytest.raises(ValueError, match=message):
        checkpoint.__exit__(None)
    if name == "model.safetensors":  # told by the next read already
        with pytest.raises(ValueError, match=message):
            checkpoint["lm_head.norm.weight"]


def test_the_end_of_a_with_block_checks_the_source(tmp_path, monkeypatch):
    write(tmp_path, random_tensors())
    calls = []
    with open_checkpoint(tmp_path) as checkpoint:
        monkeypatch.setattr(checkpoint, "check_unchanged", lambda: calls.append("checked"))
        assert len(dict(checkpoint)) == 35
        assert calls == []
    assert calls == ["checked"]


@pytest.mark.parametrize(("shift", "tail", "message"), [
    (0, b"1234", "DIR/x must end with its last tensor at byte 144, not at 148"),
    (4, b"1234", "tensor 'b' must start at byte 140, where the one before it ends, not at 144"),
    (-4, b"", "tensor 'b' must start at byte 140, where the one before it ends, not at 136"),
])
def test_gaps_and_overlaps_are_refused(tmp_path, shift, tail, message):
    path = tmp_path / "x"
    header = json.dumps({
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [4 + shift, 8 + shift]},
    }).encode().ljust(128)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8) + tail)
    with pytest.raises(ValueError) as caught:
        TensorFile(path)
    assert message in str(caught.value).replace(str(tmp_path), "DIR")


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
