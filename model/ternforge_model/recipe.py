"""Training recipes: small JSON files that say everything about one training run."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ternforge.errors import suggestion

from .config import ModelConfig

__all__ = ["PRECISIONS", "PRESETS", "Recipe", "load_recipe", "preset_names", "shipped_folder"]


#: Types that matrix products can have.
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of one training run.

    Raises
    ------
    TypeError
        A field has the wrong type.
    ValueError
        A field is out of range.
    """

    name: str  #: lower-case name of the model
    config: ModelConfig  #: shape; ``initializer_range`` is the deviation of fresh weights
    steps: int  #: optimiser steps
    batch: int = 16  #: parallel text streams
    accumulate: int = 1  #: parts of the batch that are computed one after the other
    window: int = 128  #: tokens per stream and step; the state is carried between windows
    seed: int = 1  #: of the weights, the text positions and the dropout
    learning_rate: float = 4e-3  #: peak, reached after ``warmup`` steps, then a cosine
    final_share: float = 0.02  #: last learning rate over the peak
    warmup: int = 100  #: steps of linear warm-up
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.05  #: of the ternary matrices; nothing else decays
    grad_clip: float = 1.0  #: largest norm of the gradient
    dropout: float = 0.0  #: share of each mixer's output dropped
    restart: float = 0.05  #: chance per window that a stream jumps, with a zero state
    embedding_fraction_bits: int = 5  #: embeddings are 8-bit multiples of 2**-this
    embedding_std: float = 0.7  #: deviation of fresh embeddings
    freeze_inner_norms: bool = True  #: inner norms stay ones, except down_proj's
    compile: bool = True  #: fuse element-wise chains with torch.compile
    fused: bool = False  #: train with the fused forms of :mod:`.bitlinear`, which need less memory
    precision: str = "float32"  #: of the matrix products: ``float32`` or ``bfloat16``
    evaluate_every: int = 200  #: steps between looks at a slice of the validation text
    checkpoint_every: int = 100  #: steps between resumable checkpoints
    notes: str = ""  #: remarks for people
    result: dict[str, Any] = field(default_factory=dict)  #: written when training ends

    def __post_init__(self):
        if not isinstance(self.config, ModelConfig):
            raise TypeError(f"Recipe.config must be a ModelConfig, not {self.config!r}")
        for item in fields(self):
            value, kind = getattr(self, item.name), item.type
            if kind is int and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"Recipe.{item.name} must be an integer, not {value!r}")
            if kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise TypeError(f"Recipe.{item.name} must be a number, not {value!r}")
            if kind in (str, bool) and not isinstance(value, kind):
                raise TypeError(f"Recipe.{item.name} must be a {kind.__name__}, not {value!r}")
        for name in ("steps", "batch", "accumulate", "window", "evaluate_every",
                     "checkpoint_every"):
            self._require(name, "positive", getattr(self, name) > 0)
        for name in ("learning_rate", "grad_clip", "embedding_std"):
            self._require(name, "positive", getattr(self, name) > 0)
        for name in ("seed", "warmup", "weight_decay"):
            self._require(name, "zero or more", getattr(self, name) >= 0)
        for name in ("dropout", "beta1", "beta2"):
            self._require(name, "in [0, 1)", 0 <= getattr(self, name) < 1)
        for name in ("restart", "final_share"):
            self._require(name, "in [0, 1]", 0 <= getattr(self, name) <= 1)
        self._require("accumulate", f"a divisor of batch={self.batch}",
                      self.batch % self.accumulate == 0)
        self._require("precision", " or ".join(map(repr, PRECISIONS)), self.precision in PRECISIONS)
        if self.fused:  # torch.compile cannot look into the fused forms
            self._require("compile", "false where fused is true", not self.compile)
        bits = self.embedding_fraction_bits
        self._require("embedding_fraction_bits", "in [0, 15]", 0 <= bits <= 15)

    def _require(self, name: str, rule: str, holds: bool) -> None:
        if not holds:
            raise ValueError(f"Recipe.{name} must be {rule}, not {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Recipe from the object of a recipe file; unknown keys are refused."""
        unknown = sorted(set(values) - {item.name for item in fields(cls)})
        if unknown:
            raise ValueError(f"Recipe keys must be known fields, not {unknown[0]!r}")
        for name in ("name", "config", "steps"):
            if name not in values:
                raise ValueError(f"Recipe must hold the key {name!r}")
        return cls(**{**values, "config": ModelConfig.from_dict(values["config"])})

    def to_dict(self) -> dict[str, Any]:
        """Object of a recipe file."""
        return {**asdict(self), "config": self.config.to_dict()}

    def to_json(self) -> str:
        """Text of a recipe file: two-space indent, newline at the end."""
        return json.dumps(self.to_dict(), indent=2) + "\n"


def shipped_folder() -> Path:
    """Folder that holds one sub-folder per shipped model."""
    return Path(__file__).parent / "shipped"


def _preset(name: str, width: int, layers: int, mlp_width: int | None, vocab: int,
            **settings: Any) -> Recipe:
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None} if vocab == 256 else {}
    config = ModelConfig(
        vocab_size=vocab, hidden_size=width, num_hidden_layers=layers, intermediate_size=mlp_width,
        initializer_range=settings.pop("deviation"), **ends)
    return Recipe(name=name, config=config, fused=True, compile=False, **settings)


#: Recipes to start from, by size; 256 tokens are the byte values. The last one has the shapes of
#: upstream's smallest model.
PRESETS = {
    "1m": _preset("1m", 128, 4, 384, 256, deviation=0.04, steps=5000, batch=32, window=128,
                  learning_rate=4e-3, warmup=100),
    "10m": _preset("10m", 384, 6, None, 256, deviation=0.025, steps=20_000, batch=16, window=256,
                   learning_rate=2e-3, warmup=500, freeze_inner_norms=False),
    "370m": _preset("370m", 1024, 24, None, 32_000, deviation=0.02, steps=100_000, batch=64,
                    accumulate=16, window=512, learning_rate=1e-3, warmup=2000,
                    freeze_inner_norms=False, evaluate_every=1000),
}


def preset_names() -> list[str]:
    """Names that :func:`load_recipe` knows without a file."""
    return [*PRESETS, *sorted(p.parent.name for p in shipped_folder().glob("*/recipe.json"))]


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe: a preset, the name of a shipped model, a file, or a folder that holds one.

    Raises
    ------
    ValueError
        There is no such recipe, or its file is not a valid one; the message names the file.
    """
    if str(name_or_path) in PRESETS:
        return PRESETS[str(name_or_path)]
    path = shipped_folder() / str(name_or_path) / "recipe.json"
    if not path.is_file():
        path = Path(name_or_path)
        if path.is_dir():
            path /= "recipe.json"
    if not path.is_file():
        raise ValueError(
            f"unknown recipe {str(name_or_path)!r} (neither shipped nor a file): "
            f"{suggestion(str(name_or_path), preset_names())}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("the file must hold one JSON object")
        return Recipe.from_dict(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
