import io
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from ternforge_model import checkpoint, export
from ternforge_model.config import ModelConfig
from ternforge_model.data import TextStreams, load_text, split_text
from ternforge_model.evaluate import carried_loss
from ternforge_model.ops import quantise_weights
from ternforge_model.recipe import Recipe, load_recipe, shipped_folder
from ternforge_model.reference import ReferenceModel
from ternforge_model.run import STATE_FILE, Run
from ternforge_model.train import train

torch.set_num_threads(1)  # small tensors; threads would only wait for each other

TEXT = b"the quick brown fox jumps over the lazy dog. " * 30
CONFIG = ModelConfig(vocab_size=len(set(TEXT)), hidden_size=16, num_hidden_layers=2,
                     intermediate_size=24)
RECIPE = Recipe(name="tiny", config=CONFIG, steps=9, batch=2, window=20, warmup=2, dropout=0.1,
                restart=0.3, compile=False, evaluate_every=4, checkpoint_every=3)
FILES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


def quiet():
    return Console(file=io.StringIO())


def contents(folder):
    return [(folder / name).read_bytes() for name in FILES]


def test_same_seed_same_bytes_and_another_seed_not(tmp_path, text):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(replace(RECIPE, seed=seed), text, tmp_path / name, console=quiet())
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("stops", [(4,), (1, 3, 2)])
def test_resumed_equals_uninterrupted(tmp_path, text, stops):
    train(RECIPE, text, tmp_path / "whole", console=quiet())
    for stop in stops:
        part = train(RECIPE, text, tmp_path / "parts", stop_after=stop, console=quiet())
        assert not part.finished
        assert part.validation_loss is None
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    last = train(RECIPE, text, tmp_path / "parts", console=quiet())
    assert last.finished
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def interrupt_at(monkeypatch, at):
    """Ctrl-C in the middle of step ``at``."""
    advance = Run.advance

    def interrupted(self):
        if self.step == at:
            os.kill(os.getpid(), signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(Run, "advance", interrupted)


def test_interrupt_saves_the_state(tmp_path, text, monkeypatch):
    train(RECIPE, text, tmp_path / "whole", console=quiet())
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4)
        part = train(RECIPE, text, tmp_path / "parts", console=quiet())
    assert (part.finished, part.step) == (False, 5)
    assert train(RECIPE, text, tmp_path / "parts", console=quiet()).finished
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_interrupt_before_there_is_a_state_changes_nothing(tmp_path, text, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 0)
        with pytest.raises(KeyboardInterrupt):
            train(RECIPE, text, tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()
    train(RECIPE, text, tmp_path / "out", stop_after=5, console=quiet())
    saved = (tmp_path / "out" / STATE_FILE).read_bytes()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            train(RECIPE, text, tmp_path / "out", console=quiet())
    assert (tmp_path / "out" / STATE_FILE).read_bytes() == saved
    assert signal.getsignal(signal.SIGINT) is before


def test_training_lowers_the_loss_and_records_the_result(tmp_path, text):
    recipe = replace(RECIPE, steps=60, learning_rate=1e-2, dropout=0.0)
    result = train(recipe, text, tmp_path / "out", console=quiet())
    assert result.finished
    assert result.step == 60
    assert result.validation_loss is not None
    assert result.validation_loss < 0.8 * np.log(CONFIG.vocab_size)
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert written["result"]["validation_loss"] == round(result.validation_loss, 4)
    assert load_recipe(tmp_path / "out").steps == 60


def test_the_file_as_stored_is_what_was_evaluated(tmp_path, text):
    result = train(RECIPE, text, tmp_path / "out", console=quiet())
    tokens, _ = load_text(text)
    stored = export.load_checkpoint(tmp_path / "out")
    assert carried_loss(stored, split_text(tokens)[1]) == result.validation_loss


def test_stored_embeddings_are_8_bit_and_inner_norms_are_ones(tmp_path, text):
    train(replace(RECIPE, embedding_fraction_bits=6), text, tmp_path / "out", console=quiet())
    _, tensors = checkpoint.load_tensors(tmp_path / "out")
    codes = tensors["model.embeddings.weight"] * 64
    assert np.array_equal(codes, np.round(codes))
    assert np.abs(codes).max() <= 127
    for name, value in tensors.items():
        if name.endswith("norm.weight") and "down_proj" not in name:
            inner = name.split(".")[-3] in ("i_proj", "f_proj", "g_proj", "o_proj", "gate_proj",
                                            "lm_head")
            assert bool((value == 1).all()) == inner, name


def test_compact_matrix_keeps_codes_and_scale():
    weight = torch.randn(64, 48, generator=torch.Generator().manual_seed(3)) * 0.07
    stored = torch.from_numpy(export.compact_matrix(weight).astype(np.float32))
    assert len(stored.unique()) == 3
    codes, scale = quantise_weights(weight)
    again, size = quantise_weights(stored)
    assert torch.equal(codes, again)
    assert size.item() == pytest.approx(scale.item(), rel=2**-10)


def test_latent_weights_round_trip(tmp_path):
    torch.manual_seed(5)
    model = ReferenceModel(CONFIG)
    export.save_reference(model, tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(export.load_checkpoint(tmp_path)(ids), model(ids))


def test_a_state_of_another_recipe_is_refused(tmp_path, text):
    train(RECIPE, text, tmp_path / "out", stop_after=1, console=quiet())
    with pytest.raises(ValueError) as caught:
        train(replace(RECIPE, steps=10), text, tmp_path / "out", console=quiet())
    assert str(caught.value) == (
        f"{tmp_path / 'out' / STATE_FILE} must come from the same recipe, "
        "not one with another 'steps'"
    )
    (tmp_path / "out" / STATE_FILE).write_bytes(b"junk")
    with pytest.raises(ValueError, match="must be a training state"):
        train(RECIPE, text, tmp_path / "out", console=quiet())
    torch.save({"weights": torch.zeros(3)}, tmp_path / "out" / STATE_FILE)
    with pytest.raises(ValueError, match=r"must be a training state, which holds a recipe$"):
        train(RECIPE, text, tmp_path / "out", console=quiet())
    torch.save({"recipe": RECIPE.to_dict(), "model": {}}, tmp_path / "out" / STATE_FILE)
    with pytest.raises(ValueError, match="must be a whole training state: "):
        train(RECIPE, text, tmp_path / "out", console=quiet())


def test_truncated_or_damaged_state_is_refused(tmp_path, text):
    train(RECIPE, text, tmp_path / "out", stop_after=1, console=quiet())
    path = tmp_path / "out" / STATE_FILE
    raw = path.read_bytes()
    for damaged in (raw[:1000], raw[:-5], raw[:len(raw) // 2],
                    raw[:len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4])
                    + raw[len(raw) // 2 + 1:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"must be a training state: |is corrupt in its part "):
            train(RECIPE, text, tmp_path / "out", console=quiet())
        assert path.read_bytes() == damaged


def test_the_text_must_fit_the_vocabulary(tmp_path, text):
    text.write_bytes(TEXT + b"#")
    with pytest.raises(ValueError) as caught:
        train(RECIPE, text, tmp_path / "out", console=quiet())
    assert str(caught.value) == (
        f"{text} must hold {CONFIG.vocab_size} distinct bytes for recipe 'tiny', "
        f"not {CONFIG.vocab_size + 1}"
    )
    text.write_bytes(b"")
    with pytest.raises(ValueError) as caught:
        train(RECIPE, text, tmp_path / "out", console=quiet())
    assert str(caught.value) == f"{text} must not be empty"


def test_streams_walk_on_until_they_jump():
    tokens = np.arange(1000)
    streams = TextStreams(tokens, batch=3, window=10, restart=0.0, seed=1)
    first, jumped = streams.next(0)
    assert jumped.all()
    second, jumped = streams.next(1)
    assert not jumped.any()
    assert np.array_equal(second[:, 0], first[:, -1])
    assert np.array_equal(second[:, 1:], second[:, :-1] + 1)


def test_carried_loss_does_not_depend_on_the_chunk():
    torch.manual_seed(5)
    model = ReferenceModel(replace(CONFIG, initializer_range=0.5))
    ids = np.random.default_rng(1).integers(0, CONFIG.vocab_size, 70)
    seen = []
    whole = carried_loss(model, ids, chunk=100)
    parts = carried_loss(model, ids, chunk=7, progress=lambda done, total: seen.append(done))
    assert parts == pytest.approx(whole, abs=1e-5)
    assert seen[-1] == 69
    fresh = carried_loss(lambda tokens, state: (model.logits(tokens, None)[0], None), ids, chunk=7)
    assert abs(fresh - whole) > 1e-4


def test_carried_loss_of_a_uniform_guess():
    assert carried_loss(lambda t, s: (np.zeros((len(t), 8)), s), np.zeros(30, int)) == (
        pytest.approx(np.log(8))
    )
    with pytest.raises(ValueError, match=r"^ids must hold at least two tokens, not 1$"):
        carried_loss(lambda t, s: (np.zeros((1, 8)), s), np.zeros(1, int))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "Recipe.steps must be positive, not 0"),
        ({"dropout": 1.0}, "Recipe.dropout must be in [0, 1), not 1.0"),
        ({"embedding_fraction_bits": 16},
         "Recipe.embedding_fraction_bits must be in [0, 15], not 16"),
    ],
)
def test_bad_recipes_are_refused(change, message):
    with pytest.raises(ValueError) as caught:
        replace(RECIPE, **change)
    assert str(caught.value) == message


def test_unknown_recipes_and_keys_are_named(tmp_path):
    for name, end in (("zzz", "choose from 10m, 1m, 370m, shakespeare-85f, shakespeare-up5k"),
                      ("shakespear-up5k",
                       "did you mean 'shakespeare-up5k' or 'shakespeare-85f'?")):
        with pytest.raises(ValueError) as caught:
            load_recipe(name)
        assert str(caught.value) == f"unknown recipe {name!r} (neither shipped nor a file): {end}"
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**RECIPE.to_dict(), "momentum": 1}))
    with pytest.raises(ValueError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: Recipe keys must be known fields, not 'momentum'"


@pytest.mark.parametrize("name", ["shakespeare-up5k", "shakespeare-85f"])
def test_shipped_recipes_load(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.config.vocab_size == 65
    assert (shipped_folder() / name / "recipe.json").is_file()
