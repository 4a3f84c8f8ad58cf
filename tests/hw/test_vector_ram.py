"""Vector and state RAM: words and elements address the same memory."""

import random

import pytest

from ternforge.config import CoreConfig
from ternforge.core.state_ram import StateRam
from ternforge.core.vector_ram import VectorRam
from ternforge_sim.bench import simulate


@pytest.mark.parametrize(("elements", "lanes"), [(1, 8), (2, 8), (4, 8), (1, 40), (4, 40)])
def test_element_and_word_writes_are_read_back(elements, lanes):
    config = CoreConfig(lanes=lanes, elements=elements, vector_depth=32)
    dut, rng, mirror, mismatches = VectorRam(config), random.Random(elements), [0] * 32, []
    elements_read = [0] * (config.operand_latency - 1)  # still on their way
    written: list[tuple[int, list[int]]] = [(0, [])] * (config.operand_latency - 1)

    async def bench(ctx):
        for _ in range(300):
            word, values = rng.randrange(32 // elements), [rng.randrange(-1 << 23, 1 << 23)
                                                           for _ in range(elements)]
            whole, single = rng.random() < 0.3, rng.random() < 0.5
            address, value = rng.randrange(32), rng.choice([-1 << 23, (1 << 23) - 1, 5])
            probe = rng.randrange(32)
            ctx.set(dut.word, {"enable": whole, "address": word, "data": values})
            ctx.set(dut.element, {"enable": single, "address": address, "data": value})
            ctx.set(dut.read_address, probe)
            before = list(mirror)
            await ctx.tick()
            written.append((word * elements, values) if whole else
                           (address, [value] if single else []))
            start, values = written.pop(0)
            mirror[start:start + len(values)] = values
            ctx.set(dut.read_address, rng.randrange(32))  # the next one does not matter yet
            base = probe - probe % elements
            read = [int(ctx.get(dut.read_word[k])) for k in range(elements)]
            elements_read.append(before[probe])
            expected = elements_read.pop(0), before[base:base + elements]
            if (ctx.get(dut.read_element), read) != expected:
                mismatches.append((probe, read))

    simulate(dut, bench)
    assert mismatches == []
    assert len(set(mirror)) > 3


def test_state_ram_reads_what_was_written():
    dut, rng = StateRam(CoreConfig(state_depth=16)), random.Random(1)
    mirror, mismatches = [0] * 16, []

    async def bench(ctx):
        for _ in range(100):
            address, probe = rng.randrange(16), rng.randrange(16)
            value = rng.randrange(-32768, 32768)
            ctx.set(dut.write, {"enable": 1, "address": address, "data": value})
            ctx.set(dut.read_address, probe)
            expected = mirror[probe]
            await ctx.tick()
            mirror[address] = value
            if ctx.get(dut.read_data) != expected:
                mismatches.append(probe)

    simulate(dut, bench)
    assert mismatches == []
