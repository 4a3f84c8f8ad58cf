"""The verb ``eval``, called as a command."""

import json

import numpy as np
import pytest

from ternforge.cli import run
from ternforge_model import convert, evalcommand
from ternforge_model.calibrate import calibrate
from ternforge_model.checkpoint import save_tensors
from ternforge_model.errorplot import plot_errors, sparkline
from ternforge_model.integer import SITES
from ternforge_model.layererror import HEAD, TENSORS, Outlier
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint

VOCABULARY = list(range(64, 96))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A toy, and a text that it knows the letters of."""
    config, tensors = random_checkpoint(1)
    toy = tmp_path_factory.mktemp("eval") / "toy-one"
    toy.mkdir()
    save_tensors(toy, config, tensors)
    (toy / "tokenizer.json").write_text(ByteTokenizer(VOCABULARY).to_json())
    rng = np.random.default_rng(1)
    (toy.parent / "text").write_bytes(bytes(rng.choice(VOCABULARY, 1500).tolist()))
    return toy


def evaluated(folder, capsys, *options: str) -> dict:
    capsys.readouterr()
    assert run(["eval", "--model", str(folder), "--text", str(folder.parent / "text"), "--json",
                *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_eval_compares_both_models(folder, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(evalcommand, "CHUNK", 500)  # three of them
    monkeypatch.setattr(evalcommand, "LAYER_TOKENS", 300)
    threads = torch.get_num_threads()
    got = evaluated(folder, capsys, "--limit", "1200")
    assert torch.get_num_threads() == threads
    assert set(got) == {
        "model", "tokens", "float_loss", "integer_loss", "argmax_agreement", "saturations",
        "float_perplexity", "integer_perplexity", "kl_divergence", "saturations_by_layer",
        "layer_tokens", "layer_errors", "head_errors", "layer_saturations", "outlier"}
    assert got["tokens"] == 1199
    assert got["saturations"] == dict.fromkeys(SITES, 0)
    assert got["argmax_agreement"] > 0.95
    assert got["layer_tokens"] == 300
    assert list(got["layer_errors"]) == list(TENSORS)
    assert list(got["head_errors"]) == list(HEAD)
    assert got["outlier"] is None
    # The float loss is that of the reference on the whole sequence at once.
    from ternforge_model.export import load_checkpoint

    raw = (folder.parent / "text").read_bytes()
    ids = torch.from_numpy(np.frombuffer(raw[:1200], np.uint8).astype(np.int64) - VOCABULARY[0])
    reference = load_checkpoint(folder)
    with torch.inference_mode():
        logits = reference(ids[None, :-1])[0]
        want = torch.nn.functional.cross_entropy(logits, ids[1:]).item()
    assert got["float_loss"] == pytest.approx(want, rel=2e-3)
    assert got["integer_loss"] == pytest.approx(got["float_loss"], rel=5e-3)


def test_formats_come_from_the_calibration_text(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    seen = []

    def spy(source, text_ids, progress):
        seen.append(text_ids.tolist())
        return calibrate(source, text_ids, progress)

    monkeypatch.setattr(convert, "calibrate", spy)
    one = tmp_path / "one"
    one.write_bytes(bytes([VOCABULARY[3]]) * 400)
    got = evaluated(folder, capsys, "--limit", "300", "--calibrate", str(one))
    assert seen == [[3] * 400]
    assert got["argmax_agreement"] > 0.95


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_plot_is_written_whole_and_the_same(folder, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    errors = {"f": [0.01, 0.02], "o": [0.0, 0.5]}
    found = Outlier(layer=1, tensor="o", error=0.5, median=0.0)
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    plot_errors(first, "toy", errors, found)
    plot_errors(second, "toy", errors, found)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r", b"%PDF-")
    if suffix == "svg":
        assert "stands out: o" in first.read_text()


def test_eval_shows_a_table_and_writes_the_plot(folder, tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    plot = tmp_path / "errors.svg"
    assert run(["eval", "--model", str(folder), "--text", str(folder.parent / "text"),
                "--limit", "200", "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    for word in ("perplexity", "KL divergence", "down codes", "median", str(plot.name)):
        assert word in shown
    assert plot.stat().st_size > 5000


@pytest.mark.parametrize(("raw", "options", "message"), [
    (b"@", [], "--text must hold at least two tokens, not 1"),
    (b"@@@", ["--limit", "1"], "--limit must be at least 2, not 1"),
    (b"@@@", ["--plot", "errors.gif"],
     "--plot must end in one of .png, .svg, .pdf, not 'errors.gif'"),
    (b"@@@", ["--calibrate", "nowhere"],
     "nowhere must be a readable text file: No such file or directory"),
])
def test_eval_refuses_bad_input(folder, tmp_path, capsys, raw, options, message):
    pytest.importorskip("torch")
    (tmp_path / "text").write_bytes(raw)
    assert run(["eval", "--model", str(folder), "--text", str(tmp_path / "text"), *options]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_sparkline_reaches_from_zero_to_the_largest():
    assert sparkline([0, 0.5, 1]) == "▁▅█"
    assert sparkline([0.0, 0.0]) == "▁▁"
    assert sparkline([]) == ""
