"""Training forms of the BitLinear and the recurrence: plain autograd, and fused ones.

The plain forms are the definition. The fused ones compute the same values and gradients, save their
inputs and 8-bit codes, and compute everything between again in the backward pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from .ops import (
    BITLINEAR_EPS,
    linear_scan,
    linear_scan_backward,
    quantise_activations,
    quantise_weights,
    rms_factor,
    rms_norm,
    straight_through,
    ternary_codes,
)

__all__ = ["Prologue", "bit_linears", "fused_bit_linears", "fused_recurrence", "gates",
           "recurrence", "widen"]

#: What computes a BitLinear's input, element-wise or row by row, from tensors that stay in memory.
Prologue = Callable[..., Tensor]


def widen(x: Tensor) -> Tensor:
    """``x`` in float32 if it is of 16 bits; norms, quantisers and the recurrence need that."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def bit_linears(
    prologue: Prologue, inputs: Sequence[Tensor], norms: Sequence[Tensor | None],
    weights: Sequence[Tensor],
) -> list[Tensor]:
    """BitLinears of one input (spec section 3.4); both quantisers pass gradients straight through.

    Parameters
    ----------
    prologue : callable
        Maps ``inputs`` to the input of the BitLinears, float32 or float64 ``[..., n]``.
    inputs : sequence of Tensor
        Arguments of ``prologue``.
    norms : sequence of Tensor or None
        Weights ``[n]`` of the inner norms; ``None`` stands for ones that do not train.
    weights : sequence of Tensor
        Latent matrices, ``[m, n]`` each.

    Returns
    -------
    list of Tensor
        ``[..., m]`` each, in the type that autocast asks for, else in that of the input.
    """
    z = prologue(*inputs)
    matrices = [straight_through(w, _dequantised(w)) for w in weights]
    if all(norm is None for norm in norms):  # one quantiser pass, one product
        joined = functional.linear(_fake_quantise(rms_norm(z, None, BITLINEAR_EPS)),
                                   torch.cat(matrices))
        return list(joined.split([m.shape[0] for m in matrices], -1))
    return [functional.linear(_fake_quantise(rms_norm(z, norm, BITLINEAR_EPS)), matrix)
            for norm, matrix in zip(norms, matrices, strict=True)]


def _dequantised(weight: Tensor) -> Tensor:
    codes, scale = quantise_weights(weight.detach())
    return codes * scale


def _fake_quantise(y: Tensor) -> Tensor:
    codes, scale = quantise_activations(y.detach())
    return straight_through(y, codes / scale)


def fused_bit_linears(
    prologue: Prologue, inputs: Sequence[Tensor], norms: Sequence[Tensor | None],
    weights: Sequence[Tensor],
) -> list[Tensor]:
    """:func:`bit_linears` that saves its arguments, and the codes in 8 bits.

    The codes themselves are multiplied, which is exact in bfloat16 as well; scales come after.
    Gradients of gradients are not supported.
    """
    return list(_FusedBitLinears.apply(prologue, len(inputs), *inputs, *norms, *weights))


class _FusedBitLinears(Function):
    @staticmethod
    def forward(ctx: Any, prologue: Prologue, arity: int, *tensors: Tensor | None):
        inputs, norms, weights = _parts(tensors, arity)
        base, _ = _normalise(prologue(*inputs))
        product = _product_dtype(base)
        outputs, kept, coded = [], [], {}
        for norm, weight in zip(norms, weights, strict=True):
            if id(norm) not in coded:  # None is quantised once for all
                coded[id(norm)] = quantise_activations(base if norm is None else base * norm)
            codes, steps = coded[id(norm)]
            trits, size = quantise_weights(weight)
            rows = functional.linear(codes.to(product), trits.to(product))
            outputs.append(rows.mul_(size / steps))
            kept.append((codes, steps, size))
        ctx.prologue, ctx.arity, ctx.product = prologue, arity, product
        ctx.set_materialize_grads(False)
        small = {id(codes): codes.to(torch.int8) for codes, _, _ in kept}
        ctx.save_for_backward(
            *tensors, *(t for codes, steps, size in kept for t in (small[id(codes)], steps, size)))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None):
        needed = ctx.needs_input_grad[2:]
        saved, kept = ctx.saved_tensors[: len(needed)], iter(ctx.saved_tensors[len(needed):])
        inputs, norms, weights = _parts(saved, ctx.arity)
        z, leaves = _again(ctx.prologue, inputs, needed)
        base, factor = _normalise(z.detach())
        total = None
        norm_grads: list[Tensor | None] = [None] * len(norms)
        weight_grads: list[Tensor | None] = [None] * len(norms)
        for k, (norm, weight, grad, codes, steps, size) in enumerate(
                zip(norms, weights, grads, kept, kept, kept, strict=True)):
            if grad is None:
                continue
            rows = grad.reshape(-1, grad.shape[-1]).to(ctx.product)
            if needed[ctx.arity + len(norms) + k]:
                y = (codes / steps).to(ctx.product)
                weight_grads[k] = (rows.T @ y.view(-1, y.shape[-1])).to(weight.dtype)
            trits = ternary_codes(weight, size).to(ctx.product)
            back = (rows @ trits).to(base.dtype).view_as(base)
            if needed[ctx.arity + k]:
                norm_grads[k] = (back * base).flatten(0, -2).sum(0).mul_(size)
            scale = size if norm is None else norm * size
            total = back.mul_(scale) if total is None else total.addcmul_(back, scale)
        input_grads: list[Tensor | None] = [None] * ctx.arity
        if total is not None and any(needed[: ctx.arity]):
            mean = (total * base).mean(-1, keepdim=True)
            dz = total.addcmul_(base, mean, value=-1).mul_(factor)
            input_grads = _gradients([z], leaves, [dz])
        return None, None, *input_grads, *norm_grads, *weight_grads


def _parts(tensors: Sequence[Any], arity: int) -> tuple[list[Any], list[Any], list[Any]]:
    count = (len(tensors) - arity) // 2
    return (list(tensors[:arity]), list(tensors[arity : arity + count]),
            list(tensors[arity + count :]))


def _product_dtype(x: Tensor) -> torch.dtype:
    """Type of the matrix products: autocast's, else that of ``x``."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def _normalise(z: Tensor) -> tuple[Tensor, Tensor]:
    """The inner norm before its weight, and its factor ``[..., 1]``."""
    factor = rms_factor(z, BITLINEAR_EPS)
    return z * factor, factor


def _again(
    function: Callable[..., Any], inputs: Sequence[Tensor | None], needed: Sequence[bool]
) -> tuple[Any, list[Tensor | None]]:
    """``function`` once more, with a graph of its own that starts at the returned leaves."""
    leaves = [None if x is None else x.detach().requires_grad_(need)
              for x, need in zip(inputs, needed, strict=False)]
    with torch.enable_grad():
        return function(*leaves), leaves


def _gradients(
    outputs: Sequence[Tensor], leaves: Sequence[Tensor | None], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    wanted = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
    found = iter(torch.autograd.grad(outputs, wanted, grads))
    return [next(found) if leaf is not None and leaf.requires_grad else None for leaf in leaves]


def gates(i: Tensor, f: Tensor, bound: Tensor | None) -> tuple[Tensor, Tensor]:
    """Forget gate and candidate of the token mixer (spec section 4.1), ``[B, T, e]`` each."""
    f = torch.sigmoid(widen(f))
    if bound is not None:
        f = bound + (1 - bound) * f
    return f, functional.silu(widen(i)) * (1 - f)


def recurrence(i: Tensor, f: Tensor, bound: Tensor | None, state: Tensor) -> Tensor:
    """All states of the token mixer (spec section 4.1), float32.

    Parameters
    ----------
    i, f : Tensor
        Outputs of ``i_proj`` and ``f_proj``, ``[B, T, e]``.
    bound : Tensor or None
        Lower bound of the forget gate, ``[e]``.
    state : Tensor
        State before the first step, ``[B, e]``.

    Returns
    -------
    Tensor
        ``[B, T, e]``.
    """
    return linear_scan(*gates(i, f, bound), state)


def fused_recurrence(i: Tensor, f: Tensor, bound: Tensor | None, state: Tensor) -> Tensor:
    """:func:`recurrence` that saves its inputs and its result, and computes the gates again."""
    return _FusedRecurrence.apply(i, f, bound, state)  # type: ignore[return-value]


class _FusedRecurrence(Function):
    @staticmethod
    def forward(ctx: Any, i: Tensor, f: Tensor, bound: Tensor | None, state: Tensor):
        states = recurrence(i, f, bound, state)
        ctx.save_for_backward(i, f, bound, state, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor):
        *inputs, state, states = ctx.saved_tensors
        (forget, new), leaves = _again(gates, inputs, ctx.needs_input_grad)
        forget_grad, new_grad, state_grad = linear_scan_backward(
            grads[0], forget.detach(), states, state)
        return *_gradients([forget, new], leaves, [forget_grad, new_grad]), state_grad
