"""Rescales a checkpoint to a wide dynamic range: the hard case for fixed-point formats.

Each change keeps the float function, exactly or nearly; :func:`wide_range` says which. The result
is a checkpoint like any other: it is compared with its own float model, never with the source.
"""

from collections.abc import Mapping

import numpy as np

from .config import ModelConfig

__all__ = ["OUTLIER", "wide_range"]

#: Factor of outliers among norm weights.
OUTLIER = 50.0
#: Input of a BitLinear that the inner norms are scaled to; 16.5 was seen in a released model (spec
#: section 9, fact 6).
LARGEST_INPUT = 20.0
#: Every how many channels one is an outlier.
EVERY = 40


def _readers(config: ModelConfig) -> dict[str, list[str]]:
    """Each plain norm, and the BitLinears that read it."""
    groups = {"model.norm": ["lm_head"]}
    for n in range(config.num_hidden_layers):
        at = f"model.layers.{n}"
        groups[f"{at}.attn_norm"] = [f"{at}.attn.{k}_proj" for k in "ifg"]
        groups[f"{at}.attn.g_norm"] = [f"{at}.attn.o_proj"]
        groups[f"{at}.mlp_norm"] = [f"{at}.mlp.gate_proj"]
    return groups


def wide_range(
    config: ModelConfig, tensors: Mapping[str, np.ndarray], *, outlier: float = OUTLIER,
    massive: float = 1.0,
) -> dict[str, np.ndarray]:
    """Rescale a checkpoint.

    1. Residual channels 7, 47, ... carry the embedding alone: the rows that would write to them are
       zeroed. This changes the model a little, and allows the next step.
    2. Their embeddings are divided by ``outlier`` (every other one multiplied by ``massive``, if
       that is not 1), and every plain norm that reads the stream makes up for it: exact.
    3. Of the norm inside ``o_proj``, channels 3, 19, ... are ``outlier`` times what they were, and
       the plain norm before it makes up for it: the int8 codes stay, and the root mean square of
       the plain norm's vector changes by little more than a constant, which is made up for too.
    4. The weights of every inner norm are scaled so that a vector with a largest element of four
       times its root mean square makes an input of 20, its matrix by the inverse: exact.

    Parameters
    ----------
    config, tensors : ModelConfig, mapping
        A checkpoint, float arrays by upstream's names.
    outlier : float
        Factor of the norm weights.
    massive : float
        Factor of the residual's own outliers.

    Returns
    -------
    dict
        Float32 arrays by the same names.
    """
    new = {name: np.array(value, np.float64) for name, value in tensors.items()}
    d = config.hidden_size
    small, large = np.arange(7, d, EVERY), np.arange(27, d, EVERY)
    if massive == 1:
        large = large[:0]
    for n in range(config.num_hidden_layers):
        for writer in ("attn.o_proj", "mlp.down_proj"):
            weight = new[f"model.layers.{n}.{writer}.weight"]
            mean = np.abs(weight).mean()
            weight[[*small, *large]] = 0
            weight *= mean / np.abs(weight).mean()
    stream = np.ones(d)
    stream[small], stream[large] = 1 / outlier, massive
    new["model.embeddings.weight"] *= stream
    for outer, readers in _readers(config).items():
        weight = new[f"{outer}.weight"]
        if not outer.endswith("g_norm"):
            weight /= stream
            continue
        inner = new[f"{readers[0]}.norm.weight"]
        chosen = np.arange(3, len(weight), 16)
        inner[chosen] *= outlier
        before = (weight**2).mean()
        weight[chosen] /= outlier
        inner *= np.sqrt((weight**2).mean() / before)
    for name in list(new):
        if name.endswith("_proj.norm.weight") or name == "lm_head.norm.weight":
            factor = LARGEST_INPUT / (4 * np.median(np.abs(new[name])))
            new[name] *= factor
            new[name.replace(".norm.weight", ".weight")] /= factor
    return {name: value.astype(np.float32) for name, value in new.items()}
