"""Quantiser: worst cases, both element counts, idle constants, a RAM that answers a cycle later."""

import random
from dataclasses import dataclass, field

import cocotb

from ternforge.isa import Opcode, SumOf
from ternforge.numerics import code, normalise, ratio, reciprocal, rnd, saturate

from .bus import Unit

__all__ = ["codes_equal_contract"]

TOP, DEPTH = 1 << 23, 64


@dataclass(kw_only=True)
class Packet:
    """One QUANTISE packet with its vector and weights."""

    vector: list[int]
    weights: list[int]
    shift: int = 15
    square_shift: int = 8
    sum_of: SumOf = SumOf.PRODUCT
    codes: bool = True
    src: int = 0
    dst: int = 0


@dataclass
class Outcome:
    """What a packet leaves behind: the vector at its target, codes, ratio, saturations."""

    vector: list[int]
    codes: list[int] = field(default_factory=list)
    ratio: tuple[int, int] | None = None
    product: int = 0
    square: int = 0


def expect(packet: Packet, squares: int) -> tuple[Outcome, int]:
    """Outcome, and the sum of squares, which is ``squares`` before."""
    exact = [rnd(x * w, packet.shift) for x, w in zip(packet.vector, packet.weights, strict=True)]
    v = [saturate(value, 24) for value in exact]
    outcome = Outcome(v if packet.codes else packet.vector)
    outcome.product = sum(a != b for a, b in zip(exact, v, strict=True))
    if packet.sum_of != SumOf.KEEP:
        shifted = [rnd(value, packet.square_shift)
                   for value in (packet.vector if packet.sum_of == SumOf.INPUT else v)]
        u = [saturate(value, 16) for value in shifted]
        outcome.square = sum(a != b for a, b in zip(shifted, u, strict=True))
        squares = sum(value * value for value in u)
    if packet.codes:
        largest = normalise(max(map(abs, v)))
        outcome.codes = [code(value, largest, reciprocal(largest)) for value in v]
        row = ratio(largest, squares)
        outcome.ratio = row.mantissa, row.exponent
    return outcome, squares


def packets(rng: random.Random) -> list[Packet]:
    """Extremes of every field, then random ones; one keeps the squares of those before."""
    count = 8
    low, high, single = [-TOP] * count, [TOP - 1] * count, [0] * (count - 1)
    many = [rng.randrange(-TOP, TOP) for _ in range(count)]
    weights = [rng.randrange(-1 << 15, 1 << 15) for _ in range(count)]
    least, most = [-1 << 15] * count, [(1 << 15) - 1] * count
    one = [1 << 10] * count
    result = [
        Packet(vector=[0] * count, weights=weights),
        Packet(vector=low, weights=most), Packet(vector=low, weights=least, square_shift=0),
        Packet(vector=high, weights=least, sum_of=SumOf.INPUT),
        Packet(vector=low, weights=most, sum_of=SumOf.INPUT),
        Packet(vector=[1, *single], weights=one, shift=10, square_shift=0),
        Packet(vector=[*single, -1], weights=one, shift=10, square_shift=0),
        Packet(vector=[*single, -TOP], weights=most),
        Packet(vector=[1 << 14, -1 << 14] + [3] * (count - 2), weights=one, shift=10),
        Packet(vector=[9, *[-5] * (count - 1)], weights=[1] * count, shift=0, square_shift=15),
        Packet(vector=many, weights=weights, codes=False, sum_of=SumOf.INPUT, square_shift=7),
        Packet(vector=many, weights=weights, sum_of=SumOf.KEEP),
    ]
    result += [Packet(vector=many, weights=weights, shift=shift, square_shift=square)
               for shift in (0, 1, 15, 22, 23, 38, 39, 63) for square in (0, 7)]
    for _ in range(12):
        size, count = rng.randrange(1, 24), 4 * rng.randint(1, 4)
        src = 4 * rng.randrange(8)
        result.append(Packet(
            vector=[rng.randrange(-1 << size, 1 << size) for _ in range(count)],
            weights=[rng.randrange(-1 << 15, 1 << 15) for _ in range(count)],
            shift=rng.randrange(8, 20), square_shift=rng.randrange(12), src=src,
            dst=rng.choice((src, src ^ 32)), sum_of=rng.choice(list(SumOf))))
    return result


@cocotb.test()
@cocotb.parametrize(name=["one", "four"], idle=[0, 3])
async def codes_equal_contract(dut, name: str, idle: int):
    """Products in the vector RAM, codes, ratio and saturation counts of each packet."""
    unit, rng = Unit(dut, "quantise", name), random.Random(idle)
    elements = unit.component.config.elements
    await unit.reset(dut)
    ram = [0] * DEPTH
    jobs = packets(rng)

    def word(address: int) -> list[int]:
        return (ram + ram)[address * elements:(address + 1) * elements] or [0] * elements

    async def constants():
        for job in jobs:
            await unit.put("constants", [job.weights[k:k + elements]
                                         for k in range(0, len(job.weights), elements)],
                           lambda: rng.randint(0, idle))

    feed = cocotb.start_soon(constants())
    squares = 0
    for job in jobs:
        expected, squares = expect(job, squares)
        count, outcome, restarts, completes = len(job.vector), Outcome([]), 0, 0
        ram[job.src:job.src + count] = job.vector
        unit.set(start=1, header={
            "op": Opcode.QUANTISE, "sum_of": job.sum_of, "codes": job.codes, "shift": job.shift,
            "square_shift": job.square_shift, "count": count, "src": job.src, "dst": job.dst})
        done, started = False, False
        for _ in range(1000):
            address, write, busy, restart, complete, valid, codes, saturated = await unit.tick(
                "vector_read_address", "vector_write", "busy", "restart", "complete",
                "codes_o_valid", "codes_o_payload", "saturated")
            # The RAM: the old word if it is written in the same cycle.
            unit.set(start=0, vector_read_data=word(address))
            if write.enable:
                ram[write.address * elements:(write.address + 1) * elements] = list(write.data)
            restarts, completes = restarts + restart, completes + complete
            if valid:
                assert restarts
                assert not completes
                outcome.codes += list(codes)
            outcome.product += saturated.product
            outcome.square += saturated.square
            done = started and not busy
            started = True
            if done and (not job.codes or unit.get("ratio_valid")):
                break
        assert done
        assert restarts == completes == job.codes
        base = job.dst if job.codes else job.src
        outcome.vector = ram[base:base + count]
        if job.codes:
            row = unit.get("ratio")
            outcome.ratio = row.mantissa, row.exponent
        assert outcome == expected, (job, outcome, expected)
    await feed
