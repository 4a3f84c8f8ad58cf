import random

import pytest

from ternforge.core.sigmoid import Sigmoid
from ternforge.numerics import saturate, sigmoid
from ternforge_sim.bench import simulate

EDGES = sorted({min(max(sign * (128 * segment + step), -32768), 32767) for sign in (1, -1)
                for segment in range(257) for step in (-1, 0, 1, 64)})


def run_sigmoid(arguments: list[int], shift: int = 0) -> list[int]:
    dut, results = Sigmoid(), []

    async def bench(ctx):
        ctx.set(dut.shift, shift)
        for t in arguments + [0] * dut.latency:
            ctx.set(dut.t, t)
            results.append(ctx.get(dut.s))
            await ctx.tick()

    simulate(dut, bench)
    return results[dut.latency:]


@pytest.mark.parametrize("shift", range(8))
def test_sigmoid_equals_contract(shift):
    rng = random.Random(shift)
    near = [sign * ((1 << bit) + step) for bit in range(7, 15) for step in (-1, 0, 1)
            for sign in (1, -1)]
    arguments = near + [-32768, 32767] + [rng.randint(-(1 << bits), (1 << bits) - 1)
                                          for bits in range(1, 16) for _ in range(8)]
    expected = [sigmoid(saturate(t << shift, 16)) for t in arguments]
    assert run_sigmoid(arguments, shift) == expected


def test_every_segment_and_its_edges():
    assert run_sigmoid(EDGES) == [sigmoid(t) for t in EDGES]


@pytest.mark.slow
def test_every_argument():
    arguments = list(range(-32768, 32768))
    assert run_sigmoid(arguments) == [sigmoid(t) for t in arguments]
