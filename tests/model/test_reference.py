import pytest
import torch

from ternforge_model.config import ModelConfig
from ternforge_model.reference import BitLinear, ReferenceModel

torch.set_num_threads(1)  # small tensors; threads would only wait for each other

SMALL = ModelConfig(vocab_size=11, hidden_size=12, num_hidden_layers=3, intermediate_size=20)


def random_model(config, seed=1, **kwargs):
    """Every tensor random, norms and lower bounds too; small embeddings make eps matter."""
    generator = torch.Generator().manual_seed(seed)
    model = ReferenceModel(config, **kwargs)
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            value.copy_(1 + 0.3 * noise if "norm" in name else 0.5 * noise)
    return model


def random_ids(config, batch, steps, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.vocab_size, (batch, steps), generator=generator)


def test_lower_bounds_grow_from_none_to_the_cumulative_softmax():
    model = random_model(SMALL)
    share = torch.softmax(model.model.lower_bounds, 0)
    first, second, third = model.gate_bounds()
    assert first is None
    assert second is not None
    assert third is not None
    torch.testing.assert_close(second, share[1])
    torch.testing.assert_close(third, share[1] + share[2])


def test_stepwise_equals_whole_sequence():
    model = random_model(SMALL)
    ids = random_ids(SMALL, 3, 21)
    with torch.no_grad():
        whole, last = model(ids, return_state=True)
        state, parts = None, []
        for t in range(ids.shape[1]):
            logits, state = model(ids[:, t : t + 1], state, return_state=True)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=2e-5)
    assert state is not None
    torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


def test_train_mode_computes_the_same_formulas():
    model = random_model(SMALL)
    ids = random_ids(SMALL, 2, 9)
    exact = model(ids)
    torch.testing.assert_close(model.train()(ids), exact, rtol=0, atol=2e-5)


def test_frozen_inner_norms_share_one_pass_with_the_same_values_and_gradients():
    model = random_model(SMALL).train()
    shared = [getattr(layer.attn, f"{k}_proj") for layer in model.model.layers for k in "ifg"]
    with torch.no_grad():
        for part in shared:
            part.norm.weight.fill_(1)
    ids, grads, outs = random_ids(SMALL, 2, 9), [], []
    for frozen in (False, True):
        for part in shared:
            part.norm.weight.requires_grad_(not frozen)
        model.zero_grad()
        outs.append(model(ids))
        outs[-1].square().sum().backward()
        grads.append(shared[0].weight.grad.clone())
    torch.testing.assert_close(outs[0], outs[1], rtol=0, atol=2e-5)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-4)


def test_codes_follow_the_weights_although_fused_optimisers_move_them_unnoticed():
    layer, x = BitLinear(4, 3), torch.tensor([1.0, 2.0, 3.0, 4.0])
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3, 4))
    before = layer.eval()(x)
    optimiser = torch.optim.AdamW([layer.train().weight], lr=1.0, fused=True)
    layer.weight.grad = torch.ones_like(layer.weight)
    optimiser.step()
    assert not torch.equal(layer.eval()(x), before)


def test_straight_through_gradient_is_that_of_the_dequantised_product():
    torch.manual_seed(1)
    layer = BitLinear(6, 4)
    torch.nn.init.normal_(layer.weight)
    layer.train()
    x = torch.randn(5, 6)
    layer(x).sum().backward()
    y = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    scale = 127 / y.abs().amax(-1, keepdim=True)
    want = ((y * scale).round() / scale).sum(0).expand(4, 6)
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, want, rtol=1e-5, atol=1e-5)


def test_embeddings_on_the_grid_need_no_rounding():
    rounded = random_model(SMALL, embedding_fraction_bits=4)
    plain = random_model(SMALL)
    ids = random_ids(SMALL, 1, 5)
    assert not torch.equal(rounded(ids), plain(ids))
    with torch.no_grad():
        table = plain.model.embeddings.weight
        table.copy_((table * 16).round().clamp(-127, 127) / 16)
    assert torch.equal(rounded(ids), plain(ids))


def test_bad_inputs_are_refused():
    model = ReferenceModel(SMALL)
    with pytest.raises(ValueError, match=r"^ids must be a non-empty \[B, T\] tensor, not \[3\]$"):
        model(torch.zeros(3, dtype=torch.long))
    with pytest.raises(
        ValueError, match=r"^state must have shape \[3, 1, 12\], not \[2, 1, 12\]$"
    ):
        model(torch.zeros(1, 1, dtype=torch.long), torch.zeros(2, 1, 12))
    with pytest.raises(TypeError, match=r"^ReferenceModel config must be a ModelConfig, not 3$"):
        ReferenceModel(3)  # type: ignore[arg-type]
