"""Headers of the released models (spec sections 1 and 2), in sparse files without weights."""

import numpy as np
import pytest

from ternforge_model.checkpoint import open_checkpoint
from ternforge_model.synthetic import SIZES, Dtype, layout, released_config
from ternforge_model.tensorfile import encode_header

#: Tensors, parameters, ternary weights and stored bytes as the specification has them.
RELEASED = {
    "370m": (365, 374_108_160, 341_049_344, 748_216_320),
    "1.3b": (365, 1_364_779_008, 1_298_661_376, 2_729_558_016),
    "2.7b": (485, 2_702_357_504, 2_619_473_920, 5_404_715_008),
}
MLP = {"370m": 2816, "1.3b": 5632, "2.7b": 6912}


def write_headers(folder, config, dtype, shards):
    """A checkpoint whose tensors are holes in their files."""
    headers = layout(config, dtype, shards)
    for name, header in headers.items():
        with (folder / name).open("wb") as file:
            start = file.write(encode_header(header))
            file.truncate(start + max(entry["data_offsets"][1] for key, entry in header.items()
                                      if key != "__metadata__"))
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(index_text(headers))
    (folder / "config.json").write_text(config.to_json())


def index_text(headers):
    pairs = [f'"{name}": "{file}"' for file, header in headers.items() for name in header
             if name != "__metadata__"]
    return f'{{"weight_map": {{{", ".join(pairs)}}}}}'


@pytest.mark.parametrize(("dtype", "shards"), [(Dtype.BFLOAT16, 1), (Dtype.BFLOAT16, 2),
                                               (Dtype.FLOAT16, 3), (Dtype.FLOAT32, 1)])
@pytest.mark.parametrize("size", RELEASED)
def test_names_and_shapes_are_checked_without_reading_weights(tmp_path, monkeypatch, size, dtype,
                                                              shards):
    write_headers(tmp_path, released_config(size, dtype), dtype, shards)
    with monkeypatch.context() as patch:
        patch.setattr(np, "memmap", None)  # no tensor can be read
        checkpoint = open_checkpoint(tmp_path)
    tensors, parameters, ternary, stored = RELEASED[size]
    (width, depth), mlp = SIZES[size], MLP[size]
    assert len(checkpoint) == tensors
    counts = {name: int(np.prod(shape)) for name, shape in checkpoint.shapes.items()}
    assert sum(counts.values()) == parameters
    assert sum(count for name, count in counts.items()
               if name.endswith(("_proj.weight", "lm_head.weight"))) == ternary
    assert set(checkpoint.dtypes.values()) == {dtype.stored}
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == shards
    wide = 2 if dtype is Dtype.FLOAT32 else 1
    assert 0 < sum(f.stat().st_size for f in files) - stored * wide < 100_000
    last = f"model.layers.{depth - 1}"
    assert checkpoint.shapes[f"{last}.mlp.gate_proj.weight"] == (2 * mlp, width)
    assert checkpoint.shapes[f"{last}.mlp.down_proj.norm.weight"] == (mlp,)
    assert checkpoint.shapes["model.lower_bounds"] == (depth, width)
    # The holes are zeros: a vector of them may be, a matrix may not.
    assert checkpoint["model.norm.weight"].shape == (width,)
    with pytest.raises(ValueError, match=r"attn\.g_proj\.weight' must not be all zeros$"):
        checkpoint[f"{last}.attn.g_proj.weight"]


def test_weights_of_another_size_are_told_by_their_shape(tmp_path):
    write_headers(tmp_path, released_config("370m"), Dtype.BFLOAT16, 1)
    (tmp_path / "config.json").write_text(released_config("1.3b").to_json())
    with pytest.raises(ValueError) as caught:
        open_checkpoint(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'model.safetensors'}: tensor 'model.embeddings.weight' must have shape "
        "[32000, 2048], not [32000, 1024]")


def test_a_shard_cut_short_is_told_by_its_header(tmp_path):
    write_headers(tmp_path, released_config("2.7b"), Dtype.BFLOAT16, 2)
    path = tmp_path / "model-00002-of-00002.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1_000_000)
    with pytest.raises(ValueError) as caught:
        open_checkpoint(tmp_path)
    assert str(caught.value).startswith(f"{path}: tensor ")
    assert str(caught.value).endswith("bytes are missing: it is truncated")
