"""Training at scale: presets, precision, accumulation, and runs that fail or are killed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ternforge.cli import run as cli
from ternforge_model import train as module
from ternforge_model.config import ModelConfig
from ternforge_model.recipe import PRESETS, Recipe, load_recipe
from ternforge_model.reference import ReferenceModel
from ternforge_model.run import STATE_FILE, Run
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.train import pick_device, train

torch.set_num_threads(1)

CPU = torch.device("cpu")
TEXT = b"the quick brown fox jumps over the lazy dog. " * 30
CONFIG = ModelConfig(vocab_size=len(set(TEXT)), hidden_size=16, num_hidden_layers=2,
                     intermediate_size=24)
RECIPE = Recipe(name="tiny", config=CONFIG, steps=6, batch=4, window=20, warmup=2, restart=0.3,
                compile=False, fused=True, freeze_inner_norms=False, evaluate_every=4,
                checkpoint_every=2)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def command(tmp_path, text, capsys):
    """Runs ``ternforge train`` on the text: exit code and last line of standard error."""

    def call(*arguments):
        code = cli(["train", "--text", str(text), "-o", str(tmp_path / "out"), *arguments])
        return code, capsys.readouterr().err.splitlines()[-1]

    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    return call


def run_of(recipe, digest="text"):
    tokens = np.random.default_rng(1).integers(0, CONFIG.vocab_size, 500)
    return Run(recipe, tokens, digest, CPU)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    whole, parts = run_of(RECIPE), run_of(replace(RECIPE, accumulate=4))
    for run in (whole, parts):
        run.carry += torch.linspace(0, 1, run.carry.numel()).view_as(run.carry)
        run.streams.positions[:] = [0, 20, 40, 60]
    results = [run.gradients() for run in (whole, parts)]
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1])
    for one, other in zip(whole.trained, parts.trained, strict=True):
        assert one.grad is not None
        assert one.grad.abs().max() > 0
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_form_learns(text, tmp_path, fused, precision):
    recipe = replace(RECIPE, steps=25, learning_rate=2e-2, fused=fused, precision=precision)
    result = train(recipe, text, tmp_path / "out", console=module.Console(quiet=True))
    assert result.validation_loss is not None
    assert result.validation_loss < 0.85 * np.log(CONFIG.vocab_size)


def test_bfloat16_leaves_weights_and_state_in_float32():
    run = run_of(replace(RECIPE, precision="bfloat16"))
    exact = run_of(RECIPE)
    assert run.advance() != exact.advance()
    kinds = {p.dtype for p in run.model.parameters()} | {run.carry.dtype}
    kinds |= {v.dtype for s in run.optimiser.state.values() for v in s.values()}
    assert kinds == {torch.float32}


def test_presets_have_their_sizes():
    sizes = {name: sum(np.prod(shape) for tensor, shape in recipe.config.tensor_shapes().items()
                       if tensor.endswith(("_proj.weight", "lm_head.weight")))
             for name, recipe in PRESETS.items()}
    assert 0.8e6 < sizes["1m"] < 1.2e6
    assert 9e6 < sizes["10m"] < 12e6
    assert sizes["370m"] == 341_049_344  # spec section 1
    assert PRESETS["370m"].config == ModelConfig(
        vocab_size=32_000, hidden_size=1024, num_hidden_layers=24)
    with torch.device("meta"):
        model = ReferenceModel(PRESETS["370m"].config)
    assert sum(p.numel() for p in model.parameters()) == 374_108_160
    for name, recipe in PRESETS.items():
        assert load_recipe(name) is recipe


def test_a_preset_trains_from_the_command_line(command, tmp_path):
    options = ["--preset", "1m", "--steps", "1", "--batch", "2", "--accumulate", "2"]
    code, last = command(*options, "--precision", "bfloat16", "--device", "cpu")
    assert code == 0
    assert last.startswith("1m: validation ")
    assert load_recipe(tmp_path / "out") == replace(
        PRESETS["1m"], steps=1, batch=2, accumulate=2, precision="bfloat16",
        result=load_recipe(tmp_path / "out").result)


def test_the_vocabulary_of_a_byte_preset_follows_the_tokenizer(command, tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(ByteTokenizer(sorted(set(TEXT))).to_json())
    code, _ = command("--preset", "1m", "--tokenizer", str(folder), "--steps", "1", "--batch", "1",
                      "--cache", str(tmp_path / "cache"))
    assert code == 0
    assert load_recipe(tmp_path / "out").config.vocab_size == len(set(TEXT))
    assert [p.suffix for p in (tmp_path / "cache").iterdir()] == [".npy"]
    assert command("--preset", "370m", "--tokenizer", str(folder)) == (
        2, ("error: the tokenizer must have the 32000 tokens of recipe '370m', not "
            f"{CONFIG.vocab_size}"))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--preset", "10n"], "unknown preset '10n': did you mean '10m'"),
    ([], "name either a --preset or a --recipe"),
    (["--preset", "1m", "--batch", "5", "--accumulate", "2"],
     "Recipe.accumulate must be a divisor of batch=5, not 2"),
    (["--preset", "1m", "--precision", "int8"],
     "Recipe.precision must be 'float32' or 'bfloat16', not 'int8'"),
    (["--preset", "1m", "--device", "tpu"], "device must be 'auto', 'cpu' or 'cuda', not 'tpu'"),
    (["--preset", "370m"], "recipe '370m' has 32000 tokens, more than there are bytes"),
])
def test_bad_options_are_one_sentence(command, tmp_path, arguments, message):
    code, last = command(*arguments)
    assert code == 2
    assert last.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("raw", "message"), [
    (b"", "must not be empty"),
    (b"to", "must hold at least 20 tokens, not 2"),
    (b"x" * 120, "training text must be longer than window=128 tokens, not 108"),
])
def test_too_little_text_is_one_sentence(command, text, tmp_path, raw, message):
    text.write_bytes(raw)
    code, last = command("--preset", "1m")
    assert code == 2
    assert last.endswith(message)
    assert not (tmp_path / "out").exists()


def test_a_gpu_is_taken_where_torch_sees_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [pick_device(n).type for n in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [pick_device(n).type for n in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(ValueError) as caught:
        pick_device("cuda")
    assert str(caught.value) == "device 'cuda' needs a GPU, but torch sees none: choose 'cpu'"


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_training_that_fails_changes_nothing(command, tmp_path, monkeypatch, what):
    gradients = Run.gradients

    def poisoned(self):
        loss, carry = gradients(self)
        if self.step == 3:
            assert self.trained[0].grad is not None
            self.trained[0].grad[0, 0] = float("nan")
        return (float("nan") if what == "loss" and self.step == 3 else loss), carry

    monkeypatch.setattr(Run, "gradients", poisoned)
    assert command("--recipe", str(tmp_path / "recipe.json")) == (
        2, (f"error: training failed, the {what} is nan in step 4: start anew with --fresh and a "
            "learning rate below 0.004"))
    state = torch.load(tmp_path / "out" / STATE_FILE, weights_only=True)
    assert state["step"] == 2
    assert all(v.isfinite().all() for v in state["model"].values())


def test_a_diverged_step_leaves_the_weights(monkeypatch):
    run = run_of(RECIPE)
    before = [p.detach().clone() for p in run.trained]
    monkeypatch.setattr(run, "loss", lambda *_: (
        torch.stack([p.sum() for p in run.trained]).sum() * float("nan"), run.carry))
    with pytest.raises(Exception, match="the loss is nan in step 1"):
        run.advance()
    assert all(torch.equal(p, old) for p, old in zip(run.trained, before, strict=True))


def test_a_token_beyond_the_vocabulary_is_refused():
    run = run_of(RECIPE)
    run.streams.tokens = run.streams.tokens + CONFIG.vocab_size
    with pytest.raises(ValueError, match=r"^the text holds the token \d+, but the model only "):
        run.advance()


def test_another_text_is_not_continued(tmp_path):
    run_of(RECIPE).save(tmp_path / STATE_FILE)
    run_of(RECIPE).load(tmp_path / STATE_FILE)
    with pytest.raises(ValueError) as caught:
        run_of(RECIPE, "other").load(tmp_path / STATE_FILE)
    assert str(caught.value) == (
        f"{tmp_path / STATE_FILE} must come from the same text and tokenizer")


def test_states_from_before_newer_settings_load(tmp_path):
    recipe = replace(RECIPE, fused=False)
    run = run_of(recipe)
    run.advance()
    run.save(tmp_path / STATE_FILE)
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    del state["text"]
    for name in ("accumulate", "precision", "fused"):
        del state["recipe"][name]
    torch.save(state, tmp_path / STATE_FILE)
    again = run_of(recipe)
    again.load(tmp_path / STATE_FILE)
    assert again.advance() == run.advance()
    with pytest.raises(ValueError, match=r"not one with another 'fused'$"):
        run_of(RECIPE).load(tmp_path / STATE_FILE)


def test_a_full_disk_keeps_the_last_state(command, tmp_path, monkeypatch):
    """The temporary file is the system's device that is always full."""
    out = tmp_path / "out"
    recipe = str(tmp_path / "recipe.json")
    train(RECIPE, tmp_path / "text.txt", out, stop_after=3, console=module.Console(quiet=True))
    saved = (out / STATE_FILE).read_bytes()
    save = Run.save

    def full(self, path):
        monkeypatch.setattr(type(path), "glob", lambda *_: iter(()))
        (out / f".{STATE_FILE}.{os.getpid()}.part").symlink_to("/dev/full")
        save(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", full)
        assert command("--recipe", recipe) == (
            2, "error: the disk is full: free some space and run it again")
    monkeypatch.undo()
    assert (out / STATE_FILE).read_bytes() == saved
    assert [p.name for p in out.iterdir()] == [STATE_FILE]
    assert command("--recipe", recipe)[0] == 0


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from rich.console import Console
from ternforge_model.run import Run
from ternforge_model.train import train

class Dying:
    def __init__(self, file):
        self.file, self.left = file, 3000
    def write(self, raw):
        self.left -= len(raw)
        self.file.write(bytes(raw)[: max(0, len(raw) + min(0, self.left))])
        if self.left < 0:
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return len(raw)
    def flush(self):
        self.file.flush()

save, torch_save = Run.save, torch.save
def dying(self, path):
    if self.step == 4:
        torch.save = lambda state, file: torch_save(state, Dying(file))
    save(self, path)
Run.save = dying
torch.set_num_threads(1)
train(sys.argv[1], sys.argv[2], sys.argv[3], console=Console(quiet=True))
"""


def test_a_kill_within_a_save_keeps_the_last_state(text, tmp_path):
    """A real process kills itself when 3,000 bytes of its second checkpoint are written."""
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "recipe.json", text, out],
                          check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(out.iterdir())
    assert [p.name.split(".")[1] for p in left] == ["training-state", "pt"]
    assert 2000 < left[0].stat().st_size <= 3000
    assert torch.load(out / STATE_FILE, weights_only=True)["step"] == 2
    quiet = module.Console(quiet=True)
    assert train(RECIPE, text, out, console=quiet).finished
    assert train(RECIPE, text, tmp_path / "whole", console=quiet).finished
    assert not left[0].exists()
    assert (out / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors").read_bytes()
