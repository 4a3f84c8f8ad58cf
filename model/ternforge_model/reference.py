"""Float32 PyTorch reference of the MatMul-free language model (spec sections 3 to 5)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .bitlinear import (
    Prologue,
    bit_linears,
    fused_bit_linears,
    fused_recurrence,
    recurrence,
    widen,
)
from .config import ModelConfig
from .ops import (
    BITLINEAR_EPS,
    quantise_activations,
    quantise_embeddings,
    quantise_weights,
    rms_norm,
    straight_through,
)

__all__ = ["BitLinear", "HGRNBitModel", "ReferenceModel"]


class _Norm(nn.Module):
    """Weight vector of one RMSNorm, under upstream's name."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class BitLinear(nn.Module):
    """Norm, 8-bit activations, ternary weights (spec section 3.4).

    Parameters
    ----------
    fan_in, fan_out : int
        Width of the input and of the output.
    """

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))
        self.norm = _Norm(fan_in)
        self._codes: tuple[int, Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> "BitLinear":
        """Switch the mode; forgets the codes, since fused optimisers change weights unnoticed."""
        self._codes = None
        return super().train(mode)

    def norm_weight(self) -> Tensor | None:
        """Weight vector of the inner norm; ``None`` when it is frozen at ones."""
        return self.norm.weight if self.norm.weight.requires_grad or not self.training else None

    def ternary(self) -> tuple[Tensor, Tensor]:
        """Codes and scale of the weights, computed again only when the weights changed."""
        version = self.weight._version
        if self._codes is None or self._codes[0] != version:
            self._codes = (version, *quantise_weights(self.weight.detach()))
        return self._codes[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., fan_in]`` to ``[..., fan_out]``, float32.

        In training mode the dequantised values are multiplied and both quantisers pass gradients
        straight through; in eval mode the codes are multiplied (exact: every partial sum is an
        integer below 2**24) and scaled once.
        """
        return _bit_linears(bit_linears, [self], _plain, x)[0]


def _plain(x: Tensor) -> Tensor:
    return x


def _bit_linears(
    form: Callable[..., list[Tensor]], maps: Sequence[BitLinear], prologue: Prologue,
    *inputs: Tensor,
) -> list[Tensor]:
    """Apply several BitLinears to ``prologue(*inputs)``; ``form`` is the one for training."""
    if maps[0].training:
        return form(prologue, inputs, [m.norm_weight() for m in maps], [m.weight for m in maps])
    x, outputs = prologue(*inputs), []
    for part in maps:
        codes, scale = quantise_activations(rms_norm(x, part.norm_weight(), BITLINEAR_EPS))
        trits, size = part.ternary()
        outputs.append(functional.linear(codes, trits) * (size / scale))
    return outputs


class _TokenMixer(nn.Module):
    """Gated linear recurrence (spec section 4.1)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        d, e = config.hidden_size, config.mixer_width
        self.i_proj, self.f_proj, self.g_proj = (BitLinear(d, e) for _ in range(3))
        self.g_norm = _Norm(e)
        self.o_proj = BitLinear(e, d)
        self.eps = config.rms_norm_eps

    def forward(
        self, x: Tensor, outer: Tensor, bound: Tensor | None, state: Tensor, fused: bool
    ) -> tuple[Tensor, Tensor]:
        form, scan = (fused_bit_linears, fused_recurrence) if fused else (bit_linears, recurrence)
        normed = partial(rms_norm, eps=self.eps)
        i, f, g = _bit_linears(form, [self.i_proj, self.f_proj, self.g_proj], normed, x, outer)
        hs = scan(i, f, bound, state)
        mixed, = _bit_linears(form, [self.o_proj], self._gated, g, self.g_norm.weight, hs)
        return mixed, hs[:, -1]

    def _gated(self, g: Tensor, weight: Tensor, hs: Tensor) -> Tensor:
        return rms_norm(widen(g), weight, self.eps) * functional.silu(hs)


class _ChannelMixer(nn.Module):
    """SwiGLU (spec section 4.2): ``gate_proj`` holds the gate rows, then the value rows."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = BitLinear(config.hidden_size, 2 * config.mlp_width)
        self.down_proj = BitLinear(config.mlp_width, config.hidden_size)
        self.eps = config.rms_norm_eps

    def forward(self, x: Tensor, outer: Tensor, fused: bool) -> Tensor:
        form = fused_bit_linears if fused else bit_linears
        both, = _bit_linears(form, [self.gate_proj], partial(rms_norm, eps=self.eps), x, outer)
        return _bit_linears(form, [self.down_proj], _swiglu, both)[0]


def _swiglu(both: Tensor) -> Tensor:
    u, v = both.chunk(2, -1)
    return functional.silu(widen(u)) * widen(v)


class _Layer(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attn_norm = _Norm(config.hidden_size)
        self.attn = _TokenMixer(config)
        self.mlp_norm = _Norm(config.hidden_size)
        self.mlp = _ChannelMixer(config)

    def forward(
        self, x: Tensor, bound: Tensor | None, state: Tensor, dropout: float, fused: bool
    ) -> tuple[Tensor, Tensor]:
        mixed, state = self.attn(x, self.attn_norm.weight, bound, state, fused)
        x = x + functional.dropout(mixed, dropout, self.training)
        mixed = self.mlp(x, self.mlp_norm.weight, fused)
        return x + functional.dropout(mixed, dropout, self.training), state


class HGRNBitModel(nn.Module):
    """Embeddings, layers and final norm: everything under the prefix ``model.``."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.use_lower_bound:
            self.lower_bounds = nn.Parameter(
                torch.zeros(config.num_hidden_layers, config.hidden_size)
            )
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = _Norm(config.hidden_size)


def _check_tokens(ids: Tensor, vocab_size: int) -> None:
    if ids.is_floating_point():
        raise ValueError(f"ids must be integers, not {ids.dtype}")
    for token in (int(ids.min()), int(ids.max())):
        if not 0 <= token < vocab_size:
            raise ValueError(f"ids must be tokens in 0..{vocab_size - 1}, not {token}")


class ReferenceModel(nn.Module):
    """The whole language model; parameters carry upstream's tensor names (spec section 2).

    A fresh model is in eval mode and holds ones in every norm, zeros in the lower bounds and normal
    values of deviation ``config.initializer_range`` in every matrix. Train mode and eval mode
    compute the same formulas, see :meth:`BitLinear.forward`.

    Parameters
    ----------
    config : ModelConfig
        Shape of the model.
    dropout : float
        Share of each mixer's output that training mode drops.
    embedding_fraction_bits : int or None
        When set, the embeddings are rounded to 8-bit multiples of ``2**-bits`` on the fly, with
        gradients passed straight through; ``None`` takes them as they are (spec section 5).
    fused : bool
        Train with the fused forms of :mod:`.bitlinear`, which need less memory.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        dropout: float = 0.0,
        embedding_fraction_bits: int | None = None,
        fused: bool = False,
    ):
        if not isinstance(config, ModelConfig):
            raise TypeError(f"ReferenceModel config must be a ModelConfig, not {config!r}")
        super().__init__()
        self.config = config
        self.dropout = dropout
        self.embedding_fraction_bits = embedding_fraction_bits
        self.fused = fused
        self.model = HGRNBitModel(config)
        self.lm_head = BitLinear(config.hidden_size, config.vocab_size)
        for parameter in self.parameters():
            if parameter.dim() == 2 and parameter is not getattr(self.model, "lower_bounds", None):
                nn.init.normal_(parameter, std=config.initializer_range)
        self.eval()

    def initial_state(self, batch: int) -> Tensor:
        """Zero state, float32, shape ``[L, batch, e]`` (spec section 7)."""
        shape = (self.config.num_hidden_layers, batch, self.config.mixer_width)
        return torch.zeros(shape, device=self.lm_head.weight.device)

    def gate_bounds(self) -> list[Tensor | None]:
        """Lower bound of each layer's forget gate, ``None`` in layer 0 (spec section 4.3)."""
        layers = self.config.num_hidden_layers
        if not self.config.use_lower_bound:
            return [None] * layers
        share = torch.softmax(self.model.lower_bounds, 0)
        total = torch.cumsum(share, 0) - share[:1]
        return [None, *total[1:]]

    @overload
    def forward(
        self, ids: Tensor, state: Tensor | None = None, return_state: Literal[False] = False
    ) -> Tensor: ...
    @overload
    def forward(
        self, ids: Tensor, state: Tensor | None = None, *, return_state: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...
    def forward(
        self, ids: Tensor, state: Tensor | None = None, return_state: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of the next token at every position (spec section 5).

        Parameters
        ----------
        ids : Tensor
            Token numbers, int64, shape ``[B, T]``.
        state : Tensor or None
            Float32, shape ``[L, B, e]``: state after the tokens before ``ids``; ``None`` is zero.
        return_state : bool
            Also return the state after the last token.

        Returns
        -------
        Tensor or tuple of Tensor
            Logits, float32, ``[B, T, V]``; with ``return_state`` also the state ``[L, B, e]``.

        Raises
        ------
        ValueError
            ``ids`` is not a non-empty ``[B, T]`` tensor of tokens, or ``state`` has another shape.
        """
        config = self.config
        if ids.dim() != 2 or 0 in ids.shape:
            raise ValueError(f"ids must be a non-empty [B, T] tensor, not {list(ids.shape)}")
        if not self.training:  # a training step would wait for the device
            _check_tokens(ids, config.vocab_size)
        want = (config.num_hidden_layers, ids.shape[0], config.mixer_width)
        if state is None:
            state = self.initial_state(ids.shape[0])
        elif tuple(state.shape) != want:
            raise ValueError(f"state must have shape {list(want)}, not {list(state.shape)}")
        hidden: Tensor = state
        table = self.model.embeddings.weight
        if self.embedding_fraction_bits is not None:
            grid = quantise_embeddings(table.detach(), self.embedding_fraction_bits)
            table = straight_through(table, grid)
        x = functional.embedding(ids, table)
        states = []
        for layer, bound, before in zip(self.model.layers, self.gate_bounds(), hidden, strict=True):
            x, after = layer(x, bound, before, self.dropout, self.fused)
            states.append(after)
        form = fused_bit_linears if self.fused else bit_linears
        normed = partial(rms_norm, eps=config.rms_norm_eps)
        logits, = _bit_linears(form, [self.lm_head], normed, x, self.model.norm.weight)
        logits = widen(logits)
        return (logits, torch.stack(states)) if return_state else logits

    def logits(self, tokens: np.ndarray, state: Tensor | None) -> tuple[np.ndarray, Tensor]:
        """One sequence, without gradients, as :func:`~ternforge_model.evaluate.carried_loss` asks.

        Call :meth:`eval` first, as for any module.

        Parameters
        ----------
        tokens : numpy.ndarray
            Integers, shape ``[T]``.
        state : Tensor or None
            Shape ``[L, 1, e]``.

        Returns
        -------
        tuple
            Logits, float32, ``[T, V]``, and the state after the last token.
        """
        ids = torch.as_tensor(np.asarray(tokens, dtype=np.int64))[None]
        ids = ids.to(self.lm_head.weight.device)
        with torch.inference_mode():
            logits, after = self(ids, state, return_state=True)
        return logits[0].cpu().numpy(), after
