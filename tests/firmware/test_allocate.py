from dataclasses import replace

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge.isa import Function, SumOf
from ternforge_firmware.allocate import FitError, allocate, live_ranges, row_parts
from ternforge_model.program import Load, Matvec, Program, Quantise
from ternforge_model.toy import random_program


def norm(name, src, dst, size, **rest):
    return Quantise(**{"name": name, "layer": None, "src": src, "dst": dst, "shift": 0,
                       "weights": np.ones(size, np.int16), "square_shift": 0,
                       "sum_of": SumOf.INPUT, **rest})


def matrix(name, function, rows, fan_in, **rest):
    return Matvec(name=name, layer=None, function=function,
                  trits=np.ones((rows, fan_in), np.int8), **rest)


def hand_made(*, gate=12, **vectors):
    """Ops 0..5: v, f, f again, state, gate, and logits that stay."""
    ops = (
        norm("n0", "x", "v", 8),
        Load(name="bound", layer=0, dst="f", values=np.ones(8, np.int16)),
        matrix("f", Function.FORGET, 8, 8, bounded=True, operand="f", dst="f"),
        matrix("i", Function.RECURRENCE, 8, 8, operand="f", state="h"),
        matrix("gate", Function.SILU, gate, 8, dst="gate"),
        norm("n1", "gate", "w", gate),
        matrix("head", Function.LOGITS, 9, gate, store=True, dst="logits"),
    )
    return Program(name="hand", ops=ops, vectors={"logits": 9, "x": 8, "v": 8, "f": 8, "gate": gate,
                                                  "w": gate, **vectors},
                   states={"h": 8}, embedding=np.ones((9, 8), np.int8), embedding_shift=0,
                   logit_scale=1.0)


def test_live_ranges_by_hand():
    assert live_ranges(hand_made(spare=4)) == {
        "x": [(-1, 6)], "v": [(0, 0)], "f": [(1, 3)], "gate": [(4, 5)], "w": [(5, 5)],
        "logits": [(6, 6)], "spare": []}


def test_addresses_by_hand():
    allocation = allocate(hand_made(), CoreConfig(lanes=8, elements=4))
    # the vectors after x die one before the other, but w may not share with gate, which the
    # same packet reads
    assert allocation.vectors == {"logits": 8, "x": 0, "v": 8, "f": 8, "gate": 8, "w": 20}
    assert allocation.states == {"h": 0}
    assert allocation.needs == {"vector_depth": 32, "state_depth": 8, "max_rows": 0,
                                "max_fan_in": 12}


def test_stored_logits_live_to_the_end():
    program = hand_made()
    after = norm("after", "x", "v", 8)
    longer = replace(program, ops=(*program.ops, after))
    assert live_ranges(longer)["logits"] == [(6, 7)]
    addresses = allocate(longer, CoreConfig(lanes=8, elements=4)).vectors
    assert addresses["logits"] == 8
    assert addresses["v"] == 20  # nine logits, rounded up to twelve, stand before it


def test_a_sum_of_squares_writes_nothing():
    program = hand_made()
    only = norm("sum", "x", "f", 8, codes=False)
    longer = replace(program, ops=(only, *program.ops))
    assert live_ranges(longer)["f"] == [(2, 4)]


def test_a_gap_is_filled_exactly():
    ops = (
        norm("n", "x", "u", 8),
        matrix("a", Function.SILU, 12, 8, dst="a"),
        matrix("b", Function.SILU, 12, 8, dst="b"),
        norm("use-a", "a", "a", 12),
        norm("use-b", "b", "v", 12),
        matrix("c", Function.MULTIPLY, 12, 12, operand="b", dst="b"),
    )
    program = replace(hand_made(), ops=ops, vectors={"x": 8, "u": 8, "a": 12, "b": 12, "v": 12})
    assert allocate(program, CoreConfig(lanes=8)).vectors == {
        "x": 0, "a": 8, "b": 20, "v": 8, "u": 8}


@pytest.mark.parametrize("elements", [1, 2, 4])
@pytest.mark.parametrize("inner_norms", [False, True])
def test_vectors_that_live_at_once_do_not_overlap(elements, inner_norms):
    program = random_program(5, d=16, layers=3, m=36, vocab=17, inner_norms=inner_norms)
    allocation = allocate(program, CoreConfig(lanes=8, elements=elements))
    ranges = live_ranges(program)
    owner = {}
    for n in range(-1, len(program.ops)):
        live = [name for name in ranges if any(a <= n <= b for a, b in ranges[name])]
        owner = {}
        for name in live:
            at = allocation.vectors[name]
            assert at % elements == 0
            for k in range(at, at + program.vectors[name]):
                assert owner.setdefault(k, name) == name
    assert "x" in owner.values()
    assert allocation.states == {name: k * 16 for k, name in enumerate(program.states)}


def test_vectors_share_memory(program, core):
    needs = allocate(program, core).needs
    assert needs["vector_depth"] == program.vectors["x"] + program.vectors["gate"]
    assert needs["vector_depth"] < sum(program.vectors.values())


@pytest.mark.parametrize(("what", "message"), [
    ("vector_depth", "its vectors need vector_depth=72, 8 more than its 64"),
    ("state_depth", "its recurrent states need state_depth=48, 8 more than its 40"),
    ("max_fan_in",
     ("quantised vector 'layers.0.mlp.down_proj.norm' need max_fan_in=48, 8 more than its "
      "40")),
])
def test_limits_are_named_with_the_excess(program, core, what, message):
    needs = allocate(program, core).needs
    allocate(program, replace(core, **needs))
    with pytest.raises(FitError) as error:
        allocate(program, replace(core, **{what: needs[what] - 8}))
    assert str(error.value) == f"model 'toy-3' does not fit the core: {message}"


def test_a_matrix_takes_as_few_equal_packets_as_the_accumulators_allow(program, core):
    assert allocate(program, core).needs["max_rows"] == 24
    assert allocate(program, replace(core, max_rows=23)).needs["max_rows"] == 12
    assert [part.stop - part.start for part in row_parts(25, 8)] == [6, 6, 6, 7]
    assert [part.stop for part in row_parts(32000, 4096)][-1] == 32000


def test_a_part_needs_as_many_accumulators_as_the_shortest_packet(program, core):
    with pytest.raises(FitError) as error:
        allocate(program, replace(core, max_rows=7))
    assert str(error.value) == ("model 'toy-3' does not fit the core: matrix "
                                "'layers.0.mlp.down_proj' of several tiles need max_rows=8, 1 more "
                                "than its 7")


def test_rows_of_a_matrix_of_one_tile_are_not_limited(program):
    wide = CoreConfig(lanes=40, elements=2, max_rows=1)
    assert allocate(program, wide).needs["max_rows"] == 0


def test_a_matrix_of_few_rows_is_refused():
    program = hand_made()
    small = replace(program, ops=(*program.ops[:-1], matrix("head", Function.LOGITS, 7, 12)))
    with pytest.raises(FitError) as error:
        allocate(small, CoreConfig())
    assert str(error.value) == ("matrix 'head' of model 'hand' must have at least 8 rows, not 7")


def test_a_vector_that_the_quantiser_cannot_step_over_is_refused(core):
    with pytest.raises(FitError) as error:
        allocate(hand_made(gate=13), core)
    assert str(error.value) == ("op 'n1' of model 'hand' must quantise a multiple of elements=2 "
                                "values, not 13")


def test_reading_what_nothing_wrote_is_refused():
    program = hand_made()
    with pytest.raises(ValueError) as error:
        live_ranges(replace(program, ops=(program.ops[0], *program.ops[2:])))
    assert str(error.value) == "op 'f' must read vectors that were written, not 'f'"
