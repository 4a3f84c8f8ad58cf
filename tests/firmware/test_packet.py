from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ternforge.isa import Function, Opcode, SumOf, header_fields
from ternforge_firmware import packet
from ternforge_firmware.packet import Packet, parse

#: Header of each opcode with distinct field values, and the bytes written out by hand.
WORDS = [
    (Packet(Opcode.END), "00"),
    # op 1, wide 1, count 2, dst 0x1234, shift 9, from bit 0 up: 4, 1, 16, 16, 4 bits
    (packet.load(0x1234, np.array([1, -2]), wide=True, shift=9),
     (0x1 | 1 << 4 | 2 << 5 | 0x1234 << 21 | 9 << 37).to_bytes(16, "little").hex()
     + "0100" + "feff"),
    (packet.load(1, np.array([127, -128]), wide=False, shift=0), "41002000" + "00" * 12 + "7f80"),
    # op 2, wide 1, count 2, dst 6, shift 14, src 5, sum_of 2, codes 1, square_shift 3, tiles 1
    (packet.quantise(np.array([-1, 0x1234]), sum_of=SumOf.PRODUCT, codes=1, shift=14,
                     square_shift=3, tiles=1, src=5, dst=6),
     (0x2 | 1 << 4 | 2 << 5 | 6 << 21 | 14 << 37 | 5 << 43 | 2 << 59 | 1 << 61 | 3 << 62 | 1 << 66)
     .to_bytes(16, "little").hex() + "ffff3412"),
    # op 3, function 5, scaled 1, bounded 0, store 0, activation_shift 2, shift 7, tiles 1, rows 1,
    # operand 3, state 4, dst 5, mantissa 0x8001, exponent -3
    (packet.matvec(np.arange(8, dtype=np.uint8).reshape(1, 8), function=Function.RESIDUAL, scaled=1,
                   activation_shift=2, shift=7, tiles=1, rows=1, operand=3, state=4, dst=5,
                   scale_mantissa=0x8001, scale_exponent=0xFD),
     (0x3 | 5 << 4 | 1 << 7 | 2 << 10 | 7 << 13 | 1 << 17 | 1 << 25 | 3 << 41 | 4 << 57 | 5 << 73
      | 0x8001 << 89 | 0xFD << 105).to_bytes(16, "little").hex() + "0001020304050607"),
]


@pytest.mark.parametrize(("item", "text"), WORDS, ids=[item.op.name for item, _ in WORDS])
def test_bytes_are_the_words_written_by_hand(item, text):
    raw = bytes.fromhex(text)
    assert item.to_beats(8).tobytes() == raw.ljust(-(-max(len(raw), 16) // 8) * 8, b"\0")
    assert parse(item.to_beats(8)) == [(0, item)]


@pytest.mark.parametrize("lanes", [2, 8, 16, 40])
def test_header_and_payload_start_on_a_beat(lanes):
    item = packet.load(0, np.array([1, 2, 3]), wide=True, shift=0)
    beats = item.to_beats(lanes)
    header = -(-16 // lanes)
    assert beats.shape == (header + -(-6 // lanes), lanes)
    assert beats[header:].tobytes()[:6] == bytes([1, 0, 2, 0, 3, 0])
    assert item.beats(lanes) == len(beats) == packet.header_beats(lanes) + \
        packet.payload_beats(item.op, item.fields, lanes)


@st.composite
def packets(draw, lanes=8):
    op = draw(st.sampled_from(list(Opcode)))
    fields = {name: draw(st.integers(0, (1 << width) - 1))
              for name, width in header_fields(op).items()}
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    if op is Opcode.MATVEC:
        fields.update(function=draw(st.integers(0, 6)), rows=draw(st.integers(1, 20)),
                      tiles=draw(st.integers(1, 3)))
        return Packet(op, fields, rng.integers(0, 256, (fields["rows"] * fields["tiles"], lanes))
                      .astype(np.uint8))
    if op is Opcode.END:
        return Packet(op)
    fields["count"] = draw(st.integers(0, 30))
    if op is Opcode.QUANTISE:
        fields["sum_of"] = draw(st.integers(0, 2))
    top = 1 << packet.constant_bits(op, fields) >> 1
    return Packet(op, fields, rng.integers(-top, top, fields["count"]))


@settings(deadline=None, max_examples=40)
@given(st.lists(packets(), max_size=5))
def test_parse_is_the_inverse_of_to_beats(items):
    beats = np.concatenate([np.zeros((0, 8), np.uint8), *(item.to_beats(8) for item in items)])
    assert [item for _, item in parse(beats)] == items
    at = [start for start, _ in parse(beats)] + [len(beats)]
    assert [b - a for a, b in pairwise(at)] == [item.beats(8) for item in items]


def flipped(item, byte):
    beats = item.to_beats(8)
    beats.reshape(-1)[byte] ^= 0x80
    return beats


LOAD = packet.load(0, np.array([1, 2, 3]), wide=True, shift=0)


@pytest.mark.parametrize(("beats", "message"), [
    (LOAD.to_beats(8)[:1],
     "packet 0 at beat 0: a header of 2 beats must fit, but 1 are left"),
    (LOAD.to_beats(8)[:2],
     "packet 0 at beat 0: the payload of LOAD must fit, but it takes 1 beats and 0 are left"),
    (np.concatenate([LOAD.to_beats(8), flipped(LOAD, 23)]),
     "packet 1 at beat 3: the padding after the constants of LOAD must be 0"),
    (flipped(LOAD, 15), "packet 0 at beat 0: reserved bits of a LOAD header must be 0"),
    (np.full((2, 8), 0x09, np.uint8),
     "packet 0 at beat 0: packet opcode must be one of 0 to 3, not 9"),
    (Packet(Opcode.END).to_beats(40) + np.eye(1, 40, 39, dtype=np.uint8),
     "packet 0 at beat 0: the padding of a END header must be 0"),
])
def test_malformed_streams_are_refused(beats, message):
    with pytest.raises(ValueError) as error:
        parse(beats)
    assert str(error.value) == message


@pytest.mark.parametrize(("make", "message"), [
    (lambda: packet.load(0, np.array([0, 128]), wide=False, shift=0),
     "LOAD constant 1 must fit in 8 signed bits, not 128"),
    (lambda: packet.load(1 << 16, np.array([0]), wide=False, shift=0),
     "LOAD field dst=65536 does not fit in 16 bits"),
    (lambda: Packet(Opcode.LOAD, {"count": 2}, np.zeros(3, int)),
     "LOAD constants must be 2 values, not (3,)"),
    (lambda: Packet(Opcode.MATVEC, {"rows": 2, "tiles": 2}, np.zeros((3, 8), np.uint8)),
     "MATVEC weights must be 4 beats of bytes, not uint8 of shape (3, 8)"),
    (lambda: packet.matvec(np.zeros((1, 4), np.uint8), function=Function.SILU, rows=1, tiles=1)
     .to_beats(8), "MATVEC weights must have 8 bytes to a beat, not 4"),
    (lambda: Packet(Opcode.MATVEC, {"function": 7}), "7 is not a valid Function"),
])
def test_packets_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


def test_payload_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        LOAD.payload[0] = 5
