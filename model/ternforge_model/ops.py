"""Float primitives of the model: norm, quantisers and the linear recurrence (spec section 3)."""

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "BITLINEAR_EPS",
    "QUANT_FLOOR",
    "linear_scan",
    "linear_scan_backward",
    "quantise_activations",
    "quantise_embeddings",
    "quantise_weights",
    "rms_factor",
    "rms_norm",
    "round_half_away",
    "straight_through",
    "ternary_codes",
]

#: Effective eps of the norm inside every BitLinear (spec section 3.4, "eps trap").
BITLINEAR_EPS = 1e-6
#: Smallest absolute maximum / mean a quantiser divides by (spec sections 3.2 and 3.3).
QUANT_FLOOR = 1e-5
#: Time steps that one chunk of :func:`linear_scan` covers.
SCAN_CHUNK = 16


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Root-mean-square norm over the last axis (spec section 3.1).

    Parameters
    ----------
    x : Tensor
        Float32, shape ``[..., n]``.
    weight : Tensor or None
        Float32, shape ``[n]``; ``None`` stands for ones.
    eps : float
        Added to the mean square, inside the root.

    Returns
    -------
    Tensor
        Float32, shape of ``x``.
    """
    y = x * rms_factor(x, eps)
    return y if weight is None else y * weight


def rms_factor(x: Tensor, eps: float) -> Tensor:
    """One over the root mean square of each row, ``[..., 1]``: the norm before its weight."""
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def round_half_away(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves away from zero (spec section 3.2).

    Exact for every value: what is added is the largest number below one half, so that 0.49999997
    gives 0.
    """
    # floor is vectorised in PyTorch where trunc is not
    return torch.copysign((x.abs() + (0.5 - torch.finfo(x.dtype).eps / 4)).floor(), x)


def quantise_activations(y: Tensor) -> tuple[Tensor, Tensor]:
    """Eight-bit code of each row (spec section 3.2).

    Parameters
    ----------
    y : Tensor
        Float32, shape ``[..., n]``.

    Returns
    -------
    codes : Tensor
        Float32 integers in [-127, 127], shape of ``y``.
    scale : Tensor
        Float32, shape ``[..., 1]``; the dequantised value is ``codes / scale``.
    """
    scale = 127.0 / y.abs().amax(-1, keepdim=True).clamp(min=QUANT_FLOOR)
    return round_half_away(y * scale), scale  # the spec's clamp does nothing: 127 is the largest


def quantise_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Ternary code of one matrix (spec section 3.3); halves round to even.

    Returns
    -------
    codes : Tensor
        Float32 integers in {-1, 0, 1}, shape of ``weight``.
    scale : Tensor
        Float32 scalar ``a``; the dequantised value is ``codes * a``.
    """
    scale = weight.abs().mean().clamp(min=QUANT_FLOOR)
    return ternary_codes(weight, scale), scale


def ternary_codes(weight: Tensor, scale: Tensor) -> Tensor:
    """The codes of :func:`quantise_weights`, which also gives ``scale``."""
    return (weight * (1.0 / scale)).round().clamp(-1, 1)


def quantise_embeddings(table: Tensor, fraction_bits: int) -> Tensor:
    """Nearest signed 8-bit multiple of ``2**-fraction_bits``, saturating at +-127 steps."""
    step = 2.0**-fraction_bits
    return (table * (1.0 / step)).round().clamp(-127, 127) * step


def straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    """Value of ``quantised``, gradient of ``x``."""
    return x + (quantised - x).detach()


def linear_scan(f: Tensor, c: Tensor, start: Tensor) -> Tensor:
    """All states of ``h[t] = f[t] * h[t-1] + c[t]`` (spec section 4.1), differentiable.

    Time is cut into chunks; all chunks advance together, then the carries are passed from chunk
    to chunk. Only products and sums are formed, so gates at or near zero are safe.

    Parameters
    ----------
    f, c : Tensor
        Float32, shape ``[B, T, e]``, ``T >= 1``.
    start : Tensor
        Float32, shape ``[B, e]``: the state before the first step.

    Returns
    -------
    Tensor
        Float32, shape ``[B, T, e]``.
    """
    return _scan_op(f, c, start)


def linear_scan_backward(
    grad: Tensor, f: Tensor, h: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``f``, ``c`` and ``start``, from that of the states ``h`` of the scan."""
    return _scan_backward_op(grad.contiguous(), f, h, start)


def _scan_forward(f: Tensor, c: Tensor, start: Tensor) -> Tensor:
    batch, steps, width = f.shape
    if steps == 1:
        return f * start.unsqueeze(1) + c
    chunks = -(-steps // SCAN_CHUNK)
    pad = chunks * SCAN_CHUNK - steps
    if pad:
        f = torch.nn.functional.pad(f, (0, 0, 0, pad))
        c = torch.nn.functional.pad(c, (0, 0, 0, pad))
    # [chunk position, B, chunk, e]: one step of every chunk is one contiguous slab.
    gate = f.reshape(batch, chunks, SCAN_CHUNK, width).permute(2, 0, 1, 3).contiguous()
    local = c.reshape(batch, chunks, SCAN_CHUNK, width).permute(2, 0, 1, 3).contiguous()
    for k in range(1, SCAN_CHUNK):
        local[k].addcmul_(gate[k], local[k - 1])
        gate[k].mul_(gate[k - 1])
    carry = torch.empty(batch, chunks, width, dtype=f.dtype, device=f.device)
    carry[:, 0] = start
    for k in range(1, chunks):
        torch.addcmul(local[-1][:, k - 1], gate[-1][:, k - 1], carry[:, k - 1], out=carry[:, k])
    local.addcmul_(gate, carry.unsqueeze(0))
    out = local.permute(1, 2, 0, 3).reshape(batch, chunks * SCAN_CHUNK, width)
    return out[:, :steps].contiguous()


@torch.library.custom_op("ternforge::linear_scan", mutates_args=())
def _scan_op(f: Tensor, c: Tensor, start: Tensor) -> Tensor:
    return _scan_forward(f, c, start)


@torch.library.register_fake("ternforge::linear_scan")
def _(f: Tensor, c: Tensor, start: Tensor) -> Tensor:
    return torch.empty_like(f, memory_format=torch.contiguous_format)


@torch.library.custom_op("ternforge::linear_scan_backward", mutates_args=())
def _scan_backward_op(
    grad: Tensor, f: Tensor, h: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    # g[t] = grad[t] + f[t+1] * g[t+1]: the same recurrence, backwards in time.
    later = torch.cat([f[:, 1:], torch.zeros_like(f[:, :1])], 1)
    g = _scan_forward(later.flip(1), grad.flip(1), torch.zeros_like(start)).flip(1)
    before = torch.cat([start.unsqueeze(1), h[:, :-1]], 1)
    return g * before, g, f[:, 0] * g[:, 0]


@torch.library.register_fake("ternforge::linear_scan_backward")
def _(grad: Tensor, f: Tensor, h: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(f), torch.empty_like(f), torch.empty_like(start)


def _save_for_backward(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    f, _, start = inputs
    ctx.save_for_backward(f, output, start)


def _scan_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f, h, start = ctx.saved_tensors
    return linear_scan_backward(grad, f, h, start)


torch.library.register_autograd(
    "ternforge::linear_scan", _scan_backward, setup_context=_save_for_backward
)
