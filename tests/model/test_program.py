from dataclasses import replace

import numpy as np
import pytest

from ternforge.isa import Function, SumOf
from ternforge_model.program import Load, Matvec, Program, Quantise, unscaled_fits
from ternforge_model.toy import random_program

LOAD = Load(name="bound", layer=0, dst="f", values=np.array([1, 2], np.int16))
QUANTISE = Quantise(name="norm", layer=None, src="x", dst="v", weights=np.ones(8, np.int16),
                    shift=2, square_shift=3, sum_of=SumOf.PRODUCT)
MATVEC = Matvec(name="head", layer=None, function=Function.LOGITS, trits=np.ones((9, 8), np.int8))
PROGRAM = Program(name="tiny", ops=(QUANTISE, MATVEC), vectors={"x": 8, "v": 8}, states={},
                  embedding=np.ones((9, 8), np.int8), embedding_shift=3, logit_scale=1.0)


@pytest.mark.parametrize(("op", "change", "rule"), [
    (LOAD, {"values": np.zeros((2, 2), np.int16)}, "values of one dimension"),
    (LOAD, {"wide": False}, "dtype int16 if wide, else int8"),
    (LOAD, {"shift": 16}, "a shift in 0..15"),
    (LOAD, {"values": np.array([-32768, 256], np.int16), "shift": 9}, "shifted values of 24 bits"),
    (QUANTISE, {"weights": np.ones(8)}, "int16 weights of one dimension"),
    (QUANTISE, {"shift": -1}, "shift in 0..63"),
    (QUANTISE, {"square_shift": 16}, "square_shift in 0..15"),
    (QUANTISE, {"codes": False, "sum_of": SumOf.KEEP}, "something to do: codes or a sum"),
    (MATVEC, {"trits": np.ones((9, 8))}, "int8 trits of two dimensions"),
    (MATVEC, {"trits": np.full((9, 8), 2, np.int8)}, "trits in -1..1"),
    (MATVEC, {"trits": np.full((9, 8), -2, np.int8)}, "trits in -1..1"),
    (MATVEC, {"activation_shift": 8}, "an activation_shift in 0..7"),
    (MATVEC, {"shift": 16}, "a shift in 0..15"),
    (MATVEC, {"scale": (32767, 0)}, r"a scale mantissa in [2**15, 2**16)"),
    (MATVEC, {"scale": (32768, 128)}, "a scale exponent of 8 bits"),
    (MATVEC, {"bounded": True}, "bounded only with FORGET"),
    (MATVEC, {"function": Function.SILU, "store": True}, "store only with LOGITS"),
    (MATVEC, {"operand": "x"}, "an operand exactly where its function reads one"),
    (MATVEC, {"function": Function.RECURRENCE, "operand": "f"},
     "a state exactly where its function uses one"),
    (MATVEC, {"function": Function.SILU}, "a dst exactly where its function writes one"),
    (MATVEC, {"dst": "logits"}, "a dst exactly where its function writes one"),
])
def test_op_refuses_what_no_packet_can_say(op, change, rule):
    with pytest.raises(ValueError) as error:
        replace(op, **change)
    assert str(error.value) == f"op {op.name!r} must have {rule}"


@pytest.mark.parametrize(("ops", "message"), [
    ((QUANTISE, QUANTISE), "op 'norm' must have a name of its own"),
    ((replace(QUANTISE, src="y"), MATVEC),
     "op 'norm' must have vectors of the program, not 'y'"),
    ((replace(QUANTISE, weights=np.ones(7, np.int16)), MATVEC),
     "op 'norm' must have as many elements as 'x'"),
    ((MATVEC,), "op 'head' must have the fan-in of the codes before it"),
])
def test_program_refuses_ops_that_do_not_fit(ops, message):
    with pytest.raises(ValueError) as error:
        replace(PROGRAM, ops=ops)
    assert str(error.value) == message


def test_embedding_row_is_a_load_to_x():
    table = np.arange(72, dtype=np.int8).reshape(9, 8)
    row = replace(PROGRAM, embedding=table).embedding_row(4)
    assert (row.dst, row.shift, row.wide) == ("x", 3, False)
    assert row.values.tolist() == table[4].tolist()
    assert replace(PROGRAM, embedding=table.astype(np.int16)).embedding_row(0).wide


def test_order_of_packets_is_that_of_the_contract():
    program = random_program(1)
    names = [op.name.removeprefix("layers.1.") for op in program.ops if op.layer == 1]
    assert names == [
        "attn_norm", "attn.lower_bound", "attn.f_proj", "attn.i_proj", "attn.g_proj",
        "attn.o_proj.norm", "attn.o_proj", "mlp_norm", "mlp.gate_proj.gate", "mlp.gate_proj.up",
        "mlp.down_proj.norm", "mlp.down_proj"]
    assert [op.name for op in program.ops if op.layer is None] == ["norm", "lm_head"]
    assert "layers.0.attn.lower_bound" not in {op.name for op in program.ops}


def test_differing_inner_norms_get_packets_of_their_own():
    program = random_program(1, inner_norms=True)
    norms = {op.name.removeprefix("layers.0."): op for op in program.ops
             if isinstance(op, Quantise) and op.layer == 0}
    assert {name: (op.sum_of, op.codes) for name, op in norms.items()} == {
        "attn_norm": (SumOf.PRODUCT, False),
        "attn.f_proj.norm": (SumOf.KEEP, True),
        "attn.i_proj.norm": (SumOf.KEEP, True),
        "attn.g_proj.norm": (SumOf.KEEP, True),
        "attn.g_norm": (SumOf.PRODUCT, False),
        "attn.o_proj.norm": (SumOf.KEEP, True),
        "mlp_norm": (SumOf.PRODUCT, False),
        "mlp.gate_proj.norm": (SumOf.KEEP, True),
        "mlp.down_proj.norm": (SumOf.INPUT, True),
    }


def test_digest_depends_on_content_alone():
    assert replace(PROGRAM, name="other", formats={"x": 1}).digest == PROGRAM.digest
    trits = MATVEC.trits.copy()
    trits[8, 7] = 0
    changed = [
        replace(PROGRAM, ops=(QUANTISE, replace(MATVEC, trits=trits))),
        replace(PROGRAM, ops=(replace(QUANTISE, shift=3), MATVEC)),
        replace(PROGRAM, ops=(replace(QUANTISE, sum_of=SumOf.INPUT), MATVEC)),
        replace(PROGRAM, embedding=np.zeros((9, 8), np.int8)),
        replace(PROGRAM, embedding_shift=4),
    ]
    assert len({PROGRAM.digest, *(p.digest for p in changed)}) == 6


def test_unscaled_rows_never_saturate():
    assert unscaled_fits(258)
    assert 258 * 127 <= 32767
    assert not unscaled_fits(259)
