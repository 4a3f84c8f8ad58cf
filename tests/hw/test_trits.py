from itertools import product

import pytest

from ternforge.trits import DECODE, ENCODE, decode_byte, encode_trits

QUINTUPLES = list(product((-1, 0, 1), repeat=5))


def decode_by_contract(byte):
    """The section "Weights" of docs/integer-contract.md, read literally; None if unused."""
    def pair(p):
        if not p >> 2:
            return (-1 if p & 1 else 1, -1 if p & 2 else 1)
        value = -1 if p & 1 else 1
        return (0, value) if p & 2 else (value, 0)

    single = {0b00: 0, 0b01: 1, 0b10: -1}
    low, middle, top = byte & 7, byte >> 3 & 7, byte >> 6
    if top != 0b11:
        return (*pair(low), *pair(middle), single[top])
    if low & 3 == 0b11:
        used = low & 4 and not middle & 4 and middle & 3 in single
        return (0, 0, 0, 0, single[middle & 3]) if used else None
    if low & 4:
        return (*pair(middle), 0, 0, single[low & 3])
    return (0, 0, *pair(middle), single[low & 3])


def test_bytes_follow_the_contract():
    assert [decode_by_contract(byte) for byte in range(256)] == list(DECODE)


def test_every_quintuple_has_its_own_byte():
    assert sorted(encode_trits(trits) for trits in QUINTUPLES) == [
        byte for byte in range(256) if DECODE[byte] is not None]
    assert DECODE.count(None) == 13


@pytest.mark.parametrize("trits", QUINTUPLES[::20])
def test_decode_inverts_encode(trits):
    assert decode_byte(encode_trits(trits)) == trits


def test_table_is_indexed_in_base_three():
    for trits in QUINTUPLES:
        assert ENCODE[sum((trit + 1) * 3**k for k, trit in enumerate(trits))] == encode_trits(trits)


@pytest.mark.parametrize(("trits", "byte"), [
    ((1, 1, 1, 1, 0), 0b00_000_000),
    ((-1, 1, 1, -1, 1), 0b01_010_001),
    ((0, -1, 1, 0, -1), 0b10_100_111),
    ((0, 0, 1, -1, -1), 0b11_010_010),
    ((0, 1, 0, 0, 1), 0b11_110_101),
    ((0, 0, 0, 0, -1), 0b11_010_111),
    ((0, 0, 0, 0, 0), 0b11_000_111),
])
def test_some_bytes_written_by_hand(trits, byte):
    assert encode_trits(trits) == byte


@pytest.mark.parametrize("trits", [(0, 0, 0, 0), (0,) * 6, (0, 0, 2, 0, 0)])
def test_encode_rejects_other_than_five_trits(trits):
    with pytest.raises(ValueError, match=r"^trits must be five of -1, 0 and 1, not \[[0-9, ]*\]$"):
        encode_trits(trits)


@pytest.mark.parametrize("byte", [-1, 256, 0b11_000_011, 0b11_011_111])
def test_decode_rejects_unused_bytes(byte):
    with pytest.raises(ValueError, match=r"^packed weights must be one of the 243 used bytes, "
                                         f"not {byte}$"):
        decode_byte(byte)
