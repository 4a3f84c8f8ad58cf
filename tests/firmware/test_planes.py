"""Bit planes: what the packer packs comes out as exact dot products."""

import numpy as np
import pytest
from numba import njit

from ternforge_firmware.cpu.planes import WORD, plane_words, repack, split, words
from ternforge_firmware.cpu.vector import PLANES, ROWS, dot_rows
from ternforge_firmware.pack import pack

SHAPES = [(1, 1), (3, 5), (8, 63), (9, 64), (7, 65), (5, 126), (4, 320), (2, 641), (3, 2816)]


@njit
def product(weights, codes, rows):
    width = codes.shape[0] // WORD
    planes = np.zeros((PLANES, width + 3), np.uint64)
    split(codes, planes[:, :width])
    sums = np.full(1 + (rows + ROWS - 1) // ROWS * ROWS, -1, np.int32)
    for block in range(len(sums) // ROWS):
        dot_rows(weights, 1 + block * ROWS * 2 * width, planes, 0, width + 3, width, sums,
                 1 + block * ROWS)
    return sums


def dots(trits, codes, lanes):
    rows, fan_in = trits.shape
    weights = np.full(1 + plane_words(rows, fan_in), ~np.uint64(0))
    repack(pack(trits, lanes), rows, fan_in, weights[1:])
    padded = np.full(words(fan_in) * WORD, -77, np.int8)  # past the fan-in anything may stand
    padded[:fan_in] = codes
    sums = product(weights, padded, rows)
    assert sums[0] == -1
    assert not sums[1 + rows:].any()
    return sums[1:1 + rows].tolist()


@pytest.mark.parametrize("lanes", [2, 8, 40])
@pytest.mark.parametrize(("rows", "fan_in"), SHAPES)
def test_dot_products_are_exact(rows, fan_in, lanes):
    rng = np.random.default_rng(fan_in)
    trits = rng.integers(-1, 2, (rows, fan_in), dtype=np.int8)
    codes = rng.integers(-127, 128, fan_in).astype(np.int8)
    assert dots(trits, codes, lanes) == (trits.astype(int) @ codes.astype(int)).tolist()


@pytest.mark.parametrize("code", [-128, -127, -1, 0, 1, 127])
@pytest.mark.parametrize("trit", [-1, 0, 1])
def test_extremes(trit, code):
    trits = np.full((2, 16384), trit, np.int8)
    trits[1, ::2] = -1
    codes = np.full(16384, code, np.int8)
    assert dots(trits, codes, 16) == (trits.astype(int) @ codes.astype(int)).tolist()


def test_every_code_of_a_byte():
    trits = np.array(np.meshgrid(*[[-1, 0, 1]] * 5), np.int8).reshape(5, -1).T
    codes = np.array([1, 3, 9, 27, 81], np.int8)
    assert dots(trits, codes, 2) == (trits.astype(int) @ codes.astype(int)).tolist()


def test_bytes_that_are_no_codes_are_refused():
    beats = pack(np.ones((3, 50), np.int8), 8)
    beats[4, 6] = 0xFF
    with pytest.raises(ValueError) as error:
        repack(beats, 3, 50, np.zeros(plane_words(3, 50), np.uint64))
    assert str(error.value) == "byte 6 of weight beat 4 must be a code of five trits, not 0xff"


@pytest.mark.parametrize("column", [50, 54, 63, 64, 79])
def test_columns_past_the_fan_in_must_be_zero(column):
    trits = np.ones((3, 80), np.int8)
    trits[:, 50:] = 0
    trits[1, column] = -1
    with pytest.raises(ValueError, match=r"^row 1 must be zero past its 50 columns$"):
        repack(pack(trits, 8), 3, 50, np.zeros(plane_words(3, 50), np.uint64))
