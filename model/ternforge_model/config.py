"""Model configuration with the upstream keys (spec section 1). Imports no torch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["ModelConfig"]

_POSITIVE = ("vocab_size", "hidden_size", "num_hidden_layers", "num_heads", "hidden_ratio")
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
#: MLP widths that follow from the rule are rounded up to a multiple of this.
_MLP_MULTIPLE = 256


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape and constants of one HGRNBit model (spec section 1).

    Raises
    ------
    TypeError
        A field has the wrong type.
    ValueError
        A field is out of range, or asks for something that upstream cannot run either.
    """

    vocab_size: int = 32000  #: V, tokens
    hidden_size: int = 2048  #: d, width of the residual stream
    num_hidden_layers: int = 24  #: L
    num_heads: int = 1  #: splits the state, no effect on the arithmetic
    expand_ratio: int | float = 1  #: mixer width e over d; with a lower bound only 1 works
    attn_mode: str = "fused_recurrent"  #: the only mode upstream accepts
    use_short_conv: bool = False  #: must stay false
    use_lower_bound: bool = True  #: learned lower bound of the forget gate, layers > 0
    hidden_ratio: int | float = 4  #: MLP width rule, see :attr:`mlp_width`
    intermediate_size: int | None = None  #: m, overrides the rule when set
    rms_norm_eps: float = 1e-6  #: eps of the norms outside a BitLinear
    tie_word_embeddings: bool = False  #: must stay false
    bos_token_id: int | None = 1
    eos_token_id: int | None = 2
    pad_token_id: int | None = None
    initializer_range: float = 0.02  #: standard deviation of fresh weights
    model_type: str = "hgrn_bit"
    #: Keys of the file that this class does not interpret; written back by :meth:`to_json`.
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for name in _POSITIVE:
            kinds = (int, float) if name == "hidden_ratio" else int
            self._check(name, kinds, "a positive number", lambda v: v > 0)
        if self.intermediate_size is not None:
            self._check("intermediate_size", int, "a positive integer or null", lambda v: v > 0)
        for name in _TOKENS:
            if getattr(self, name) is not None:
                self._check(name, int, "a token number or null", lambda v: v >= 0)
        for name in ("rms_norm_eps", "initializer_range"):
            self._check(name, (int, float), "positive and finite", lambda v: 0 < v < float("inf"))
        for name in ("use_short_conv", "use_lower_bound", "tie_word_embeddings"):
            if not isinstance(getattr(self, name), bool):
                self._refuse(name, "true or false", TypeError)
        self._check("expand_ratio", (int, float), "positive and finite",
                    lambda v: 0 < v < float("inf"))
        if self.expand_ratio != 1 and self.use_lower_bound:
            self._refuse("expand_ratio", "1 (upstream's lower bound has width hidden_size)")
        if self.use_short_conv:
            self._refuse("use_short_conv", "false (upstream calls its convolution wrongly)")
        if self.tie_word_embeddings:
            self._refuse("tie_word_embeddings", "false (the ternary head has its own weights)")
        if self.attn_mode != "fused_recurrent":
            self._refuse("attn_mode", "'fused_recurrent' (upstream accepts nothing else)")
        if self.model_type != "hgrn_bit":
            self._refuse("model_type", "'hgrn_bit'")
        if self.hidden_size % self.num_heads:
            self._refuse("hidden_size", f"a multiple of num_heads={self.num_heads}")
        if self.mixer_width % self.num_heads or not self.mixer_width:
            self._refuse("expand_ratio", "such that hidden_size * expand_ratio is a multiple of "
                                         f"num_heads={self.num_heads}")

    def _check(self, name: str, kinds, rule: str, accepts) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, kinds):
            self._refuse(name, rule, TypeError)
        if not accepts(value):
            self._refuse(name, rule)

    def _refuse(self, name: str, rule: str, error: type[Exception] = ValueError) -> None:
        raise error(f"ModelConfig.{name} must be {rule}, not {getattr(self, name)!r}")

    @property
    def mixer_width(self) -> int:
        """Width e of the token mixer and of one layer's state."""
        return int(self.hidden_size * self.expand_ratio)

    @property
    def mlp_width(self) -> int:
        """Width m of the channel mixer: ``intermediate_size``, or 8d/3 rounded up to 256."""
        if self.intermediate_size is not None:
            return self.intermediate_size
        width = int(self.hidden_size * self.hidden_ratio * 2 / 3)
        return -(-width // _MLP_MULTIPLE) * _MLP_MULTIPLE

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Configuration from upstream's keys; the ones it does not know go to ``extra``."""
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__ and k != "extra"}
        extra = {k: v for k, v in values.items() if k not in known}
        return cls(**known, extra=extra)

    @classmethod
    def from_json(cls, path: str | Path) -> "ModelConfig":
        """Read ``config.json``.

        Raises
        ------
        ValueError
            The file is missing, is not JSON, or holds a value the class refuses; the message
            names the file.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} must exist, but there is no such file") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} must be readable JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"{path} must hold one JSON object, not {type(values).__name__}")
        for name in ("vocab_size", "hidden_size", "num_hidden_layers"):
            if name not in values:
                raise ValueError(f"{path} must hold the key {name!r}")
        try:
            return cls.from_dict(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """All keys as upstream writes them, ``extra`` included."""
        values = asdict(self)
        return {**values.pop("extra"), **values}

    def to_json(self) -> str:
        """Text of ``config.json``: sorted keys, two-space indent, newline at the end."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of a checkpoint (spec section 2), 15 L + 5 of them."""
        d, e, m = self.hidden_size, self.mixer_width, self.mlp_width
        shapes: dict[str, tuple[int, ...]] = {"model.embeddings.weight": (self.vocab_size, d)}
        if self.use_lower_bound:
            shapes["model.lower_bounds"] = (self.num_hidden_layers, d)
        for layer in range(self.num_hidden_layers):
            at = f"model.layers.{layer}."
            shapes[at + "attn_norm.weight"] = (d,)
            for name in ("i", "f", "g"):
                shapes[at + f"attn.{name}_proj.weight"] = (e, d)
                shapes[at + f"attn.{name}_proj.norm.weight"] = (d,)
            shapes[at + "attn.g_norm.weight"] = (e,)
            shapes[at + "attn.o_proj.weight"] = (d, e)
            shapes[at + "attn.o_proj.norm.weight"] = (e,)
            shapes[at + "mlp_norm.weight"] = (d,)
            shapes[at + "mlp.gate_proj.weight"] = (2 * m, d)
            shapes[at + "mlp.gate_proj.norm.weight"] = (d,)
            shapes[at + "mlp.down_proj.weight"] = (d, m)
            shapes[at + "mlp.down_proj.norm.weight"] = (m,)
        shapes["model.norm.weight"] = (d,)
        shapes["lm_head.weight"] = (self.vocab_size, d)
        shapes["lm_head.norm.weight"] = (d,)
        return shapes
