"""The reference as a checkpoint and back, and the compact form of the shipped models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .checkpoint import open_checkpoint, save_tensors
from .ops import quantise_embeddings, quantise_weights
from .reference import ReferenceModel

__all__ = ["compact_matrix", "export_model", "load_checkpoint", "save_reference"]


def load_checkpoint(folder: str | Path) -> ReferenceModel:
    """Float32 reference model of a checkpoint in upstream's format (spec sections 1, 2 and 8).

    Parameters
    ----------
    folder : str or Path
        Folder with ``config.json`` and ``model.safetensors``, or an index and its shards, in
        float32, bfloat16, float16 or float64.

    Returns
    -------
    ReferenceModel
        In eval mode: ``model(ids)`` maps int64 ``[B, T]`` to float32 logits ``[B, T, V]``;
        ``model(ids, state=state, return_state=True)`` also takes and returns the state
        ``[L, B, e]``, see :meth:`ReferenceModel.forward`.

    Raises
    ------
    ValueError
        The folder is not such a checkpoint, see :class:`~ternforge_model.checkpoint.Checkpoint`.
    """
    with open_checkpoint(folder) as checkpoint:
        with torch.device("meta"):  # no memory, no random weights
            model = ReferenceModel(checkpoint.config)
        # Tensor by tensor: the model's own float32 weights are all that is held.
        model.load_state_dict(
            {name: torch.from_numpy(value) for name, value in checkpoint.items()}, assign=True)
    return model.eval()


def save_reference(model: ReferenceModel, folder: str | Path) -> None:
    """Write the latent float32 weights of ``model`` in upstream's layout."""
    values = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    save_tensors(folder, model.config, values)


def compact_matrix(weight: torch.Tensor) -> np.ndarray:
    """Three-valued float16 matrix with the codes of ``weight`` and nearly its scale.

    The quantiser divides by the mean magnitude (spec section 3.3). A matrix ``t * v`` has the
    mean ``v * p``, ``p`` being the share of nonzero codes, so ``v = a / p`` keeps the scale ``a``
    up to the rounding of ``v`` to float16.

    Returns
    -------
    numpy.ndarray
        float16, shape of ``weight``; compresses to about 1.6 bits per weight.
    """
    codes, scale = quantise_weights(weight.detach().float())
    share = codes.abs().mean().item()
    value = np.float16(scale.item() / share if share else 0.0)
    return codes.numpy().astype(np.float16) * value


def export_model(
    model: ReferenceModel, embedding_fraction_bits: int | None, folder: str | Path
) -> ReferenceModel:
    """Write a trained model compactly and return the reference of the file as stored.

    Matrices become :func:`compact_matrix`, embeddings multiples of
    ``2**-embedding_fraction_bits``, and everything is float16, which holds these values exactly;
    the remaining vectors are rounded to float16.
    """
    values = {}
    for name, parameter in model.state_dict().items():
        value = parameter.detach()
        if name.endswith(("_proj.weight", "lm_head.weight")):
            values[name] = compact_matrix(value)
            continue
        if name == "model.embeddings.weight" and embedding_fraction_bits is not None:
            value = quantise_embeddings(value, embedding_fraction_bits)
        values[name] = value.numpy().astype(np.float16)
    config = model.config
    extra = {
        **config.extra,
        "architectures": ["HGRNBitForCausalLM"],
        "torch_dtype": "float16",
    }
    save_tensors(folder, replace(config, extra=extra), values)
    return load_checkpoint(folder)
