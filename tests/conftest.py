"""A toy model and cores that hold it, for tests that run whole commands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ternforge import presets
from ternforge.cli import run
from ternforge.config import CoreConfig
from ternforge_model.checkpoint import save_tensors
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory) -> Path:
    """Folder of a random model of two layers that knows the letters a to p."""
    path = tmp_path_factory.mktemp("models") / "toy"
    path.mkdir()
    config, tensors = random_checkpoint(3, d=16, layers=2, m=24, vocab=16)
    save_tensors(path, config, tensors)
    (path / "tokenizer.json").write_text(ByteTokenizer(b"abcdefghijklmnop").to_json())
    return path


@pytest.fixture
def invoke(capsys, tmp_path, monkeypatch):
    """Runs a command line in an empty folder; returns exit code, standard output and error."""
    empty = tmp_path / "here"
    empty.mkdir()
    monkeypatch.chdir(empty)

    def call(*words):
        code = run([*map(str, words)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def toy_cores() -> Iterator[None]:
    """Both boards with the smallest cores that hold the toy, in the kind of memory that each has.

    ``icebreaker`` keeps its image in single-port RAM, ``ulx3s-85f`` in initialised block RAM,
    and it has the lanes of its family.
    """
    small: Any = {"vector_depth": 64, "state_depth": 32, "max_rows": 32, "max_fan_in": 32}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "up5k", CoreConfig(
            lanes=2, memory_beats=1280, single_port_beats=1024, bank_beats=256, **small))
        patch.setitem(presets.PRESETS, "ecp5-85f", CoreConfig(
            lanes=4, elements=2, memory_beats=896, bank_beats=256, lane="auto", **small))
        yield
