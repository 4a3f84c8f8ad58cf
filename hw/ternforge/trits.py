"""Five ternary weights in one byte: encoder, decoder and the tables that a packer indexes.

The code is the one of ``docs/integer-contract.md``, section "Weights". Its hardware twin is
:class:`ternforge.core.decoder.TritDecoder`.
"""

from collections.abc import Sequence
from itertools import product

__all__ = ["DECODE", "ENCODE", "TRITS_PER_BYTE", "decode_byte", "encode_trits"]

TRITS_PER_BYTE = 5  #: weights in one byte

_TRIT = {0: 0b00, 1: 0b01, -1: 0b10}  # code of a single trit


def _pair_code(first: int, second: int) -> int:
    """Three bits for a pair of trits that are not both zero."""
    if first and second:
        return (first < 0) | (second < 0) << 1
    return 0b100 | (second != 0) << 1 | (first + second < 0)


def _encode(trits: tuple[int, ...]) -> int:
    first, second, single = trits[0:2], trits[2:4], _TRIT[trits[4]]
    if any(first) and any(second):
        return single << 6 | _pair_code(*second) << 3 | _pair_code(*first)
    if any(second):
        return 0b11 << 6 | _pair_code(*second) << 3 | single
    if any(first):
        return 0b11 << 6 | _pair_code(*first) << 3 | 0b100 | single
    return 0b11 << 6 | single << 3 | 0b111


def _index(trits: Sequence[int]) -> int:
    """Index into :data:`ENCODE`: base 3, digit ``trit + 1``, trit 0 least significant."""
    return sum((trit + 1) * 3**k for k, trit in enumerate(trits))


_ALL = [trits[::-1] for trits in product((-1, 0, 1), repeat=TRITS_PER_BYTE)]

#: Byte of each quintuple, indexed by ``sum((trit[k] + 1) * 3**k for k in range(5))``.
ENCODE: tuple[int, ...] = tuple(_encode(trits) for trits in _ALL)

_DECODE = dict(zip(ENCODE, _ALL, strict=True))

#: The five trits of each byte, None for the 13 unused codes.
DECODE: tuple[tuple[int, ...] | None, ...] = tuple(_DECODE.get(byte) for byte in range(256))


def encode_trits(trits: Sequence[int]) -> int:
    """Pack five trits (-1, 0 or 1; trit 0 first) into a byte.

    Raises
    ------
    ValueError
        If there are not five, or one is not a trit.
    """
    if len(trits) != TRITS_PER_BYTE or any(trit not in (-1, 0, 1) for trit in trits):
        raise ValueError(f"trits must be five of -1, 0 and 1, not {list(trits)!r}")
    return ENCODE[_index(trits)]


def decode_byte(byte: int) -> tuple[int, ...]:
    """Unpack the five trits of a byte, trit 0 first.

    Raises
    ------
    ValueError
        If the byte is out of range or one of the 13 unused codes.
    """
    trits = DECODE[byte] if byte in range(256) else None
    if trits is None:
        raise ValueError(f"packed weights must be one of the 243 used bytes, not {byte!r}")
    return trits
