import random
import re

import pytest
from amaranth import Shape, signed, unsigned

from ternforge.core.multiply import Multiplier, RoundShift
from ternforge.numerics import rnd, saturate
from ternforge_sim.bench import simulate

SHAPES = [(signed(24), signed(16)), (signed(16), signed(16)), (unsigned(16), unsigned(16)),
          (signed(18), unsigned(16)), (signed(16), unsigned(16)), (signed(24), unsigned(16)),
          (signed(16), unsigned(9)), (signed(31), signed(5)), (unsigned(9), unsigned(7))]


def extremes(shape: Shape) -> list[int]:
    if not shape.signed:
        return [0, 1, (1 << shape.width - 1) - 1, 1 << shape.width - 1, (1 << shape.width) - 1]
    top = 1 << shape.width - 1
    return [-top, 1 - top, -1, 0, 1, top - 1]


def draw(rng: random.Random, shape: Shape) -> int:
    return rng.randrange(1 << shape.width) - (1 << shape.width - 1 if shape.signed else 0)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_multiplier_is_exact(shapes):
    rng = random.Random(1)
    pairs = [(a, b) for a in extremes(shapes[0]) for b in extremes(shapes[1])]
    pairs += [(draw(rng, shapes[0]), draw(rng, shapes[1])) for _ in range(200)]
    dut, products = Multiplier(*shapes), []

    async def bench(ctx):
        for a, b in pairs + [(0, 0)] * dut.latency:
            products.append(ctx.get(dut.product))
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()

    simulate(dut, bench)
    assert products[dut.latency:] == [a * b for a, b in pairs]


@pytest.mark.parametrize(("shapes", "message"), [
    ((signed(32), 16), ("Multiplier a_shape must be signed of at most 31 bits or unsigned of at "
                       "most 16 bits, not signed(32)")),
    ((16, 17), "Multiplier b_shape must have at most 16 bits, not unsigned(17)"),
    ((16, signed(16)), "Multiplier b_shape must be unsigned if a_shape is, not signed(16)"),
])
def test_multiplier_rejects_shapes(shapes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Multiplier(*shapes)


@pytest.mark.parametrize("widths", [(40, 24, 6), (24, 16, 6), (33, 16, 6), (12, 16, 3), (20, 8, 5)],
                         ids=str)
def test_round_shift_equals_contract(widths):
    in_bits, out_bits, shift_bits = widths
    rng, shape = random.Random(2), signed(widths[0])
    cases = []
    for shift in range(1 << shift_bits):
        values = extremes(shape) + [draw(rng, shape) >> rng.randrange(in_bits) for _ in range(8)]
        # ties, and values whose rounding alone overflows, on both sides
        for edge in (1 << out_bits - 1, -(1 << out_bits - 1), 1, -1, 0):
            for fraction in (-1, 0, 1):
                values.append((edge << shift) - (1 << shift >> 1) + fraction)
        top = 1 << in_bits - 1
        cases += [(value, shift) for value in values if -top <= value < top]
    rng.shuffle(cases)
    dut, results, doubled = RoundShift(*widths), [], []

    async def bench(ctx):
        # `shift` must stand for two cycles; every value is therefore given twice
        for value, shift in cases:
            ctx.set(dut.value, value)
            ctx.set(dut.shift, shift)
            await ctx.tick().repeat(2)
            doubled.append(ctx.get(dut.doubled))
            await ctx.tick()
            results.append((ctx.get(dut.result), ctx.get(dut.saturated)))

    simulate(dut, bench)
    expected = [rnd(value, shift) for value, shift in cases]
    assert results == [(saturate(v, out_bits), v != saturate(v, out_bits)) for v in expected]
    mask = (2 << out_bits) - 1
    assert doubled == [(2 * value >> shift) & mask for value, shift in cases]


def test_round_shift_takes_one_value_per_cycle():
    rng, dut, results = random.Random(3), RoundShift(40, 24), []
    values = [draw(rng, signed(40)) for _ in range(100)]

    async def bench(ctx):
        ctx.set(dut.shift, 21)
        for value in values + [0] * dut.latency:
            results.append(ctx.get(dut.result))
            ctx.set(dut.value, value)
            await ctx.tick()

    simulate(dut, bench)
    assert results[dut.latency:] == [saturate(rnd(value, 21), 24) for value in values]
