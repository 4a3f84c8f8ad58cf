import random
from dataclasses import dataclass, field

import pytest

from ternforge.config import CoreConfig
from ternforge.core.quantise import Quantiser
from ternforge.isa import Opcode, SumOf
from ternforge.numerics import code, normalise, ratio, reciprocal, rnd, saturate
from ternforge_sim.bench import put, simulate

TOP = 1 << 23
DEPTH = 64


def config(elements: int) -> CoreConfig:
    return CoreConfig(lanes=8, elements=elements, vector_depth=DEPTH, max_fan_in=DEPTH)


@dataclass
class Packet:
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
    vector: list[int]
    codes: list[int] = field(default_factory=list)
    ratio: tuple[int, int] | None = None
    product: int = 0
    square: int = 0


def expect(packets: list[Packet]) -> list[Outcome]:
    outcomes, squares = [], 0
    for packet in packets:
        products = [rnd(x * w, packet.shift)
                    for x, w in zip(packet.vector, packet.weights, strict=True)]
        v = [saturate(p, 24) for p in products]
        outcome = Outcome(v if packet.codes else packet.vector)
        outcome.product = sum(a != b for a, b in zip(products, v, strict=True))
        if packet.sum_of != SumOf.KEEP:
            z = packet.vector if packet.sum_of == SumOf.INPUT else v
            shifted = [rnd(value, packet.square_shift) for value in z]
            u = [saturate(value, 16) for value in shifted]
            outcome.square = sum(a != b for a, b in zip(shifted, u, strict=True))
            squares = sum(value * value for value in u)
        if packet.codes:
            largest = normalise(max(abs(value) for value in v))
            outcome.codes = [code(value, largest, reciprocal(largest)) for value in v]
            row = ratio(largest, squares)
            outcome.ratio = (row.mantissa, row.exponent)
        outcomes.append(outcome)
    return outcomes


def measure(packets: list[Packet], elements: int, pause=lambda: 0, wait_for_ratio=True):
    dut, outcomes = Quantiser(config(elements)), []
    ram = [0] * DEPTH
    stream = [packet.weights[k:k + elements] for packet in packets
              for k in range(0, len(packet.weights), elements)]

    def word(address):
        return (ram + ram)[address * elements:(address + 1) * elements] or [0] * elements

    async def vector_ram(ctx):
        data = word(0)
        while True:
            ctx.set(dut.vector_read_data, data)
            _, _, address, write = await ctx.tick().sample(dut.vector_read_address,
                                                           dut.vector_write)
            data = word(address)
            if write.enable:
                ram[write.address * elements:(write.address + 1) * elements] = list(write.data)

    async def constants(ctx):
        await put(ctx, dut.constants, stream, pause)

    async def control(ctx):
        for packet in packets:
            count = len(packet.vector)
            ram[packet.src:packet.src + count] = packet.vector
            ctx.set(dut.header, {
                "op": Opcode.QUANTISE, "sum_of": packet.sum_of, "codes": packet.codes,
                "shift": packet.shift,
                "square_shift": packet.square_shift, "count": count, "src": packet.src,
                "dst": packet.dst,
            })
            ctx.set(dut.start, 1)
            outcome, restarts, completes = Outcome([]), 0, 0
            while True:
                _, _, restart, complete, valid, codes, saturated = await ctx.tick().sample(
                    dut.restart, dut.complete, dut.codes_o.valid, dut.codes_o.payload,
                    dut.saturated)
                ctx.set(dut.start, 0)
                assert not (completes and valid)
                restarts += restart
                completes += complete
                if valid:
                    assert restarts
                    outcome.codes += list(codes)
                outcome.product += saturated.product
                outcome.square += saturated.square
                if not ctx.get(dut.busy):
                    break
            assert restarts == completes == packet.codes
            base = packet.dst if packet.codes else packet.src
            outcome.vector = ram[base:base + count]
            if packet.codes and wait_for_ratio:
                await ctx.tick().until(dut.ratio_valid)
                row = ctx.get(dut.ratio)
                outcome.ratio = (row.mantissa, row.exponent)
            outcomes.append(outcome)

    simulate(dut, constants, control, processes=[vector_ram])
    return outcomes


def draw(rng: random.Random, count: int, **fields) -> Packet:
    size = rng.randrange(1, 24)
    return Packet([rng.randrange(-1 << size, 1 << size) for _ in range(count)],
                  [rng.randrange(-1 << 15, 1 << 15) for _ in range(count)],
                  **({"shift": rng.randrange(8, 20), "square_shift": rng.randrange(12),
                      "sum_of": rng.choice((SumOf.INPUT, SumOf.PRODUCT)), "codes": True} | fields))


def worst_cases(rng: random.Random, count: int) -> list[Packet]:
    low, high = [-TOP] * count, [TOP - 1] * count
    single = [0] * (count - 1)
    many = [rng.randrange(-TOP, TOP) for _ in range(count)]
    weights = [rng.randrange(-1 << 15, 1 << 15) for _ in range(count)]
    least, most = [-1 << 15] * count, [(1 << 15) - 1] * count
    packets = [Packet([0] * count, weights),  # no largest value
               Packet(low, most, square_shift=8), Packet(low, least, square_shift=0),
               Packet(high, least, sum_of=SumOf.INPUT), Packet(low, most, sum_of=SumOf.INPUT),
               Packet([1, *single], [1 << 10] * count, shift=10, square_shift=0),
               Packet([*single, -1], [1 << 10] * count, shift=10, square_shift=0),
               Packet([*single, -TOP], most),
               Packet([1 << 14, -1 << 14] + [3] * (count - 2), [1 << 10] * count, shift=10),
               Packet([9, *[-5] * (count - 1)], [1] * count, shift=0, square_shift=15),  # 0 squares
               Packet(low, [1] * count, shift=0, square_shift=8)]  # squares of -2**15
    packets += [Packet(many, weights, shift=shift, square_shift=square_shift)
                for shift in (0, 1, 15, 22, 38, 39, 47, 63) for square_shift in (0, 7)]
    packets += [Packet(many, weights, square_shift=shift, sum_of=sum_of)
                for shift in (0, 1, 8, 14, 15) for sum_of in (SumOf.INPUT, SumOf.PRODUCT)]
    return packets


@pytest.mark.parametrize("elements", [1, 2, 4])
def test_worst_cases(elements):
    packets = worst_cases(random.Random(1), 8)
    assert measure(packets, elements) == expect(packets)


@pytest.mark.parametrize("idle", [0, 3], ids=["full-rate", "slow-constants"])
@pytest.mark.parametrize("elements", [1, 2, 4])
def test_random_packets(elements, idle):
    rng = random.Random(2)
    packets = [draw(rng, 4 * rng.randint(1, 4), src=src, dst=rng.choice((src, src ^ 32)))
               for src in (0, 4, 16, 36, 48, 8)]
    assert measure(packets, elements, lambda: rng.randint(0, idle)) == expect(packets)


@pytest.mark.parametrize("elements", [1, 4])
def test_squares_are_kept_and_codes_left_out(elements):
    rng = random.Random(3)
    packets = [draw(rng, 8, codes=False, sum_of=SumOf.PRODUCT, shift=4),
               draw(rng, 16, sum_of=SumOf.KEEP), draw(rng, 4, sum_of=SumOf.KEEP, square_shift=0),
               draw(rng, 8, codes=False, sum_of=SumOf.INPUT, square_shift=0),
               draw(rng, 8, codes=False, sum_of=SumOf.KEEP), draw(rng, 8, sum_of=SumOf.KEEP),
               draw(rng, 8, codes=False, sum_of=SumOf.PRODUCT, shift=0, square_shift=0),
               draw(rng, 8, sum_of=SumOf.INPUT), draw(rng, 8, sum_of=SumOf.KEEP)]
    assert measure(packets, elements) == expect(packets)


def test_next_packet_waits_for_the_ratio():
    rng = random.Random(4)
    packets = [draw(rng, 4, dst=0) for _ in range(6)]
    outcomes, expected = measure(packets, 4, wait_for_ratio=False), expect(packets)
    for outcome in expected:
        outcome.ratio = None
    assert outcomes == expected


def test_codes_ties_round_away_from_zero():
    # 127 * v / 254 is a half for every odd v
    packet = Packet([254, *range(-7, 8)], [1 << 10] * 16, shift=10)
    (outcome,) = measure([packet], 1)
    assert outcome == expect([packet])[0]
    assert outcome.codes[1:] == [-4, -3, -3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3, 3, 4]


def test_config_is_checked():
    with pytest.raises(TypeError, match=r"^Quantiser config must be a CoreConfig, not 4$"):
        Quantiser(4)  # pyright: ignore[reportArgumentType]
