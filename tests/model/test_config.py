import json
import subprocess
import sys

import pytest

from ternforge_model.config import ModelConfig


@pytest.mark.parametrize(
    ("d", "layers", "m", "total"),
    [(1024, 24, 2816, 374_108_160), (2048, 24, 5632, 1_364_779_008),
     (2560, 32, 6912, 2_702_357_504)],
)
def test_published_sizes(d, layers, m, total):
    config = ModelConfig(hidden_size=d, num_hidden_layers=layers)
    shapes = config.tensor_shapes()
    count = 0
    for shape in shapes.values():
        count += shape[0] * (shape[1] if len(shape) == 2 else 1)
    assert config.mlp_width == m
    assert len(shapes) == 15 * layers + 5
    assert count == total


def test_intermediate_size_overrides_the_rule():
    assert ModelConfig(hidden_size=160).mlp_width == 512
    assert ModelConfig(hidden_size=160, intermediate_size=400).mlp_width == 400


def test_no_lower_bound_tensor_without_lower_bounds():
    config = ModelConfig(num_hidden_layers=2, use_lower_bound=False)
    assert len(config.tensor_shapes()) == 15 * 2 + 4


REFUSED = {
    "hidden_size": (0, "ModelConfig.hidden_size must be a positive number, not 0"),
    "vocab_size": (-3, "ModelConfig.vocab_size must be a positive number, not -3"),
    "intermediate_size": (
        0, "ModelConfig.intermediate_size must be a positive integer or null, not 0"),
    "expand_ratio": (
        2, ("ModelConfig.expand_ratio must be 1 (upstream's lower bound has width hidden_size), "
        "not 2")),
    "use_short_conv": (
        True, ("ModelConfig.use_short_conv must be false (upstream calls its convolution wrongly), "
        "not True")),
    "tie_word_embeddings": (
        True, ("ModelConfig.tie_word_embeddings must be false (the ternary head has its own "
        "weights), not True")),
    "attn_mode": (
        "chunk", ("ModelConfig.attn_mode must be 'fused_recurrent' (upstream accepts nothing else),"
        " not 'chunk'")),
    "model_type": ("llama", "ModelConfig.model_type must be 'hgrn_bit', not 'llama'"),
    "num_heads": (3, "ModelConfig.hidden_size must be a multiple of num_heads=3, not 2048"),
    "rms_norm_eps": (float("nan"), "ModelConfig.rms_norm_eps must be positive and finite, not nan"),
}


@pytest.mark.parametrize(("name", "case"), REFUSED.items(), ids=REFUSED)
def test_values_that_cannot_run_are_refused(name, case):
    value, message = case
    with pytest.raises(ValueError) as caught:
        ModelConfig(**{name: value})
    assert str(caught.value) == message


def test_a_wider_mixer_needs_no_lower_bound():
    config = ModelConfig(hidden_size=96, num_heads=4, expand_ratio=1.5, use_lower_bound=False)
    assert config.tensor_shapes()["model.layers.0.attn.o_proj.weight"] == (96, 144)
    with pytest.raises(ValueError) as caught:
        ModelConfig(hidden_size=96, num_heads=4, expand_ratio=1.02, use_lower_bound=False)
    assert str(caught.value) == ("ModelConfig.expand_ratio must be such that hidden_size * "
                                 "expand_ratio is a multiple of num_heads=4, not 1.02")


@pytest.mark.parametrize("value", [True, 8.0, "8"])
def test_wrong_types_are_refused(value):
    with pytest.raises(TypeError) as caught:
        ModelConfig(hidden_size=value)
    assert str(caught.value) == (
        f"ModelConfig.hidden_size must be a positive number, not {value!r}"
    )


def test_unknown_keys_survive(tmp_path):
    path = tmp_path / "config.json"
    values = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "hidden_act": "swish"}
    path.write_text(json.dumps(values))
    config = ModelConfig.from_json(path)
    assert config.extra == {"hidden_act": "swish"}
    path.write_text(config.to_json())
    assert ModelConfig.from_json(path) == config


@pytest.mark.parametrize(
    ("text", "rest"),
    [("{", " must be readable JSON: "), ("[]", " must hold one JSON object, not list"),
     ("{}", " must hold the key 'vocab_size'")],
)
def test_bad_files_are_named(tmp_path, text, rest):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        ModelConfig.from_json(path)
    assert str(caught.value).startswith(f"{path}{rest}")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError) as caught:
        ModelConfig.from_json(tmp_path / "none.json")
    assert str(caught.value) == f"{tmp_path / 'none.json'} must exist, but there is no such file"


def test_the_loader_is_found_without_torch_until_it_is_used():
    code = (
        "import sys, ternforge_model; assert 'torch' not in sys.modules; "
        "from ternforge_model import load_checkpoint; assert callable(load_checkpoint); "
        "assert not hasattr(ternforge_model, 'other')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_reading_checkpoints_and_losses_needs_no_torch():
    code = (
        "import sys, ternforge_model.checkpoint, ternforge_model.evaluate, "
        "ternforge_model.tokenizer; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
