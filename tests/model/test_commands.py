"""The verbs ``models`` and ``eval`` and the catalog behind them, called as plain functions."""

import json

import numpy as np
import pytest

from ternforge.cli import run
from ternforge.errors import UserError
from ternforge_model import catalog, commands
from ternforge_model.catalog import find_model, open_model, shipped_names
from ternforge_model.checkpoint import save_tensors
from ternforge_model.commands import evaluate, models
from ternforge_model.integer import SITES
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint

VOCABULARY = list(range(64, 96))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of shipped models that holds one toy."""
    config, tensors = random_checkpoint(1)
    toy = tmp_path / "toy-one"
    toy.mkdir()
    save_tensors(toy, config, tensors)
    (toy / "tokenizer.json").write_text(ByteTokenizer(VOCABULARY).to_json())
    (toy / "recipe.json").write_text(json.dumps({"result": {"validation_loss": 1.25}}))
    monkeypatch.setattr(catalog, "shipped_folder", lambda: tmp_path)
    return toy


def test_model_is_found_by_name_or_folder(folder):
    assert shipped_names() == ["toy-one"]
    assert find_model("toy-one") == find_model(folder) == folder
    assert open_model(folder).program.digest == open_model("toy-one").program.digest


@pytest.mark.parametrize(("name", "end"), [
    ("toy-on", "did you mean 'toy-one'?"), ("zebra", "choose from toy-one"),
])
def test_unknown_model_offers_names(folder, name, end):
    with pytest.raises(UserError) as error:
        find_model(name)
    assert str(error.value) == f"unknown model {name!r} (neither shipped nor a folder): {end}"


def test_folder_without_checkpoint_is_refused(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    assert shipped_names() == []
    with pytest.raises(UserError) as error:
        find_model(tmp_path / "toy-one")
    assert str(error.value) == (f"folder {str(folder)!r} holds no checkpoint (model.safetensors "
                                "or model.safetensors.index.json)")


def test_tokenizer_of_another_size_is_refused(folder):
    (folder / "tokenizer.json").write_text(ByteTokenizer(VOCABULARY[:-1]).to_json())
    with pytest.raises(ValueError) as error:
        _ = open_model("toy-one").tokenizer
    assert str(error.value) == (f"{folder / 'tokenizer.json'} must hold 32 tokens as the model "
                                "does, not 31")


def test_models_prints_json(folder, capsys):
    models(as_json=True)
    row, = json.loads(capsys.readouterr().out)["models"]
    assert row["name"] == "toy-one"
    assert row["ternary_weights"] == open_model("toy-one").program.ternary_weights
    assert row["validation_loss"] == 1.25


def test_models_prints_a_table(folder, capsys):
    models()
    assert "toy-one" in capsys.readouterr().out


def test_eval_compares_both_models(folder, tmp_path, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    raw = bytes(rng.choice(VOCABULARY, 1500).tolist())
    (tmp_path / "text").write_bytes(raw)
    monkeypatch.setattr(commands, "CHUNK", 500)  # three of them
    threads = torch.get_num_threads()
    assert run(["eval", "--model", "toy-one", "--text", str(tmp_path / "text"), "--limit", "1200",
                "--json"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert torch.get_num_threads() == threads
    assert set(got) == {"model", "characters", "float_loss", "integer_loss", "argmax_agreement",
                        "saturations"}
    assert got["characters"] == 1199
    assert got["saturations"] == dict.fromkeys(SITES, 0)
    assert got["argmax_agreement"] > 0.95
    # The float loss is that of the reference on the whole sequence at once.
    from ternforge_model.export import load_checkpoint

    ids = torch.from_numpy(np.frombuffer(raw[:1200], np.uint8).astype(np.int64) - VOCABULARY[0])
    reference = load_checkpoint(folder)
    with torch.inference_mode():
        logits = reference(ids[None, :-1])[0]
        want = torch.nn.functional.cross_entropy(logits, ids[1:]).item()
    assert got["float_loss"] == pytest.approx(want, rel=2e-3)
    assert got["integer_loss"] == pytest.approx(got["float_loss"], rel=5e-3)


@pytest.mark.parametrize(("raw", "limit", "message"), [
    (b"@", None, "--text must hold at least two characters, not 1"),
    (b"@@@", 1, "--limit must be at least 2, not 1"),
])
def test_eval_refuses_too_little_text(folder, tmp_path, raw, limit, message):
    (tmp_path / "text").write_bytes(raw)
    with pytest.raises(UserError) as error:
        evaluate(model="toy-one", text=tmp_path / "text", limit=limit)
    assert str(error.value) == message
