"""The fused forms of training against plain autograd, which defines them."""

from functools import partial

import pytest
import torch
from torch.nn import functional

from ternforge_model.bitlinear import (
    bit_linears,
    fused_bit_linears,
    fused_recurrence,
    recurrence,
)
from ternforge_model.config import ModelConfig
from ternforge_model.ops import rms_norm
from ternforge_model.reference import ReferenceModel

torch.set_num_threads(1)

ROWS, WIDTH = (3, 7), 24
CONFIG = ModelConfig(vocab_size=19, hidden_size=16, num_hidden_layers=2, intermediate_size=24)


def outer_norm(x, weight):
    return rms_norm(x, weight, 1e-6)


def swiglu(both):
    u, v = both.chunk(2, -1)
    return functional.silu(u) * v


def gated(g, weight, hs):
    return rms_norm(g, weight, 1e-6) * functional.silu(hs)


PROLOGUES = {
    "norm": (outer_norm, [(*ROWS, WIDTH), (WIDTH,)]),
    "swiglu": (swiglu, [(*ROWS, 2 * WIDTH)]),
    "gated": (gated, [(*ROWS, WIDTH), (WIDTH,), (*ROWS, WIDTH)]),
}


def random(*shapes, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
            .requires_grad_() for shape in shapes]


def run(form, prologue, inputs, norms, weights):
    """Outputs, and the gradients of everything for a loss that weighs every output differently."""
    outputs = form(prologue, inputs, norms, weights)
    loss = torch.stack([(o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o)).sum()
                        for o in outputs]).sum()
    leaves = [t for t in [*inputs, *norms, *weights] if t is not None and t.requires_grad]
    return list(outputs), torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("norms", ["trained", "frozen", "mixed"])
@pytest.mark.parametrize("prologue", PROLOGUES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_fused_equals_plain_autograd(prologue, norms, dtype, tolerance):
    function, shapes = PROLOGUES[prologue]
    inputs = random(*shapes, dtype=dtype)
    inner = [None if norms == "frozen" or (norms == "mixed" and k == 1) else w for k, w in
             enumerate(random((WIDTH,), (WIDTH,), (WIDTH,), dtype=dtype, seed=2))]
    weights = random((16, WIDTH), (16, WIDTH), (5, WIDTH), dtype=dtype, seed=3)
    plain, plain_grads = run(bit_linears, function, inputs, inner, weights)
    fused, fused_grads = run(fused_bit_linears, function, inputs, inner, weights)
    assert len(plain_grads) == len(inputs) + 3 + sum(w is not None for w in inner)
    for one, other in zip([*fused, *fused_grads], [*plain, *plain_grads], strict=True):
        largest = other.abs().max().item()
        assert largest > 0.1
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("bounded", [False, True])
def test_fused_recurrence_equals_plain_autograd(bounded):
    i, f, grad = random((2, 19, 8), (2, 19, 8), (2, 19, 8), dtype=torch.float64)
    bound, state = random((8,), (2, 8), dtype=torch.float64, seed=2)
    limit = torch.sigmoid(bound).detach().requires_grad_() if bounded else None
    leaves = [i, f, state] if limit is None else [i, f, state, limit]
    results = []
    for form in (recurrence, fused_recurrence):
        out = form(i, f, limit, state)
        results.append([out, *torch.autograd.grad(out, leaves, grad.detach())])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def model(*, fused, frozen=False, seed=4):
    torch.manual_seed(seed)
    made = ReferenceModel(CONFIG, fused=fused)
    for name, parameter in made.named_parameters():
        if parameter.dim() == 1 or "lower_bounds" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
        if frozen and "_proj.norm" in name:
            parameter.requires_grad_(False)
    return made.train()


def loss_of(made, dtype=torch.float32):
    ids = torch.randint(0, CONFIG.vocab_size, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = made(ids)
    assert logits.dtype == torch.float32
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("frozen", [False, True])
def test_whole_model_has_the_same_gradients(frozen):
    models = [model(fused=fused, frozen=frozen) for fused in (False, True)]
    for made in models:
        loss_of(made).backward()
    for (name, one), other in zip(models[0].named_parameters(), models[1].parameters(),
                                  strict=True):
        if one.grad is None:
            assert other.grad is None, name
            continue
        assert other.grad is not None, name
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4,
                                   atol=1e-5 * one.grad.abs().max().item(), msg=name)


@pytest.mark.parametrize("fused", [False, True])
def test_bfloat16_keeps_to_float32_loosely(fused):
    exact, half = model(fused=fused), model(fused=fused)
    losses = [loss_of(exact), loss_of(half, torch.bfloat16)]
    for loss in losses:
        loss.backward()
    assert losses[1].item() != losses[0].item()
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)
    for one, other in zip(exact.parameters(), half.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert other.grad.dtype == torch.float32
        assert functional.cosine_similarity(one.grad.flatten(), other.grad.flatten(), 0) > 0.9


def test_codes_are_multiplied_exactly_in_bfloat16():
    """Integers up to 127 are exact in bfloat16: only the output is rounded, to 8 bits twice."""
    inputs = random((6, 64), (64,), dtype=torch.float32)
    weights = random((32, 64), dtype=torch.float32, seed=3)
    exact, = fused_bit_linears(outer_norm, inputs, [None], weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, = fused_bit_linears(outer_norm, inputs, [None], weights)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=2**-7, atol=0)


def saved_bytes(function):
    """Result of ``function``, and the bytes of all tensors that it saves for the backward pass."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    return result, sum(storages.values())


def test_fused_saves_its_arguments_and_8_bit_codes():
    inputs = random((512, 256), (256,), dtype=torch.float32)
    norms = random((256,), (256,), dtype=torch.float32, seed=2)
    weights = random((128, 256), (128, 256), dtype=torch.float32, seed=3)
    sizes = []
    for form in (bit_linears, fused_bit_linears):
        _, size = saved_bytes(partial(form, outer_norm, inputs, norms, weights))
        sizes.append(size)
    arguments = sum(t.nbytes for t in [*inputs, *norms, *weights])
    assert sizes[1] == arguments + 2 * (512 * 256 + 512 * 4 + 4)  # codes, row and matrix scales
    assert sizes[0] > 2 * sizes[1]


def test_the_meta_device_runs_a_step():
    """No operation names a device of its own."""
    made = model(fused=True).to("meta")
    ids = torch.zeros(2, 12, dtype=torch.int64, device="meta")
    logits, state = made(ids, return_state=True)
    devices = [logits.device.type, state.device.type, made.initial_state(2).device.type]
    assert devices == ["meta", "meta", "meta"]
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in made.parameters())
