"""Comparison of float and integer models: figures, layers, the first error that stands out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ternforge_model.calibrate import CHUNK, WINDOWS, windows
from ternforge_model.convert import convert
from ternforge_model.integer import SITES, IntegerModel
from ternforge_model.layererror import FACTOR, FLOOR, HEAD, TENSORS, LayerErrors, find_outlier
from ternforge_model.skeleton import skeleton
from ternforge_model.toy import random_checkpoint

LAYERS = 6


@pytest.fixture(scope="module")
def toy():
    """A model of six layers and its program."""
    config, tensors = random_checkpoint(5, layers=LAYERS, d=32, m=48, inner_norms=True)
    return config, tensors, convert(config, tensors)


def tokens(length: int, vocab: int = 32) -> np.ndarray:
    return np.random.default_rng(2).integers(0, vocab, length)


def layer_errors(toy, program, ids=None) -> LayerErrors:
    errors = LayerErrors(skeleton(toy[0], toy[1]), IntegerModel(program))
    errors.advance(tokens(96) if ids is None else ids)
    return errors


def changed(program, name, **fields):
    """``program`` with fields of one op replaced."""
    assert name in {op.name for op in program.ops}
    return replace(program, ops=tuple(replace(op, **fields) if op.name == name else op
                                      for op in program.ops))


def test_every_layer_of_a_good_program_is_close(toy):
    errors = layer_errors(toy, toy[2])
    table = errors.table()
    assert list(table) == list(TENSORS)
    assert errors.tokens == 96
    assert errors.saturated == {}
    assert errors.outlier() is None
    for tensor, row in table.items():
        assert len(row) == LAYERS
        # The last codes of a layer see every flip before them; what follows averages over rows.
        assert 0 < max(row) < (0.06 if "codes" in tensor else 0.04), tensor
    assert 0 < errors.head()["logits"] < 0.01
    assert list(errors.head()) == list(HEAD)


def test_errors_do_not_grow_with_depth(toy):
    """Each layer starts from the float model's stream; a run from the embedding on does not."""
    residual = layer_errors(toy, toy[2]).table()["residual"]
    assert max(residual[3:]) < 2 * max(residual[:3])


@pytest.mark.parametrize("tensor", ["f", "i", "g", "o", "gate", "up", "down"])
@pytest.mark.parametrize("layer", [1, 4])
def test_a_wrong_scale_is_named(toy, layer, tensor):
    part = {"gate": "mlp.gate_proj.gate", "up": "mlp.gate_proj.up",
            "down": "mlp.down_proj"}.get(tensor, f"attn.{tensor}_proj")
    name = f"layers.{layer}.{part}"
    op = next(op for op in toy[2].ops if op.name == name)
    if op.scale is None:  # unscaled rows can only be wrong in their weights
        trits = op.trits.copy()
        trits[:4] *= -1
        program = changed(toy[2], name, trits=trits)
    else:
        program = changed(toy[2], name, scale=(op.scale[0], op.scale[1] + 1))
    outlier = layer_errors(toy, program).outlier()
    assert outlier is not None
    assert (outlier.layer, outlier.tensor) == (layer, tensor)
    assert outlier.error > 5 * outlier.median


def test_wrong_norm_weights_are_named_by_their_codes(toy):
    op = next(op for op in toy[2].ops if op.name == "layers.2.attn.i_proj.norm")
    program = changed(toy[2], op.name, weights=op.weights // 1024 * 1024)
    outlier = layer_errors(toy, program).outlier()
    assert outlier is not None
    assert (outlier.layer, outlier.tensor) == (2, "attn codes")


def test_comparison_continues_from_call_to_call(toy, monkeypatch):
    ids = tokens(120)
    whole, parts = layer_errors(toy, toy[2], ids), layer_errors(toy, toy[2], ids[:50])
    parts.advance(ids[50:])
    assert parts.tokens == whole.tokens
    for tensor, row in whole.table().items():
        # The state is rounded once more where a call begins, which may flip a code.
        assert parts.table()[tensor] == pytest.approx(row, rel=0.2, abs=2e-4), tensor
    # A state that is lost costs much more than that.
    part = IntegerModel.part
    monkeypatch.setattr(IntegerModel, "part", lambda self, layer, x, _: part(self, layer, x, {}))
    lost = layer_errors(toy, toy[2], ids[:50])
    lost.advance(ids[50:])
    pairs = zip(lost.table()["state"], whole.table()["state"], strict=True)
    assert all(without > 5 * kept for without, kept in pairs)


@pytest.mark.parametrize(("part", "more"), [("attn.i_proj", 6), ("mlp.down_proj", 12)])
def test_clips_are_counted_in_their_layer(toy, part, more):
    op = next(op for op in toy[2].ops if op.name == f"layers.3.{part}")
    program = changed(toy[2], op.name, scale=(op.scale[0], op.scale[1] + more))
    saturated = layer_errors(toy, program).saturated
    assert saturated[op.name, "rescale"] > 0
    assert all(name.startswith("layers.3.") for name, _ in saturated)


ERRORS = st.floats(0, 0.5, allow_nan=False)


@given(st.lists(ERRORS, min_size=1, max_size=40))
def test_what_stands_out_is_above_both_limits(row):
    found = find_outlier({"f": row})
    middle = sorted(row)[(len(row) - 1) // 2]
    high = [n for n, error in enumerate(row) if error > FACTOR * middle and error > FLOOR]
    assert (None if found is None else found.layer) == (high[0] if high else None)


def test_the_first_layer_comes_before_the_first_tensor():
    table = {"f": [0.01, 0.01, 0.01, 0.5], "o": [0.01, 0.01, 0.5, 0.01]}
    found = find_outlier(table)
    assert found is not None
    assert (found.layer, found.tensor, found.error, found.median) == (2, "o", 0.5, 0.01)


@given(st.integers(1, 40000))
def test_calibration_reads_all_of_a_short_text_and_ends_of_a_long_one(length):
    ids = np.arange(length)
    parts = list(windows(ids))
    assert len(parts) <= WINDOWS
    assert all(0 < len(part) <= CHUNK for part in parts)
    assert (parts[0][0], parts[-1][-1]) == (0, length - 1)
    if length <= WINDOWS * CHUNK:
        assert np.array_equal(np.concatenate(parts), ids)


def test_figures_are_those_of_torch(toy):
    torch = pytest.importorskip("torch")
    compare = pytest.importorskip("ternforge_model.compare")
    from torch.nn import functional

    from ternforge_model.reference import ReferenceModel

    config, tensors, program = toy
    reference = ReferenceModel(config)
    reference.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
    ids = tokens(201)
    # A program that clips, so that the counts are not all zero.
    op = next(op for op in program.ops if op.name == "layers.5.attn.i_proj")
    program = changed(program, op.name, scale=(op.scale[0], op.scale[1] + 6))
    integer = IntegerModel(program)
    with compare.Comparison(reference, integer) as run:
        run.advance(ids[:77], ids[1:78])
        run.advance(ids[77:200], ids[78:201])
    have = run.figures()
    whole = integer.forward(ids[:200])
    exact = torch.log_softmax(torch.from_numpy(reference.logits(ids[:200], None)[0]).double(), -1)
    factor = program.logit_scale * whole.ratio_mantissa * 2.0**whole.ratio_exponent
    rounded = torch.log_softmax(torch.from_numpy(whole.acc * factor[:, None]), -1)
    right = torch.from_numpy(ids[1:])
    want = {
        "float_loss": functional.nll_loss(exact, right).item(),
        "integer_loss": functional.nll_loss(rounded, right).item(),
        "kl_divergence": functional.kl_div(rounded, exact, log_target=True,
                                           reduction="batchmean").item(),
        "argmax_agreement": (exact.argmax(-1) == rounded.argmax(-1)).double().mean().item(),
    }
    want["float_perplexity"] = np.exp(want["float_loss"])
    want["integer_perplexity"] = np.exp(want["integer_loss"])
    for key, value in want.items():
        # Summation order may flip a code of the float model between the two calls.
        assert have[key] == pytest.approx(value, rel=2e-2, abs=1e-3), key
    assert have["kl_divergence"] > 1e-3  # the damaged layer shows
    assert have["saturations"] == whole.saturations
    assert have["saturations_by_layer"]["5"]["rescale"] == whole.saturated_ops[op.name, "rescale"]
    assert set(have["saturations"]) == set(SITES)
