import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ternforge.config import CoreConfig
from ternforge.core.quantise import Quantiser
from ternforge.isa import HEADER_BITS, Opcode, SumOf, encode
from ternforge.numerics import Scale, code, normalise, ratio, reciprocal, rnd, saturate
from ternforge_sim.bench import put, simulate

TOP = 1 << 23
DEPTH = 64


def config(elements: int) -> CoreConfig:
    return CoreConfig(lanes=8, elements=elements, vector_depth=DEPTH, max_fan_in=DEPTH)


@dataclass
class Packet:
    """QUANTISE of ``vector``, which is put into the RAM before it starts."""

    vector: list[int]
    weights: list[int]
    shift: int = 15
    square_shift: int = 8
    sum_of: SumOf = SumOf.PRODUCT
    codes: bool = True
    src: int = 0
    dst: int = 0

    @property
    def header(self) -> int:
        return encode(Opcode.QUANTISE, sum_of=self.sum_of.value, codes=int(self.codes),
                      shift=self.shift, square_shift=self.square_shift, count=len(self.weights),
                      src=self.src, dst=self.dst)


@dataclass
class Load:
    """LOAD of ``weights``."""

    weights: list[int]
    shift: int
    dst: int = 0
    codes = False

    @property
    def header(self) -> int:
        return encode(Opcode.LOAD, shift=self.shift, count=len(self.weights), dst=self.dst)


@dataclass
class Rows:
    """Accumulators that are rescaled while no packet is under way."""

    acc: list[int]
    scale: Scale | None


@dataclass
class Outcome:
    ram: list[int]  # all of it, afterwards
    codes: list[int] = field(default_factory=list)
    ratio: tuple[int, int] | None = None
    product: int = 0
    square: int = 0
    rows: list[tuple[int, int]] = field(default_factory=list)  # rescaled, and whether clipped


def quantised(packet: Packet, ram: list[int], squares: int) -> tuple[Outcome, int]:
    """Outcome, and the sum of squares, which is ``squares`` before."""
    ram[packet.src:packet.src + len(packet.vector)] = packet.vector
    products = [rnd(x * w, packet.shift)
                for x, w in zip(packet.vector, packet.weights, strict=True)]
    v = [saturate(p, 24) for p in products]
    if packet.codes:
        ram[packet.dst:packet.dst + len(v)] = v
    outcome = Outcome(list(ram), product=sum(a != b for a, b in zip(products, v, strict=True)))
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
    return outcome, squares


def rescaled(rows: Rows) -> list[tuple[int, int]]:
    exact = [acc if rows.scale is None else rnd(acc * rows.scale.mantissa, rows.scale.shift)
             for acc in rows.acc]
    return [(y := saturate(value, 24), int(y != value)) for value in exact]


def expect(jobs: Sequence[Packet | Load | Rows]) -> list[Outcome]:
    outcomes, squares, ram = [], 0, [0] * DEPTH
    for job in jobs:
        if isinstance(job, Rows):
            outcome = Outcome(list(ram), rows=rescaled(job))
        elif isinstance(job, Load):
            ram[job.dst:job.dst + len(job.weights)] = [c << job.shift for c in job.weights]
            outcome = Outcome(list(ram))
        else:
            outcome, squares = quantised(job, ram, squares)
        outcomes.append(outcome)
    return outcomes


def measure(jobs: Sequence[Packet | Load | Rows], elements: int, pause=lambda: 0,
            wait_for_ratio=True):
    """Outcomes of the hardware, whose other inputs change all the time."""
    dut, outcomes, noise = Quantiser(config(elements)), [], random.Random(9)
    ram = [0] * DEPTH
    stream = [job.weights[k:k + elements] for job in jobs if not isinstance(job, Rows)
              for k in range(0, len(job.weights), elements)]

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

    def disturb(ctx):
        top = 1 << (dut.config.acc_bits - 1)
        ctx.set(dut.acc, noise.randrange(-top, top))
        ctx.set(dut.scaled, noise.randrange(2))
        ctx.set(dut.scale, {"mantissa": noise.randrange(1 << 15), "shift": noise.randrange(48)})

    async def execute(ctx, packet: Packet | Load) -> Outcome:
        if isinstance(packet, Packet):
            ram[packet.src:packet.src + len(packet.vector)] = packet.vector
        ctx.set(dut.header.as_value(), packet.header)
        ctx.set(dut.start, 1)
        outcome, restarts, completes = Outcome([]), 0, 0
        while True:
            _, _, restart, complete, valid, codes, saturated, streaming, busy, ratio_valid = (
                await ctx.tick().sample(
                    dut.restart, dut.complete, dut.codes_o.valid, dut.codes_o.payload,
                    dut.saturated, dut.streaming, dut.busy, dut.ratio_valid))
            ctx.set(dut.start, 0)
            assert not (packet.codes and busy and not streaming and ratio_valid)
            restarts += restart
            completes += complete
            if valid:
                assert restarts
                assert not completes
                outcome.codes += list(codes)
            outcome.product += saturated.product
            outcome.square += saturated.square
            if not ctx.get(dut.busy):
                break
            disturb(ctx)
            if streaming:  # the sequencer reads the next header
                ctx.set(dut.header.as_value(), noise.getrandbits(HEADER_BITS))
        assert restarts == completes == packet.codes
        outcome.ram = list(ram)
        if packet.codes and wait_for_ratio:
            while not ctx.get(dut.ratio_valid):
                await ctx.tick()
            row = ctx.get(dut.ratio)
            outcome.ratio = (row.mantissa, row.exponent)
        return outcome

    async def rescale(ctx, rows: Rows) -> Outcome:
        ctx.set(dut.scaled, rows.scale is not None)
        if rows.scale is not None:
            ctx.set(dut.scale, {"mantissa": rows.scale.mantissa, "shift": rows.scale.shift})
        await ctx.tick().repeat(2)
        results = []
        for acc in [*rows.acc, *[0] * dut.rescale_latency]:
            ctx.set(dut.acc, acc)
            _, _, value, clipped = await ctx.tick().sample(dut.rescaled, dut.rescaled_saturated)
            results.append((value, clipped))
        return Outcome(list(ram), rows=results[dut.rescale_latency:])

    async def control(ctx):
        for job in jobs:
            outcomes.append(await (rescale(ctx, job) if isinstance(job, Rows)
                                   else execute(ctx, job)))

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


def constants_of(bits: int, shift: int, count: int, rng: random.Random) -> list[int]:
    """Constants of 8 or 16 bits whose shifted values fit the vector RAM, extremes first."""
    top = 1 << min(bits - 1, 23 - shift)
    return [-top, top - 1, 0, 1, -1, *[rng.randrange(-top, top) for _ in range(count - 5)]]


@pytest.mark.parametrize("elements", [1, 2, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_load_shifts_constants(elements, bits):
    rng = random.Random(5)
    jobs = [Load(constants_of(bits, shift, 8, rng), shift, dst=8 * (shift % 8))
            for shift in range(16)]
    assert measure(jobs, elements) == expect(jobs)


@pytest.mark.parametrize("elements", [1, 4])
def test_load_leaves_squares_and_ratio_alone(elements):
    rng = random.Random(6)
    load = Load(constants_of(8, 15, 8, rng), 15, dst=16)
    jobs = [draw(rng, 8, codes=False, sum_of=SumOf.PRODUCT), load,
            draw(rng, 8, sum_of=SumOf.KEEP), load, draw(rng, 8, sum_of=SumOf.KEEP),
            draw(rng, 8, codes=False, sum_of=SumOf.INPUT), load, load,
            draw(rng, 8, sum_of=SumOf.KEEP)]
    assert measure(jobs, elements) == expect(jobs)


def draw_rows(rng: random.Random, elements: int) -> Rows:
    top = 127 * config(elements).tile * config(elements).max_tiles
    scale = rng.choice([None, Scale((1 << 15) - 1, 0), Scale((1 << 15) - 1, 47),
                        Scale(rng.randrange(1 << 14, 1 << 15), rng.randrange(30))])
    return Rows([-top, top, 0, 1, -1, *[rng.randint(-top, top) for _ in range(5)]], scale)


@pytest.mark.parametrize("wait_for_ratio", [True, False], ids=["settled", "at-once"])
@pytest.mark.parametrize("idle", [0, 3], ids=["full-rate", "slow-constants"])
@pytest.mark.parametrize("elements", [1, 4])
def test_packets_of_all_kinds_and_rows_follow_each_other(elements, idle, wait_for_ratio):
    rng, jobs = random.Random(elements + idle), []
    for _ in range(40):
        shift, place = rng.randrange(16), 4 * rng.randrange(8)
        jobs.append(rng.choice([
            Load(constants_of(rng.choice((8, 16)), shift, 4 * rng.randint(2, 4), rng), shift,
                 dst=place),
            draw(rng, 4 * rng.randint(1, 4), src=place, dst=rng.choice((place, place ^ 32)),
                 sum_of=rng.choice(list(SumOf)), codes=rng.random() < 0.7),
            draw_rows(rng, elements)]))
    outcomes, expected = measure(jobs, elements, lambda: rng.randint(0, idle),
                                 wait_for_ratio), expect(jobs)
    if not wait_for_ratio:
        for outcome in expected:
            outcome.ratio = None
    assert outcomes == expected


def test_config_is_checked():
    with pytest.raises(TypeError, match=r"^Quantiser config must be a CoreConfig, not 4$"):
        Quantiser(4)  # pyright: ignore[reportArgumentType]
