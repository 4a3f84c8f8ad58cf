from math import log2

import numpy as np
import pytest

from ternforge.isa import Function, SumOf
from ternforge_model.calibrate import calibrate
from ternforge_model.convert import convert, program_from_skeleton
from ternforge_model.floatpass import FloatPass
from ternforge_model.integer import SITES, IntegerModel
from ternforge_model.program import Load, Matvec, Quantise
from ternforge_model.skeleton import merge_norms, skeleton
from ternforge_model.ternary import ternarise
from ternforge_model.toy import random_checkpoint

TOYS = {
    "plain": {},
    "inner-norms": {"inner_norms": True},
    "wide-embedding": {"wide_embedding": True},
    "scaled-gates": {"d": 264, "m": 300, "vocab": 64},
    "no-bound": {"lower_bound": False, "layers": 3},
}


@pytest.fixture(scope="module", params=TOYS.values(), ids=list(TOYS))
def toy(request):
    return random_checkpoint(7, **request.param)


def text(vocab: int, length: int = 256) -> np.ndarray:
    return np.random.default_rng(3).integers(0, vocab, length)


def integer_logits(program, ids) -> np.ndarray:
    result = IntegerModel(program).forward(ids)
    factor = program.logit_scale * result.ratio_mantissa * 2.0**result.ratio_exponent
    return result.acc * factor[:, None]


def test_integer_logits_are_close_to_float(toy):
    config, tensors = toy
    ids = text(config.vocab_size)
    exact = FloatPass(skeleton(config, tensors)).run(ids[None])[0][0]
    rounded = integer_logits(convert(config, tensors, ids), ids)
    # Rounding flips some int8 codes (spec 9.8), so only the bulk is compared.
    assert np.median(np.abs(rounded - exact)) < 0.02 * exact.std()
    assert np.corrcoef(rounded.ravel(), exact.ravel())[0, 1] > 0.999


def test_calibration_text_does_not_saturate(toy):
    config, tensors = toy
    ids = text(config.vocab_size)
    assert IntegerModel(convert(config, tensors, ids)).forward(ids).saturations == dict.fromkeys(
        SITES, 0)


def test_own_calibration_does_not_saturate_on_random_tokens(toy):
    config, tensors = toy
    result = IntegerModel(convert(config, tensors)).forward(text(config.vocab_size))
    assert result.saturations == dict.fromkeys(SITES, 0)


def test_float_pass_equals_torch_reference(toy):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("ternforge_model.reference")
    config, tensors = toy
    model = reference.ReferenceModel(config)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
    ids = text(config.vocab_size, 32)
    with torch.inference_mode():
        want = model(torch.from_numpy(ids)[None])[0].numpy()
    have = FloatPass(skeleton(config, tensors)).run(ids[None])[0][0]
    # eps, float32 and flipped codes; a wrong formula is off by the size of the logits
    assert np.median(np.abs(have - want)) < 0.01 * want.std()


def test_conversion_is_deterministic(toy):
    assert convert(*toy).digest == convert(*toy).digest


def test_formats_use_the_room_there_is(toy):
    config, tensors = toy
    source = skeleton(config, tensors)
    largest = calibrate(source)
    program = program_from_skeleton(source, largest)
    for op in program.ops:
        if isinstance(op, Quantise):
            exact = program.formats[op.name] + log2(largest[op.name, "v"])
            assert op.shift == 0 or 20 < exact <= 21, op.name
        elif isinstance(op, Matvec) and op.function in (Function.RECURRENCE, Function.SILU):
            fraction = program.formats[op.name]
            assert fraction == 11 - op.activation_shift
            assert largest[op.name, "y"] * 1.5 * 2**fraction < 32768


def test_embedding_on_an_8_bit_grid_is_exact():
    config, tensors = random_checkpoint(7)
    program = convert(config, tensors)
    assert program.embedding.dtype == np.int8
    fraction = program.formats["x"] - program.embedding_shift
    assert np.array_equal(program.embedding / 2.0**fraction, tensors["model.embeddings.weight"])


def test_other_embedding_takes_16_bits():
    config, tensors = random_checkpoint(7, wide_embedding=True)
    program = convert(config, tensors)
    assert program.embedding.dtype == np.int16
    fraction = program.formats["x"] - program.embedding_shift
    error = program.embedding / 2.0**fraction - tensors["model.embeddings.weight"]
    assert np.abs(error).max() <= 2.0 ** (-fraction - 1)


def test_bounds_are_the_cumulated_softmax():
    config, tensors = random_checkpoint(7, layers=4)
    raw = tensors["model.lower_bounds"].astype(np.float64)
    share = np.exp(raw) / np.exp(raw).sum(0)
    loads = [op for op in convert(config, tensors).ops if isinstance(op, Load)]
    assert [op.layer for op in loads] == [1, 2, 3]
    for op in loads:
        want = share[1 : (op.layer or 0) + 1].sum(0) * 32768
        assert np.abs(op.values - want).max() <= 0.501


def test_a_bound_near_one_still_fits():
    config, tensors = random_checkpoint(7, layers=2)
    tensors["model.lower_bounds"][:] = [[-60], [60]]
    load = next(op for op in convert(config, tensors).ops if isinstance(op, Load))
    assert set(load.values.tolist()) == {32767}


def test_ternarise_is_that_of_the_specification():
    weight = np.array([[0.5, -0.25], [0.75, -0.5]], np.float32)  # mean magnitude 0.5
    trits, size = ternarise(weight)
    assert size == 0.5
    assert trits.tolist() == [[1, 0], [1, -1]]  # -0.25 is a tie: to even
    assert ternarise(np.zeros((2, 2), np.float32))[1] == np.float32(1e-5)


ONES, OTHER, OUTER = np.ones(3), np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])


@pytest.mark.parametrize(("outer", "inner", "want"), [
    (OUTER, [ONES, ONES], [(OUTER, SumOf.PRODUCT, ("a", "b"))]),
    (None, [OTHER], [(OTHER, SumOf.INPUT, ("a",))]),
    (2 * ONES, [OTHER, ONES], [(OTHER, SumOf.INPUT, ("a",)), (ONES, SumOf.KEEP, ("b",))]),
    (-2 * ONES, [OTHER], [(-OTHER, SumOf.INPUT, ("a",))]),
    (OUTER, [ONES, OTHER],
     [(OUTER, SumOf.PRODUCT, ("a",)), (OUTER * OTHER, SumOf.KEEP, ("b",))]),
    (OUTER, [OTHER, OTHER],
     [(OUTER, SumOf.PRODUCT, ()), (OUTER * OTHER, SumOf.KEEP, ("a", "b"))]),
], ids=["shared", "inner-only", "trivial-outer", "negative-outer", "first-trivial", "both"])
def test_norms_merge(outer, inner, want):
    passes = merge_norms(outer, dict(zip("ab", inner, strict=False)))
    assert [(w.tolist(), s, r) for w, s, r in passes] == [(w.tolist(), s, r) for w, s, r in want]


@pytest.mark.parametrize("factor", [3.0, -0.5])
def test_a_constant_outer_norm_only_sets_the_sign(factor):
    config, tensors = random_checkpoint(7, layers=1)
    ids = text(config.vocab_size)
    tensors["model.norm.weight"][:] = 1
    plain = integer_logits(convert(config, tensors, ids), ids)
    tensors["model.norm.weight"][:] = factor
    scaled = integer_logits(convert(config, tensors, ids), ids)
    assert np.allclose(scaled, np.sign(factor) * plain, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    config, tensors = random_checkpoint(7)
    tensors["model.layers.1.mlp.down_proj.weight"][3, 4] = bad
    with pytest.raises(ValueError) as error:
        convert(config, tensors)
    assert str(error.value) == ("tensor 'model.layers.1.mlp.down_proj.weight' must be finite, but "
                                f"holds {bad} at index [3, 4]")


def test_a_missing_or_misshapen_tensor_is_refused():
    config, tensors = random_checkpoint(7)
    wrong = {**tensors, "lm_head.weight": tensors["lm_head.weight"].T[:, :5]}
    with pytest.raises(ValueError) as error:
        convert(config, wrong)
    assert str(error.value) == ("tensor 'lm_head.weight' must have shape [32, 16], not [16, 5]")
    del wrong["lm_head.weight"]
    with pytest.raises(ValueError) as error:
        convert(config, wrong)
    assert str(error.value) == "tensor 'lm_head.weight' must be present"
