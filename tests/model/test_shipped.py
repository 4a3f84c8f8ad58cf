"""The shipped models, without torch and without a text: they predict what they wrote themselves."""

import shutil

import numpy as np
import pytest

from ternforge_model.catalog import open_model, shipped_names
from ternforge_model.floatpass import FloatPass
from ternforge_model.integer import SITES, IntegerModel
from ternforge_model.sampling import generate
from ternforge_model.skeleton import skeleton

LENGTH = 400


def nats(logits: np.ndarray, targets: np.ndarray) -> float:
    shifted = logits - logits.max(-1, keepdims=True)
    picked = shifted[np.arange(len(targets)), targets]
    return float((np.log(np.exp(shifted).sum(-1)) - picked).mean())


@pytest.mark.parametrize("name", shipped_names())
def test_integer_loss_is_within_half_a_percent_of_float(name):
    model = open_model(name)
    integer = IntegerModel(model.program)
    prompt = model.tokenizer.encode("ROMEO:\n")
    ids = np.array(prompt + generate(integer, prompt, LENGTH, temperature=1.0, seed=1))
    result = integer.forward(ids[:-1])
    factor = model.program.logit_scale * result.ratio_mantissa * 2.0**result.ratio_exponent
    exact = FloatPass(skeleton(model.config, model.checkpoint)).run(ids[None, :-1])[0][0]
    loss = nats(exact, ids[1:])
    assert loss < 2  # it writes the kind of text it learned
    assert nats(result.acc * factor[:, None], ids[1:]) == pytest.approx(loss, rel=5e-3)
    assert (exact.argmax(-1) == result.tokens).mean() > 0.95
    assert result.saturations == dict.fromkeys(SITES, 0)


@pytest.mark.parametrize("name", shipped_names())
def test_embedding_of_a_shipped_model_takes_8_bits(name):
    assert open_model(name).program.embedding.dtype == np.int8


@pytest.mark.parametrize("name", shipped_names())
def test_damage_to_a_shipped_model_is_noticed(name, tmp_path):
    folder = shutil.copytree(open_model(name).folder, tmp_path / name)
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x40
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"tensor 'model\.layers\.\d.*' is corrupt: its CRC-32 "):
        _ = open_model(folder).program
