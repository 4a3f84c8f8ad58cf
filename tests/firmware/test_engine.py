"""The CPU engine against the integer model: every intermediate, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from ternforge.errors import UserError
from ternforge.isa import Function, Opcode, SumOf
from ternforge_firmware.cpu.engine import CHUNK, Engine
from ternforge_firmware.cpu.jit import thread_limit
from ternforge_firmware.cpu.plan import plan
from ternforge_firmware.generate import HOST_CORE
from ternforge_firmware.image import Image, ImageError
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.lower import lower
from ternforge_firmware.packet import Packet
from ternforge_model.catalog import open_model, shipped_names
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Load, Matvec, Quantise
from ternforge_model.sampling import generate
from ternforge_model.toy import narrowed, random_program, wide_program

#: Fan-ins that end within a byte, a beat, a tile or a word, or fill them; odd numbers of rows.
TOYS = {
    "plain": {"seed": 1},
    "odd": {"seed": 2, "d": 37, "m": 71, "vocab": 33},
    "inner-norms": {"seed": 3, "d": 66, "m": 131, "vocab": 17, "inner_norms": True,
                    "wide_embedding": True},
    "no-bound": {"seed": 4, "lower_bound": False, "d": 64, "m": 128, "vocab": 9},
    "one-layer": {"seed": 5, "layers": 1, "d": 45, "m": 80},
    "scaled-gates": {"seed": 6, "d": 261, "m": 70, "vocab": 9},
}
LANES = [2, 8, 40]


def image_of(program, lanes=16) -> Image:
    return lower(program, replace(HOST_CORE, lanes=lanes))


def check(program, engine, ids) -> None:
    """Run both in two calls and compare all that they give."""
    model = IntegerModel(program)
    state = ours = None
    cut = len(ids) // 3 + 1
    for part in (ids[:cut], ids[cut:]):
        expected = model.forward(part, state, trace=True)
        traced = engine.forward(part, ours, trace=True)
        plain = engine.forward(part, ours)
        assert list(traced.trace) == list(expected.trace)
        for key, value in expected.trace.items():
            assert np.array_equal(traced.trace[key], value), key
        for result in (traced, plain):
            assert np.array_equal(result.tokens, expected.tokens)
            assert np.array_equal(result.acc, expected.acc)
            assert np.array_equal(result.ratio_mantissa, expected.ratio_mantissa)
            assert np.array_equal(result.ratio_exponent, expected.ratio_exponent)
            assert list(result.state) == list(expected.state)
            assert all(np.array_equal(result.state[k], v) for k, v in expected.state.items())
            assert result.saturated_ops == expected.saturated_ops
            assert result.saturations == expected.saturations
        state, ours = expected.state, plain.state


def random_ids(program, count, seed=0):
    return np.random.default_rng(seed).integers(0, program.vocab_size, count)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
def test_every_intermediate_is_that_of_the_integer_model(toy, lanes):
    program = random_program(**toy)
    check(program, Engine(image_of(program, lanes)), random_ids(program, 2 * CHUNK + 3))


@pytest.mark.parametrize("toy", ["odd", "inner-norms", "scaled-gates"])
def test_saturations_are_counted_alike(toy):
    program = narrowed(random_program(**TOYS[toy]))
    ids = random_ids(program, 20)
    assert all(IntegerModel(program).forward(ids).saturations[site] for site in
               ("product", "square", "rescale", "gate", "residual"))
    check(program, Engine(image_of(program)), ids)


def test_worst_values():
    """Embeddings and weights at their largest, all of one sign or of both."""
    program = random_program(7, d=261, m=70, vocab=12, wide_embedding=True)
    table = np.full(program.embedding.shape, 0x7FFF, np.int16)
    table[1::3], table[2::3, ::2], table[5] = -0x8000, -0x8000, 0
    for trit in (1, -1):
        ops = []
        for op in program.ops:
            if isinstance(op, Matvec):
                trits = np.full_like(op.trits, trit)
                trits[1::4, 1::2] = -trit
                op = replace(op, trits=trits)
            elif isinstance(op, Quantise):
                op = replace(op, weights=np.full_like(op.weights, 0x7FFF))
            elif isinstance(op, Load):
                op = replace(op, values=np.full_like(op.values, 0x7FFF))
            ops.append(op)
        extreme = replace(program, ops=tuple(ops), embedding=table, embedding_shift=8)
        check(extreme, Engine(image_of(extreme)), np.arange(12))
        check(narrowed(extreme), Engine(image_of(narrowed(extreme))), np.arange(12))


def test_the_shapes_of_a_released_layer(tmp_path):
    program = wide_program(9, d=1024, layers=2, m=2816, vocab=999)
    engine = Engine(ImageFile(image_of(program).write(tmp_path / "wide.tfi")))
    assert engine.weight_bytes == pytest.approx(program.ternary_weights / 4, rel=0.001)
    check(program, engine, random_ids(program, 6))


def test_a_vector_of_zeros_has_no_ratio():
    program = random_program(1)
    program = replace(program, embedding=np.zeros_like(program.embedding))
    check(program, Engine(image_of(program)), [0, 1])
    assert Engine(image_of(program)).step(3).ratio_mantissa.tolist() == [0]


def test_a_sum_of_squares_does_not_outlive_its_call():
    program = random_program(1)
    first = next(n for n, op in enumerate(program.ops) if isinstance(op, Quantise))
    ops = list(program.ops)
    ops[first] = replace(ops[first], sum_of=SumOf.KEEP)
    program = replace(program, ops=tuple(ops))
    check(program, Engine(image_of(program)), random_ids(program, 9))


def test_first_of_equal_logits_is_the_token():
    program = random_program(1)
    head = program.ops[-1]
    assert isinstance(head, Matvec)
    trits = head.trits.copy()
    trits[20:], trits[:5] = trits[5], 0
    program = replace(program, ops=(*program.ops[:-1], replace(head, trits=trits)))
    check(program, Engine(image_of(program)), random_ids(program, 9))


@pytest.mark.skipif(thread_limit() < 2, reason="this machine gives one CPU")
@pytest.mark.parametrize("toy", ["odd", "scaled-gates"])
def test_results_do_not_depend_on_threads(toy):
    program = narrowed(random_program(**TOYS[toy]))
    image, ids = image_of(program), random_ids(program, 21)
    for threads in range(1, min(thread_limit(), 4) + 1):
        engine = Engine(image, threads=threads)
        assert engine.threads == threads
        check(program, engine, ids)


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_models_from_a_file(name, tmp_path):
    found = open_model(name)
    path = image_of(found.program).write(tmp_path / "model.tfi")
    ids = found.tokenizer.encode(b"First Citizen:\nBefore we proceed any further")
    engine = Engine(ImageFile(path))
    check(found.program, engine, ids)
    for temperature in (0.0, 0.8):
        arguments = {"temperature": temperature, "seed": 3}
        assert generate(engine, ids, 48, **arguments) == \
            generate(found.program, ids, 48, **arguments)


def test_a_call_leaves_the_state_it_was_given():
    engine = Engine(image_of(random_program(1)))
    before = engine.forward([1, 2]).state
    copy = {name: value.copy() for name, value in before.items()}
    engine.forward([3] * (CHUNK + 1), before)
    assert all(np.array_equal(before[name], copy[name]) for name in copy)


def test_weights_take_two_bits():
    program = random_program(8, d=64, m=128, vocab=64)
    engine = Engine(image_of(program))
    assert engine.weight_bytes == program.ternary_weights // 4


@pytest.mark.parametrize(("ids", "message"), [
    ([], "ids must be a sequence of at least one token"),
    ([0, 32], "token must be in 0..31, not 32"),
    ([-1, 3], "token must be in 0..31, not -1"),
])
def test_bad_tokens_are_refused(ids, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Engine(image_of(random_program(1))).forward(ids)


def test_foreign_state_is_refused():
    engine = Engine(image_of(random_program(1)))
    with pytest.raises(ValueError, match=r"^state must hold 16-bit arrays of the program's states"):
        engine.step(1, {"h0": np.zeros(16, np.int64)})


@pytest.mark.parametrize("threads", [0, -1, thread_limit() + 1])
def test_bad_threads_are_refused(threads):
    with pytest.raises(UserError) as error:
        Engine(image_of(random_program(1)), threads=threads)
    assert str(error.value) == f"--threads must be in 1..{thread_limit()}, not {threads}"


def test_packets_that_cannot_run_are_refused():
    image = image_of(random_program(1), 8)
    start = ("image 'm.tfi' is malformed in section 'metadata': it must describe the packets of "
             "the program: ")
    at = next(n for n, packet in enumerate(image.program) if packet.op is Opcode.MATVEC)
    matrix = image.program[at]
    payload = matrix.payload.copy()
    payload[3, 1] = 0xFF
    bad = Packet(Opcode.MATVEC, matrix.fields, payload)
    entries = image.metadata["packets"]
    head = len(entries) - 1
    cases = [
        (replace(image, program=(*image.program[:at], bad, *image.program[at + 1:])),
         "byte 1 of weight beat 3 must be a code of five trits, not 0xff"),
        (replace(image, metadata={**image.metadata, "packets": entries[:-1]}),
         f"{len(entries)} packets must have as many entries, not {head}"),
        (replace(image, program=(*image.program[:head], Packet(Opcode.END)),
                 metadata={**image.metadata, "packets": entries[:-1]}),
         "the last packet before END must be the MATVEC of the logits"),
        (replace(image, program=image.program[at:],
                 metadata={**image.metadata, "packets": entries[at:]}),
         "tiles of packet 0 must be 0, not 1"),
    ]
    for changed, message in cases:
        with pytest.raises(ImageError) as error:
            Engine(changed, name="m.tfi")
        assert str(error.value) == start + message
    assert Function(matrix.fields["function"]) is Function.FORGET


def groups(image):
    made = plan(image, lambda step: None)
    return {name: int(op["group"]) for name, op in zip(made.names, made.ops, strict=True)
            if op["op"] == Opcode.MATVEC.value}


def moved(image, vector, address):
    """The image with one of its vectors at another address."""
    packets = list(image.program)
    for n, entry in enumerate(image.metadata["packets"]):
        keys = [key for key in ("src", "operand", "dst") if entry.get(key) == vector]
        fields = packets[n].fields | dict.fromkeys(keys, address)
        packets[n] = Packet(packets[n].op, fields, packets[n].payload)
    vectors = [entry | {"address": address} if entry["name"] == vector else entry
               for entry in image.metadata["vectors"]]
    return replace(image, program=tuple(packets),
                   metadata={**image.metadata, "vectors": vectors})


def test_matrices_share_a_loop_only_row_by_row():
    image = image_of(random_program(1))
    expected = {"f_proj": 3, "i_proj": 1, "g_proj": 1, "o_proj": 1, "gate": 2, "up": 1,
                "down_proj": 1, "lm_head": 1}
    assert {name.rpartition(".")[2]: size for name, size in groups(image).items()} == expected
    address = {entry["name"]: entry["address"] for entry in image.metadata["vectors"]}
    assert groups(moved(image, "p", 512))["layers.0.attn.f_proj"] == 3
    overlapping = groups(moved(image, "p", address["f"] + 1))
    assert [overlapping[f"layers.0.attn.{name}_proj"] for name in "fig"] == [2, 1, 1]


def test_what_is_done_is_told():
    steps: list[str] = []
    Engine(image_of(random_program(1)), progress=steps.append)
    assert steps[0] == "reading the weights: 0%"
    assert steps[-1] == "loading the kernels, which are compiled at first use"
