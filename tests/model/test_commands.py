"""The verb ``models`` and the catalog behind it, called as plain functions."""

import json

import pytest

from ternforge.errors import UserError
from ternforge_model import catalog
from ternforge_model.catalog import find_model, open_model, shipped_names
from ternforge_model.checkpoint import save_tensors
from ternforge_model.commands import models
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
