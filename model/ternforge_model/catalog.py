"""Finding models: the shipped ones by name, any other by its folder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ternforge.errors import UserError, suggestion

from .checkpoint import INDEX_FILE, TENSOR_FILE, Checkpoint, open_checkpoint
from .config import ModelConfig
from .convert import convert
from .data import load_text
from .program import Program
from .recipe import shipped_folder
from .tokenizer import Tokenizer, open_tokenizer

__all__ = ["Model", "find_model", "open_model", "shipped_names"]

_TENSORS = (TENSOR_FILE, INDEX_FILE)


def shipped_names() -> list[str]:
    """Names of the models that are part of the distribution, sorted."""
    folders = (path.parent for path in shipped_folder().glob("*/config.json"))
    return sorted(folder.name for folder in folders if _holds_model(folder))


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TENSORS)


def find_model(model: str | Path) -> Path:
    """Folder of a model, from the name of a shipped one or from a path.

    Raises
    ------
    UserError
        There is no such model, or the folder holds no checkpoint.
    """
    if str(model) in shipped_names():
        return shipped_folder() / str(model)
    folder = Path(model)
    if not folder.is_dir():
        raise UserError(f"unknown model {str(model)!r} (neither shipped nor a folder): "
                        f"{suggestion(str(model), shipped_names())}")
    if not _holds_model(folder):
        raise UserError(f"folder {str(model)!r} holds no checkpoint ({' or '.join(_TENSORS)})")
    return folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model read from disk; the parts are made when first asked for."""

    name: str  #: shipped name, or name of the folder
    folder: Path  #: where it lies
    calibration: Path | None = None  #: text for the formats; None: the model writes its own

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Configuration, and float32 tensors that are read when asked for."""
        return open_checkpoint(self.folder)

    @property
    def config(self) -> ModelConfig:
        """Configuration."""
        return self.checkpoint.config

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer; of as many tokens as the model has."""
        return open_tokenizer(self.folder, self.config.vocab_size)

    @cached_property
    def program(self) -> Program:
        """Integer program; it depends on the checkpoint and the calibration text alone."""
        return self.convert()

    @cached_property
    def calibration_ids(self) -> np.ndarray | None:
        """Tokens of the calibration text, int64 ``[N]``; None without one."""
        if self.calibration is None:
            return None
        return load_text(self.calibration, self.tokenizer)[0]

    def convert(self, progress: Callable[[int, int], None] | None = None) -> Program:
        """Make ``program``; ``progress`` is called with (parts of calibration done, in all)."""
        with self.checkpoint as checkpoint:
            return convert(checkpoint.config, checkpoint, self.calibration_ids, name=self.name,
                           progress=progress)


def open_model(model: str | Path, calibration: Path | None = None) -> Model:
    """The model that :func:`find_model` finds, with the text that its formats come from."""
    folder = find_model(model)
    return Model(name=folder.resolve().name, folder=folder, calibration=calibration)
