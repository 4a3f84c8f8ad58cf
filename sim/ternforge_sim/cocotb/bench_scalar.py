"""Divider, square root and scale: edges and random operands, results held until the next start."""

import random

import cocotb

from ternforge.numerics import Ratio, normalise, ratio, reciprocal, scale

from .bus import Unit, until

__all__ = ["reciprocal_and_ratio_equal_contract", "scale_equals_contract"]

SUM_BITS = 42
EDGES = [(0, 0), (0, 5), (1, 0), (1, 1), (2, 1), (1, (1 << SUM_BITS) - 1), (1 << 23, 0),
         (1 << 23, 1), (1 << 23, (1 << SUM_BITS) - 1), ((1 << 23) - 1, 1 << 30),
         (0x7FFF80, (1 << 30) - 1), (0x8000, 1 << 31), (0xFFFF, (1 << 32) - 1),
         (0x10000, 1 << 32), (0xFFFE, 1 << 30), (1 << 23, 3), (3, 1 << 41), (127, 127 * 127)]


@cocotb.test()
async def reciprocal_and_ratio_equal_contract(dut):
    """The operands change as soon as they may."""
    rng = random.Random(1)
    unit = Unit(dut, "scalar", "scalar")
    await unit.reset(dut)
    cases = EDGES + [(rng.randrange(1 << 24) >> rng.randrange(24),
                      rng.randrange(1 << SUM_BITS) >> rng.randrange(SUM_BITS)) for _ in range(60)]
    wrong = []
    for largest, squares in cases:
        unit.set(start=1, largest=largest, squares=squares)
        await unit.tick()
        unit.set(start=0, largest=rng.randrange(1 << 24))
        waited = await until(unit, "reciprocal_valid", 60)
        unit.set(squares=rng.randrange(1 << SUM_BITS))
        await until(unit, "ratio_valid", 80)
        align, quotient, row = await unit.tick("align", "reciprocal", "ratio")
        for _ in range(rng.randrange(3)):
            await unit.tick()
        top = normalise(largest)
        expected = ratio(top, squares)
        if (quotient, row.mantissa, row.exponent) != (reciprocal(top), expected.mantissa,
                                                      expected.exponent) or (
                largest and align != top.exponent + 15) or waited > 43:
            wrong.append((largest, squares, align, quotient, row, waited))
    assert not wrong


@cocotb.test()
async def scale_equals_contract(dut):
    """Every way in which the shift is clipped, the smallest and largest mantissas."""
    rng = random.Random(2)
    unit = Unit(dut, "scalar", "scale")
    await unit.reset(dut)
    tops = [1 << 15, (1 << 15) + 1, (1 << 16) - 1, 0xB504, 0xB505]
    cases = [(a, -30, b, -4) for a in tops for b in (*tops, 0, 1 << 14, (1 << 14) + 1)]
    cases += [(1 << 15, e, 1 << 15, f) for e in (-128, -62, -61, -15, -14, -8, 0, 127)
              for f in (-128, -8, -7, -1, 0, 127)]
    cases += [(rng.randrange(1 << 15, 1 << 16), rng.randrange(-64, 16),
               rng.randrange(1 << 14, 1 << 16), rng.randrange(-40, 9)) for _ in range(150)]
    wrong = []
    for mantissa, exponent, row, row_exponent in cases:
        unit.set(start=1, mantissa=mantissa, exponent=exponent,
                 ratio={"mantissa": row, "exponent": row_exponent})
        await unit.tick()
        unit.set(start=0)
        waited = await until(unit, "valid", 10)
        for _ in range(rng.randrange(3)):
            await unit.tick()
        result = await unit.tick("scale")
        expected = scale(mantissa, exponent, Ratio(row, row_exponent))
        if (result.mantissa, result.shift) != (expected.mantissa, expected.shift) or waited > 6:
            wrong.append((mantissa, exponent, row, row_exponent, result, waited))
    assert not wrong
