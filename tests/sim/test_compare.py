"""The comparison itself, on writes made up from what the integer model expects."""

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Load, Matvec, Quantise
from ternforge_model.toy import random_program
from ternforge_sim.compare import Outline, expected_writes, first_divergence
from ternforge_sim.runner import EVENT


@pytest.fixture(scope="module")
def program():
    return random_program(3, d=16, layers=2, m=24, vocab=16)


@pytest.fixture(scope="module")
def image(program):
    return lower(program, CoreConfig(lanes=4, elements=2))


@pytest.fixture(scope="module")
def outline(image):
    return Outline.of(image)


@pytest.fixture(scope="module")
def expected(program, outline):
    return expected_writes(outline, IntegerModel(program).step(5, trace=True).trace)


@pytest.fixture
def events(expected):
    """What a faultless core would write, one write in each second cycle."""
    made = np.zeros(len(expected), EVENT)
    for column, name in ((0, "packet"), (1, "kind"), (3, "address"), (4, "value")):
        made[name] = expected[:, column]
    made["cycle"] = 1000 + 2 * np.arange(len(made))
    return made


def numbers(program, kind, **wanted):
    """Packet numbers of the ops of one kind with these attributes."""
    return [1 + k for k, op in enumerate(program.ops) if isinstance(op, kind)
            and all(getattr(op, name) == value for name, value in wanted.items())]


def test_same_writes_do_not_diverge(outline, expected, events):
    assert first_divergence(outline, expected, events, 0) is None


def test_every_write_of_a_token_is_expected(program, image, expected):
    ops = (program.embedding_row(0), *program.ops)
    for packet, op in enumerate(ops):
        mine = expected[expected[:, 0] == packet]
        if isinstance(op, Load):
            assert set(mine[:, 1]) == {0}
            assert len(mine) == len(op.values)
        elif isinstance(op, Quantise):
            assert len(mine) == 2 * op.codes * len(op.weights)
        elif op.store or op.dst is not None or op.state is not None:
            assert len(mine) == op.rows
    for vector in image.metadata["vectors"]:
        end = vector["address"] + vector["length"]
        written = expected[expected[:, 1] == 0][:, 3]
        assert ((vector["address"] <= written) & (written < end)).sum() >= vector["length"]
    states = sorted(expected[expected[:, 1] == 1][:, 3])
    assert states == list(range(sum(program.states.values())))


@pytest.mark.parametrize("field", ["address", "value"])
def test_one_wrong_field_is_named(program, outline, expected, events, field):
    packet = next(k for k in numbers(program, Matvec) if program.ops[k - 1].state is not None
                  and program.ops[k - 1].dst is None)
    index = int(np.flatnonzero(expected[:, 0] == packet)[7])
    events[field][index] += 1
    found = first_divergence(outline, expected, events, 9)
    assert found is not None
    op = program.ops[packet - 1]
    assert (found.position, found.layer, found.packet, found.op) == (9, op.layer, packet, op.name)
    assert (found.tensor, found.memory, found.element) == (op.state, "state", 7)
    assert found.cycle == 1000 + 2 * index
    changed = {"address": 0, "value": 0, field: 1}
    assert found.actual == expected[index, 4] + changed["value"]
    assert found.expected == expected[index, 4]
    assert found.address == expected[index, 3]
    assert found.actual_address == expected[index, 3] + changed["address"]
    places = f" at address {found.actual_address} instead of {found.address}"
    assert str(found) == (
        f"token 9, layer {op.layer}, packet {packet} ({op.name}), tensor {op.state} (state), "
        f"element 7: the integer model has {found.expected}, the hardware {found.actual}"
        f"{places if field == 'address' else ''}, in cycle {found.cycle}")


def test_a_code_is_counted_within_its_packet(outline, expected, events):
    index = int(np.flatnonzero(expected[:, 1] == 2)[20])
    events["value"][index] ^= 1
    found = first_divergence(outline, expected, events, 0)
    assert found is not None
    assert (found.tensor, found.memory, found.element) == ("codes", "codes", 20 % 16)


def test_a_write_too_few_or_too_many(program, outline, expected, events):
    logits = program.ops[-1]
    missing = first_divergence(outline, expected, events[:-1], 0)
    assert missing is not None
    assert (missing.op, missing.tensor, missing.element) == (logits.name, logits.dst, 15)
    assert (missing.actual, missing.actual_address) == (None, None)
    assert missing.expected == expected[-1, 4]
    more = np.concatenate([events, events[-1:]])
    surplus = first_divergence(outline, expected, more, 0)
    assert surplus is not None
    assert (surplus.expected, surplus.address) == (None, None)
    assert surplus.actual == expected[-1, 4]
    none = first_divergence(outline, expected, events[:0], 0)
    assert none is not None
    assert (none.op, none.actual, none.cycle) == ("embeddings", None, 0)


def test_a_packet_left_out_has_no_value(program, outline, expected, events):
    packet = numbers(program, Matvec)[0]
    left = events[events["packet"] != packet]
    found = first_divergence(outline, expected, left, 0)
    assert found is not None
    assert (found.packet, found.element, found.actual) == (packet, 0, None)
