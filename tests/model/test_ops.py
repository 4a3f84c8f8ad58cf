import pytest
import torch

from ternforge_model import ops

torch.set_num_threads(1)  # small tensors; threads would only wait for each other

def sequential(f, c, start):
    states, h = [], start
    for t in range(f.shape[1]):
        h = f[:, t] * h + c[:, t]
        states.append(h)
    return torch.stack(states, 1)


def gates(steps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    f = torch.rand(2, steps, 5, generator=generator)
    f[:, ::3] = 0  # a gate that is shut
    f[:, 1::5] = 1
    f[:, 2::7] = 1e-30
    c = torch.randn(2, steps, 5, generator=generator)
    return f, c, torch.randn(2, 5, generator=generator)


@pytest.mark.parametrize("steps", [1, 2, 15, 16, 17, 32, 100])
def test_scan_equals_the_loop(steps):
    f, c, start = gates(steps)
    torch.testing.assert_close(ops.linear_scan(f, c, start), sequential(f, c, start))


@pytest.mark.parametrize("steps", [1, 16, 37])
def test_scan_gradients_equal_those_of_the_loop(steps):
    grads = []
    for function in (ops.linear_scan, sequential):
        inputs = [x.clone().requires_grad_() for x in gates(steps)]
        weights = torch.randn(2, steps, 5, generator=torch.Generator().manual_seed(9))
        (function(*inputs) * weights).sum().backward()
        grads.append([x.grad for x in inputs])
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_activation_halves_round_away_from_zero():
    values = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.49999997, 126.5])
    want = [1, 2, 3, -1, -2, -3, 0, 0, 127]
    assert ops.round_half_away(values).tolist() == want


def test_activation_codes_reach_127_with_their_scale():
    codes, scale = ops.quantise_activations(torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0] * 4]))
    assert codes.tolist() == [[127, -64, 32, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(scale, torch.tensor([[63.5], [127e5]]))


def test_weight_halves_round_to_even():
    codes, scale = ops.quantise_weights(torch.tensor([[0.5, -0.5, 1.5, -1.5]]))
    assert scale.item() == 1
    assert codes.tolist() == [[0, 0, 1, -1]]


def test_zero_weights_use_the_floor():
    codes, scale = ops.quantise_weights(torch.zeros(2, 2))
    assert codes.tolist() == [[0, 0], [0, 0]]
    assert scale.item() == pytest.approx(1e-5)


def test_embedding_grid_saturates_at_127_steps():
    got = ops.quantise_embeddings(torch.tensor([9.0, -9.0, 0.26, 0.1]), 2)
    assert got.tolist() == [9.0, -9.0, 0.25, 0.0]
    got = ops.quantise_embeddings(torch.tensor([9.0, -9.0]), 4)
    assert got.tolist() == [127 / 16, -127 / 16]


def test_norm_adds_eps_inside_the_root():
    got = ops.rms_norm(torch.tensor([3e-3, 4e-3]), torch.tensor([1.0, 2.0]), 1e-6)
    root = (12.5e-6 + 1e-6) ** 0.5
    torch.testing.assert_close(got, torch.tensor([3e-3 / root, 8e-3 / root]))
