"""The integer model against a plain-Python interpreter that uses only the scalar definitions."""

import numpy as np
import pytest

from ternforge import numerics as n
from ternforge.isa import Function, SumOf
from ternforge_model.integer import SITES, IntegerModel
from ternforge_model.program import Load, Matvec, Program, Quantise
from ternforge_model.toy import narrowed, random_program

TOYS = {
    "plain": {"seed": 1},
    "inner-norms": {"seed": 2, "inner_norms": True, "wide_embedding": True},
    "one-layer": {"seed": 3, "layers": 1, "vocab": 40},
    "no-bound": {"seed": 4, "lower_bound": False, "d": 24, "m": 40},
    "scaled-gates": {"seed": 5, "d": 264, "layers": 2, "m": 16, "vocab": 9},
}
IDS = [3, 0, 8, 8, 1, 7, 2]


class Scalar:
    """One element at a time, straight from docs/integer-contract.md."""

    def __init__(self, program: Program):
        self.program = program
        self.state = {name: [0] * size for name, size in program.states.items()}
        self.vectors: dict[str, list[int]] = {}
        self.counts = dict.fromkeys(SITES, 0)
        self.squares = 0

    def clip(self, site: str, value: int, bits: int) -> int:
        clipped = n.saturate(value, bits)
        self.counts[site] += clipped != value
        return clipped

    def step(self, token: int) -> dict[str, list[int]]:
        writes: dict[str, list[int]] = {}
        for op in (self.program.embedding_row(token), *self.program.ops):
            if isinstance(op, Load):
                self.vectors[op.dst] = [int(c) << op.shift for c in op.values]
                writes[op.name] = self.vectors[op.dst]
            elif isinstance(op, Quantise):
                writes[op.name] = self.quantise(op)
            else:
                writes[op.name] = self.matvec(op)
        return writes

    def quantise(self, op: Quantise) -> list[int]:
        x = self.vectors[op.src]
        v = [self.clip("product", n.rnd(a * int(w), op.shift), 24)
             for a, w in zip(x, op.weights, strict=True)]
        if op.sum_of != SumOf.KEEP:
            z = x if op.sum_of == SumOf.INPUT else v
            self.squares = sum(self.clip("square", n.rnd(a, op.square_shift), 16) ** 2 for a in z)
        if not op.codes:
            return []
        self.vectors[op.dst] = v
        largest = n.normalise(max(map(abs, v)))
        self.codes = [n.code(a, largest, n.reciprocal(largest)) for a in v]
        self.ratio = n.ratio(largest, self.squares)
        return self.codes

    def matvec(self, op: Matvec) -> list[int]:
        rows = []
        for r, trits in enumerate(op.trits.tolist()):
            acc = sum(t * q for t, q in zip(trits, self.codes, strict=True))
            if op.function == Function.LOGITS:
                rows.append(acc)
                continue
            rows.append(self.row(op, r, self.rescale(op, acc)))
        if op.function == Function.RECURRENCE:
            self.state[str(op.state)] = rows
        elif op.dst is not None:
            self.vectors[op.dst] = rows
        return rows

    def rescale(self, op: Matvec, acc: int) -> int:
        if op.scale is None:
            return self.clip("rescale", acc, 16)
        scale = n.scale(*op.scale, self.ratio)
        bits = 24 if op.function == Function.RESIDUAL else 16
        return self.clip("rescale", n.rnd(acc * scale.mantissa, scale.shift), bits)

    def row(self, op: Matvec, r: int, y: int) -> int:
        operand = self.vectors[op.operand][r] if op.operand is not None else 0
        h = self.state[op.state][r] if op.state is not None else 0
        if op.function == Function.FORGET:
            s = n.sigmoid(n.saturate(y << op.activation_shift, 16))
            return operand + n.rnd((32768 - operand) * s, 15) if op.bounded else s
        if op.function == Function.RECURRENCE:
            c = n.silu(y, op.activation_shift)
            return c + n.rnd(operand * (h - c), 15)
        if op.function == Function.OUTPUT_GATE:
            return self.clip("gate", n.rnd(y * n.silu(h, op.activation_shift), op.shift), 24)
        if op.function == Function.SILU:
            return n.silu(y, op.activation_shift)
        if op.function == Function.MULTIPLY:
            return self.clip("gate", n.rnd(y * operand, op.shift), 24)
        return self.clip("residual", operand + y, 24)


@pytest.fixture(scope="module", params=TOYS.values(), ids=list(TOYS))
def program(request) -> Program:
    return random_program(**request.param)


def check(program: Program) -> dict[str, int]:
    scalar = Scalar(program)
    result = IntegerModel(program).forward(IDS, trace=True)
    for t, token in enumerate(IDS):
        for name, written in scalar.step(token).items():
            kinds = [k for op, k in result.trace if op == name and k in ("vector", "codes", "rows")]
            if name == "lm_head":
                assert result.acc[t].tolist() == written
                assert result.tokens[t] == written.index(max(written))
            elif kinds:
                assert result.trace[name, kinds[0]][t].tolist() == written, (t, name)
        assert result.ratio(t) == scalar.ratio
    assert {k: v.tolist() for k, v in result.state.items()} == scalar.state
    assert result.saturations == scalar.counts
    return result.saturations


def test_every_write_equals_the_scalar_interpreter(program):
    assert check(program) == dict.fromkeys(SITES, 0)


def test_saturated_writes_and_counts_equal_the_scalar_interpreter():
    counts = check(narrowed(random_program(1)))
    assert all(counts.values()), counts


def test_steps_equal_the_whole_sequence(program):
    model = IntegerModel(program)
    whole = model.forward(IDS, trace=True)
    state = None
    for t, token in enumerate(IDS):
        one = model.step(token, state, trace=True)
        state = one.state
        assert one.trace.keys() == whole.trace.keys()
        for key, value in one.trace.items():
            assert np.array_equal(value[0], whole.trace[key][t]), (t, key)


def test_a_call_leaves_the_state_it_was_given(program):
    model = IntegerModel(program)
    before = model.forward(IDS).state
    copy = {name: value.copy() for name, value in before.items()}
    model.forward(IDS, before)
    assert all(np.array_equal(before[name], copy[name]) for name in copy)


def test_trace_holds_what_the_documentation_says():
    program = random_program(2, inner_norms=True)
    trace = IntegerModel(program).forward(IDS, trace=True).trace
    kinds: dict[str, list[str]] = {}
    for op, kind in trace:
        kinds.setdefault(op, []).append(kind)
    assert list(kinds) == ["embeddings", *(op.name for op in program.ops)]
    assert kinds["embeddings"] == ["vector"]
    assert kinds["layers.0.attn_norm"] == ["squares"]
    assert kinds["layers.0.attn.f_proj.norm"] == ["v", "codes", "ratio"]
    assert kinds["layers.0.mlp.down_proj.norm"] == ["squares", "v", "codes", "ratio"]
    assert kinds["layers.0.attn.g_proj"] == ["acc", "rows"]
    assert kinds["layers.0.attn.i_proj"] == ["acc", "scale", "rows"]
    assert kinds["layers.1.attn.lower_bound"] == ["vector"]
    assert kinds["lm_head"] == ["acc", "rows"]


def test_first_of_equal_logits_is_the_token():
    program = random_program(1)
    head = program.ops[-1]
    assert isinstance(head, Matvec)
    trits = head.trits.copy()
    trits[20:] = trits[5]
    trits[:5] = 0
    ops = (*program.ops[:-1], Matvec(**{**vars(head), "trits": trits}))
    result = IntegerModel(Program(**{**vars(program), "ops": ops})).forward(IDS)
    for acc, token in zip(result.acc, result.tokens, strict=True):
        assert token == acc.tolist().index(acc.max())
        assert acc[5] == acc[20]


@pytest.mark.parametrize(("ids", "message"), [
    ([], "ids must be a sequence of at least one token"),
    ([[1]], "ids must be a sequence of at least one token"),
    ([0.5], "ids must be a sequence of at least one token"),
    ([0, 32], "token must be in 0..31, not 32"),
    ([-1, 3], "token must be in 0..31, not -1"),
])
def test_bad_tokens_are_refused(ids, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        IntegerModel(random_program(1)).forward(ids)


def test_foreign_state_is_refused():
    model = IntegerModel(random_program(1))
    with pytest.raises(ValueError, match=r"^state must hold 16-bit arrays of the program's states"):
        model.step(1, {"h0": np.zeros(16, np.int64)})
