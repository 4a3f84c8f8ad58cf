"""Lanes of tables: every byte, worst-case sums, tiles at once and late, restarts."""

import random

import cocotb

from ternforge.trits import DECODE

from .bus import Unit, until

__all__ = ["sums_equal_integer_sums"]

BYTES = [(byte, trits) for byte, trits in enumerate(DECODE) if trits is not None]


def beats(lanes: int, rng: random.Random) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Bytes of each beat with their trits: all of them in every lane, then others."""
    every = [[BYTES[(k + 7 * lane) % len(BYTES)] for lane in range(lanes)]
             for k in range(len(BYTES))]
    return [*every, *([rng.choice(BYTES) for _ in range(lanes)] for _ in range(30))]


@cocotb.test()
@cocotb.parametrize(name=["two", "sixteen"], idle=[0, 3])
async def sums_equal_integer_sums(dut, name: str, idle: int):
    """Sums and tags, in order, of vectors of one to three tiles, each used more than once."""
    unit, rng = Unit(dut, "tables", name), random.Random(idle)
    await unit.reset(dut)
    config, fill = unit.component.config, unit.component.fill
    expected: list[tuple[int, tuple[int, int, int]]] = []
    came: list[tuple[int, tuple[int, int, int]]] = []

    async def monitor():
        while True:
            valid, o = await unit.tick("o_valid", "o_payload")
            if valid:
                came.append((o.sum, (o.first, o.last, o.end)))

    watch = cocotb.start_soon(monitor())
    for tiles, codes in ((3, [127]), (3, [-127]), (1, range(-127, 128)), (2, range(-127, 128)),
                         (3, range(-127, 128))):
        vector = [rng.choice(codes) for _ in range(tiles * config.tile)]
        unit.set(tiles=tiles, restart=1)
        await unit.tick()
        unit.set(restart=0)
        for start in range(0, len(vector), config.elements):
            unit.set(complete=start + config.elements >= len(vector))
            await unit.put("codes_i", [vector[start:start + config.elements]])
        unit.set(complete=0)
        for use in range(tiles + 2):
            first = use % tiles * config.tile
            await until(unit, "ready", 2 * fill.cycles + 2 * config.tile + 20)
            rows = beats(config.lanes, rng)
            for row, bytes_ in enumerate(rows):
                tag = (rng.randrange(2), rng.randrange(2), rng.randrange(2))
                unit.set(release=row == len(rows) - 1)
                await unit.put("i", [{
                    "data": sum(byte << 8 * lane for lane, (byte, _) in enumerate(bytes_)),
                    **dict(zip(("first", "last", "end"), tag, strict=True))}])
                unit.set(release=0)
                trits = [trit for _, five in bytes_ for trit in five]
                expected.append((sum(c * t for c, t in zip(
                    vector[first:first + config.tile], trits, strict=True)), tag))
                if row < len(rows) - 1:
                    for _ in range(rng.randint(0, idle)):
                        await unit.tick()
    for _ in range(unit.component.latency + 2):
        await unit.tick()
    watch.cancel()
    assert came == expected
