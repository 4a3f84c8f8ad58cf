import random

import pytest

from ternforge.config import CoreConfig
from ternforge.core.accumulate import Accumulator
from ternforge_sim.bench import get, put, simulate

from .latency import check_latency

CONFIGS = [CoreConfig(lanes=2, max_rows=8, max_fan_in=20),
           CoreConfig(lanes=8, max_rows=24, tree_levels=3),
           CoreConfig(lanes=40, max_rows=20, max_fan_in=2000)]


def matrix(config, rows, tiles, value):
    """Sums of a matrix in stream order, tile by tile."""
    return [{"sum": value(), "first": tile == 0, "last": tile == tiles - 1, "end": row == rows - 1}
            for tile in range(tiles) for row in range(rows)]


def run_accumulator(config, sums, pause):
    dut, taken = Accumulator(config), []
    expected, totals, row = [], {}, 0
    for s in sums:
        total = s["sum"] + (0 if s["first"] else totals[row])
        if s["last"]:
            expected.append(total)
        else:
            totals[row] = total
        row = 0 if s["end"] else row + 1

    async def producer(ctx):
        await put(ctx, dut.i, sums, pause)

    async def consumer(ctx):
        taken.extend(await get(ctx, dut.o, len(expected)))

    simulate(dut, producer, consumer)
    assert taken == expected


@pytest.mark.parametrize("pause", [0, 3])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c.lanes))
def test_rows_equal_integer_sums(config, pause):
    rng = random.Random(1)
    top = 127 * config.tile
    least = Accumulator(config).min_rows
    sums = []
    for rows, tiles in [(config.max_rows, config.max_tiles), (least, 2),
                        (least, config.max_tiles), (1000, 1), (1, 1), (1, 1),
                        (config.max_rows, 2)]:
        sums += matrix(config, rows, tiles, lambda: rng.randint(-top, top))
    run_accumulator(config, sums, lambda: rng.randint(0, pause))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c.lanes))
def test_largest_sums_fit(config, sign):
    extreme = sign * 127 * config.tile
    run_accumulator(config, matrix(config, 8, config.max_tiles, lambda: extreme), lambda: 0)


def test_rows_beyond_the_ram_leave_it_alone():
    config = CoreConfig(lanes=2, max_rows=8, max_fan_in=20)
    single = matrix(config, 23, 1, lambda: 9)
    first, second = (matrix(config, 8, 2, lambda: 5)[part] for part in (slice(8), slice(8, 16)))
    run_accumulator(config, first + single + second, lambda: 0)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c.lanes))
def test_row_follows_its_sum_after_latency(config):
    check_latency(Accumulator(config), {"sum": 1, "first": 1, "last": 1, "end": 0})


def test_config_must_be_a_core_config():
    with pytest.raises(TypeError, match=r"^Accumulator config must be a CoreConfig, not 8$"):
        Accumulator(8)  # type: ignore[reportArgumentType]
