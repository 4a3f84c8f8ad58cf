"""Ctrl-C on a terminal, which reaches the command and every tool in its process group."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ternforge_model.checkpoint import save_tensors
from ternforge_model.recipe import load_recipe
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint

#: The command line, with a core that is quick to compile.
SCRIPT = """
from ternforge.cli import main
from ternforge.config import CoreConfig
from ternforge.presets import PRESETS

PRESETS["tiny"] = CoreConfig(lanes=2, vector_depth=256, state_depth=64, max_rows=64, max_fan_in=64,
                             memory_beats=2048)
main()
"""


def descendants(process: int) -> dict[int, str]:
    """Command lines of all processes below ``process``."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            line = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue  # it has ended meanwhile
        if parent == process:
            found |= {int(folder.name): line, **descendants(int(folder.name))}
    return found


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def interrupt(arguments: list[str], folder: Path, ready: Callable[[int, Path], bool],
              cache: Path | None = None) -> str:
    """Run a command in ``folder`` and interrupt it once it is ``ready``; what it said."""
    environment = dict(os.environ)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
    log = folder.parent / "stderr.txt"
    with log.open("w") as stderr, subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True) as process:
        end = time.monotonic() + 300
        while not ready(process.pid, log):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        below = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130, log.read_text()
    assert [line for number, line in below.items() if alive(number)] == []
    return log.read_text()


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    return path


def test_build(folder, tmp_path):
    (tmp_path / "cache").mkdir()
    told = interrupt(
        ["build", "--board", "icebreaker", "--model", "shakespeare-up5k", "-o", "out"], folder,
        lambda pid, log: any("yosys" in line for line in descendants(pid).values()),
        tmp_path / "cache")
    assert told == "interrupted\n"
    assert list(folder.iterdir()) == []
    assert [path for path in (tmp_path / "cache").rglob("*")
            if path.is_file() and path.suffix != ".lock"] == []


def test_simulate(folder, tmp_path):
    toy = tmp_path / "toy"
    toy.mkdir()
    save_tensors(toy, *random_checkpoint(1, d=16, layers=1, m=24, vocab=16))
    (toy / "tokenizer.json").write_text(ByteTokenizer(b"abcdefghijklmnop").to_json())
    told = interrupt(["simulate", "--board", "tiny", "--model", str(toy), "--prompt", "abc",
                      "--tokens", "1000000"], folder, lambda pid, log: "[token" in log.read_text())
    assert told.endswith("\ninterrupted\n")
    assert "Traceback" not in told
    assert list(folder.iterdir()) == []


def train_command(tmp_path: Path, *, compiled: bool) -> list[str]:
    recipe = replace(load_recipe("shakespeare-up5k"), steps=100_000, batch=2, window=32,
                     compile=compiled, checkpoint_every=2)
    vocabulary = bytes(range(40, 40 + recipe.config.vocab_size))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    (tmp_path / "text").write_bytes(vocabulary * 200)
    return ["train", "--recipe", str(tmp_path / "recipe.json"), "--text", str(tmp_path / "text"),
            "-o", "model"]


def test_train(folder, tmp_path):
    pytest.importorskip("torch")
    command, done = train_command(tmp_path, compiled=False), 0
    for _ in range(2):  # the second time it goes on from where it was stopped
        told = interrupt(command, folder, lambda pid, log: "loss" in log.read_text())
        stopped, last = told.splitlines()[-2:]
        assert stopped.startswith("stopped at step ")
        assert stopped.endswith(" of 100000; run again to continue")
        assert last == "interrupted"
        assert "Traceback" not in told
        assert [path.name for path in (folder / "model").iterdir()] == ["training-state.pt"]
        assert int(stopped.split()[3]) > done
        done = int(stopped.split()[3])


def test_train_while_it_compiles(folder, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    told = interrupt(train_command(tmp_path, compiled=True), folder,
                     lambda pid, log: any("g++" in line for line in descendants(pid).values()))
    assert told == "interrupted\n"
    assert list(folder.iterdir()) == []
