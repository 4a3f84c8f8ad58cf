"""Decoder and lanes: every byte, worst-case sums, idle between the beats."""

import random

import cocotb
from cocotb.triggers import Timer

from ternforge.lanes import KINDS
from ternforge.trits import DECODE, encode_trits

from .bus import Unit, within

__all__ = ["decoder_equals_table", "sums_equal_integer_sums"]


@cocotb.test()
async def decoder_equals_table(dut):
    """All 243 codes, in both outputs."""
    decoder = Unit(dut, "lanes", "decoder")
    wrong = []
    for byte, trits in enumerate(DECODE):
        if trits is None:
            continue
        decoder.set(byte=byte)
        await Timer(1, "ns")
        seen = [decoder.get("nonzero") >> k & 1 and (-1) ** (decoder.get("sign") >> k & 1)
                for k in range(5)]
        if seen != list(trits) or decoder.get("sign") & ~decoder.get("nonzero"):
            wrong.append((byte, trits, seen))
    assert not wrong


def vectors(size: int, rng: random.Random):
    """Codes and trits of each beat, the largest sums first."""
    for code in (127, -127):
        for trit in (-1, 1, 0):
            yield [code] * size, [trit] * size
    for k in range(size):  # one weight at a time
        yield [127 if j == k else -127 for j in range(size)], [-(j == k) for j in range(size)]
    for _ in range(60):
        yield ([rng.randint(-127, 127) for _ in range(size)],
               [rng.choice((-1, 0, 1)) for _ in range(size)])


@cocotb.test()
@cocotb.parametrize(name=[f"{name}_{kind}" for kind, made in KINDS.items()
                          if not made.holds_tiles for name in ("two", "eight")],
                    idle=[0, 3])
async def sums_equal_integer_sums(dut, name: str, idle: int):
    """Sums and tags, in order, with the latency that the unit states."""
    lanes, rng = Unit(dut, "lanes", name), random.Random(idle)
    await lanes.reset(dut)
    cases = list(vectors(lanes.component.config.tile, rng))
    tags = [(rng.randrange(2), rng.randrange(2), rng.randrange(2)) for _ in cases]
    sent: list[int] = []
    came: list[tuple[int, int, tuple[int, int, int]]] = []

    async def monitor():
        cycle = 0
        while len(came) < len(cases):
            sends, valid, o = await lanes.tick("i_valid", "o_valid", "o_payload")
            if sends:
                sent.append(cycle)
            if valid:
                came.append((cycle, o.sum, (o.first, o.last, o.end)))
            cycle += 1

    watch = cocotb.start_soon(monitor())
    for (codes, trits), (first, last, end) in zip(cases, tags, strict=True):
        beat = sum(encode_trits(trits[k:k + 5]) << (k // 5 * 8) for k in range(0, len(trits), 5))
        lanes.set(codes=codes)
        await lanes.put("i", [{"data": beat, "first": first, "last": last, "end": end}])
        for _ in range(rng.randint(0, idle)):
            lanes.set(codes=[rng.randint(-127, 127) for _ in codes])
            await lanes.tick()
    await within(100, watch)
    assert [total for _, total, _ in came] == [
        sum(c * t for c, t in zip(codes, trits, strict=True)) for codes, trits in cases]
    assert [tag for _, _, tag in came] == tags
    assert {out - into for into, (out, _, _) in zip(sent, came, strict=True)} == {
        lanes.component.latency}
