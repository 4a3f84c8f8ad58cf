import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ternforge.trits import encode_trits
from ternforge_firmware import pack


def slow_pack(weights, lanes):
    """The layout of docs/integer-contract.md, one byte after the other."""
    fan_in = weights.shape[1]
    tile = 5 * lanes
    beats = []
    for first in range(0, fan_in, tile):
        for row in weights.tolist():
            columns = (row[first:first + tile] + [0] * tile)[:tile]
            beats.append([encode_trits(columns[5 * k:5 * k + 5]) for k in range(lanes)])
    return np.array(beats, np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 90), st.sampled_from([2, 4, 8]), st.integers(0, 1 << 30))
def test_beats_follow_the_contract_and_unpack(rows, fan_in, lanes, seed):
    weights = np.random.default_rng(seed).integers(-1, 2, (rows, fan_in)).astype(np.int8)
    beats = pack.pack(weights, lanes)
    assert np.array_equal(beats, slow_pack(weights, lanes))
    assert len(beats) == rows * pack.tiles(fan_in, lanes)
    assert np.array_equal(pack.unpack(beats, rows, fan_in), weights)


def test_order_of_beats_by_hand():
    weights = np.zeros((2, 12), np.int8)
    weights[0, 0], weights[1, 4], weights[0, 11] = 1, -1, 1
    zero = 0b11_000_111  # both pairs (0,0), trit 4 zero
    assert pack.pack(weights, 2).tolist() == [
        [0b11_100_100, zero],  # row 0, columns 0..9: second pair (0,0), first pair (+,0)
        [0b11_010_111, zero],  # row 1, columns 0..9: all zero but trit 4
        [0b11_110_100, zero],  # row 0, columns 10..11: first pair (0,+)
        [zero, zero],
    ]


def test_accumulators_are_checked_by_row():
    weights = np.zeros((3, 600), np.int8)
    weights[1, :258] = -1
    pack.check_accumulators(weights, 16)  # 127 * 258 = 32766
    weights[1, 258] = 1
    with pytest.raises(ValueError) as error:
        pack.check_accumulators(weights, 16)
    assert str(error.value) == ("row 1 must stay below 2**15 in an accumulator of 16 bits, not "
                                "reach 32893")


@pytest.mark.parametrize(("weights", "message"), [
    (np.array([[2]]), "weights must be integers in -1..1"),
    (np.array([[0.5]]), "weights must be integers in -1..1"),
    (np.zeros((0, 4), np.int8), "weights must have two dimensions and elements, not (0, 4)"),
    (np.zeros(4, np.int8), "weights must have two dimensions and elements, not (4,)"),
])
def test_what_is_not_ternary_is_refused(weights, message):
    with pytest.raises(ValueError) as error:
        pack.pack(weights, 8)
    assert str(error.value) == message


def test_bad_bytes_are_refused():
    beats = pack.pack(np.ones((3, 7), np.int8), 2)
    with pytest.raises(ValueError) as error:
        pack.unpack(beats, 3, 6)
    assert str(error.value) == "row 0 must be zero past its 6 columns"
    with pytest.raises(ValueError) as error:
        pack.unpack(beats, 2, 7)
    assert str(error.value) == "weights of 2 x 7 must take 2 beats, not 3"
    beats[2, 1] = 0xFF
    with pytest.raises(ValueError) as error:
        pack.unpack(beats, 3, 7)
    assert str(error.value) == "byte 1 of weight beat 2 must be a code of five trits, not 0xff"
