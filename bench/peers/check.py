"""Results of the peers of our own, in Amaranth's simulator, against NumPy."""

import numpy as np

from ternforge_sim.bench import get, put, simulate

from .int8 import Int8Array
from .serial import Code, SerialUnit

__all__ = ["int8_wrong", "serial_cycles", "serial_wrong"]

#: Beats or vectors that are compared.
COUNT = 16


def int8_wrong(array: Int8Array) -> int:
    """How many of some random sums are wrong; the first is the largest that there is."""
    rng = np.random.default_rng(1)
    beats = rng.integers(-128, 128, (COUNT, array.macs))
    codes = rng.integers(-128, 128, array.macs)
    beats[0], codes[0] = -128, -128
    beats[1] = np.where(codes < 0, -128, 127)

    async def send(ctx):
        ctx.set(array.codes, codes.tolist())
        await put(ctx, array.i, beats.tolist())

    sums: list[int] = []

    async def receive(ctx):
        sums.extend(await get(ctx, array.o, COUNT))

    simulate(array, send, receive)
    return sum(found != wanted for found, wanted in zip(sums, beats @ codes, strict=True))


def serial_cycles(rows: int, columns: int) -> int:
    """Cycles that :class:`SerialUnit` takes for a vector and a matrix."""
    return columns + rows * (columns + 3)


def serial_wrong(columns: int, rows: int) -> int:
    """How many sums are wrong, for two vectors; one more if they do not take their cycles."""
    unit, rng = SerialUnit(columns), np.random.default_rng(1)
    names = {-1: Code.NEG, 0: Code.ZERO, 1: Code.POS}
    vectors = rng.integers(-128, 128, (2, columns))
    vectors[1] = -128
    matrices = rng.integers(-1, 2, (2, rows, columns))
    matrices[1, 0] = -1  # with the second vector, the largest sum there is
    sums: list[int] = []
    spent: list[int] = []

    async def send(ctx):
        for vector in vectors:
            await put(ctx, unit.code, vector.tolist())

    async def weights(ctx):
        await put(ctx, unit.weight, [names[w] for w in matrices.reshape(-1).tolist()])

    async def receive(ctx):
        ctx.set(unit.sum.ready, 1)
        ctx.set(unit.last, rows == 1)
        cycles = 0
        while len(sums) < 2 * rows:
            _, _, valid, value = await ctx.tick().sample(unit.sum.valid, unit.sum.payload)
            cycles += 1
            if valid:
                sums.append(value)
                ctx.set(unit.last, len(sums) % rows == rows - 1)
                if len(sums) % rows == 0:
                    spent.append(cycles)
                    cycles = 0

    simulate(unit, send, weights, receive)
    expected = [total for vector, matrix in zip(vectors, matrices, strict=True)
                for total in (matrix @ vector).tolist()]
    wrong = sum(found != wanted for found, wanted in zip(sums, expected, strict=True))
    return wrong + (spent != [serial_cycles(rows, columns)] * 2)
