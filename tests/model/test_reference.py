import numpy as np
import pytest
import torch

from ternforge_model.config import ModelConfig
from ternforge_model.reference import BitLinear, ReferenceModel

torch.set_num_threads(1)  # small tensors; threads would only wait for each other

SMALL = ModelConfig(vocab_size=11, hidden_size=12, num_hidden_layers=3, intermediate_size=20)
MODELS = {
    "small": SMALL,
    "heads": ModelConfig(vocab_size=11, hidden_size=12, num_hidden_layers=2, num_heads=4,
                         intermediate_size=20),
    "no-lower-bound": ModelConfig(vocab_size=11, hidden_size=12, num_hidden_layers=2,
                                  use_lower_bound=False, intermediate_size=20),
}


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


class Spec:
    """Section 8 of the specification in NumPy float64, one token at a time."""

    inner_eps = 1e-6

    def __init__(self, model):
        self.config = model.config
        self.w = {k: v.detach().double().numpy() for k, v in model.state_dict().items()}

    def rms(self, x, name, eps):
        return x / np.sqrt((x * x).mean() + eps) * self.w[name]

    def bitlinear(self, x, name):
        weight = self.w[f"{name}.weight"]
        y = self.rms(x, f"{name}.norm.weight", self.inner_eps)
        a = max(np.abs(weight).mean(), 1e-5)
        trits = np.clip(np.round(weight / a), -1, 1)
        s = 127 / max(np.abs(y).max(), 1e-5)
        codes = np.sign(y) * np.floor(np.abs(y * s) + 0.5)
        return trits @ codes * a / s

    def bound(self, layer):
        if not self.config.use_lower_bound or layer == 0:
            return 0.0
        e = np.exp(self.w["model.lower_bounds"])
        return (e / e.sum(0))[1 : layer + 1].sum(0)

    def output_stage(self, g, h, name):
        return self.rms(g, name, self.config.rms_norm_eps) * silu(h)

    def run(self, ids):
        d, eps = self.config.hidden_size, self.config.rms_norm_eps
        states = np.zeros((self.config.num_hidden_layers, d))
        for token in ids:
            x = self.w["model.embeddings.weight"][token]
            for n in range(self.config.num_hidden_layers):
                at = f"model.layers.{n}"
                z = self.rms(x, f"{at}.attn_norm.weight", eps)
                f = 1 / (1 + np.exp(-self.bitlinear(z, f"{at}.attn.f_proj")))
                f = self.bound(n) + (1 - self.bound(n)) * f
                c = silu(self.bitlinear(z, f"{at}.attn.i_proj")) * (1 - f)
                states[n] = f * states[n] + c
                g = self.bitlinear(z, f"{at}.attn.g_proj")
                o = self.output_stage(g, states[n], f"{at}.attn.g_norm.weight")
                x = x + self.bitlinear(o, f"{at}.attn.o_proj")
                b = self.rms(x, f"{at}.mlp_norm.weight", eps)
                u, v = np.split(self.bitlinear(b, f"{at}.mlp.gate_proj"), 2)
                x = x + self.bitlinear(silu(u) * v, f"{at}.mlp.down_proj")
            yield self.bitlinear(self.rms(x, "model.norm.weight", eps), "lm_head")


def silu(u):
    return u / (1 + np.exp(-u))


def worst(model, spec, ids):
    with torch.no_grad():
        got = model(torch.tensor([ids]))[0].numpy()
    return np.abs(got - np.array(list(spec.run(ids)))).max()


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_logits_follow_the_specification(config):
    model = random_model(config)
    ids = random_ids(config, 1, 12)[0].tolist()
    assert worst(model, Spec(model), ids) < 2e-5


def test_inner_eps_is_1e_6_although_the_class_says_1e_8():
    model = random_model(SMALL)
    with torch.no_grad():  # a tiny outer norm makes the mean square comparable with eps
        for name, value in model.named_parameters():
            if name.endswith("attn_norm.weight"):
                value.mul_(1e-3)
    ids = random_ids(SMALL, 1, 6)[0].tolist()
    spec = Spec(model)
    assert worst(model, spec, ids) < 2e-5
    spec.inner_eps = 1e-8
    assert worst(model, spec, ids) > 1e-3


def test_output_stage_norms_g_and_gates_with_the_state():
    class Paper(Spec):
        def output_stage(self, g, h, name):
            return h / (1 + np.exp(-g)) * self.w[name]

    class Swapped(Spec):
        def output_stage(self, g, h, name):
            return self.rms(h, name, self.config.rms_norm_eps) * silu(g)

    model = random_model(SMALL)
    ids = random_ids(SMALL, 1, 6)[0].tolist()
    assert worst(model, Spec(model), ids) < 2e-5
    assert worst(model, Paper(model), ids) > 1e-2
    assert worst(model, Swapped(model), ids) > 1e-2


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
