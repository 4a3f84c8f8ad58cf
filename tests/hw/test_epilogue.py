import random

import pytest

from ternforge.config import CoreConfig
from ternforge.isa import Function
from ternforge.numerics import Scale
from ternforge_sim.bench import simulate
from ternforge_sim.cocotb.units import Rows

from .expect import Packet, Result, epilogue

CONFIGS = {"up5k": CoreConfig(lanes=8, elements=1, max_fan_in=400, max_rows=400),
           "ecp5": CoreConfig(lanes=40, elements=4, max_fan_in=600)}
PAUSES = {"full-rate": (0,), "pauses": (0, 0, 1, 2, 7, 30)}
OPERAND, STATE, DST = 300, 200, 700
FUNCTIONS = list(Function.__members__.values())

Job = tuple[Packet, list[int], list[int], list[int]]  # with accumulators, operands, states


def run(config: CoreConfig, jobs: list[Job], pauses=(0,), seed=0, in_place=False) -> list[Result]:
    """Run packets back to back: each starts in the cycle after the last row before has retired, and
    its first row comes as early as it may.
    """
    dut, results, rng = Rows(config), [], random.Random(seed)
    vectors, states = [0] * config.vector_depth, [0] * config.state_depth

    async def memories(ctx):
        read = [(0, 0)] * (config.operand_latency - 1)
        async for _, _, address, state_address, write, state_write in ctx.tick().sample(
                dut.vector_read_address, dut.state_read_address, dut.vector_write,
                dut.state_write):
            read.append((vectors[address], states[state_address]))
            vector, state = read.pop(0)
            ctx.set(dut.vector_read_data, vector)
            ctx.set(dut.state_read_data, state)
            if write.enable:
                vectors[write.address] = write.data
            if state_write.enable:
                states[state_write.address] = state_write.data

    async def bench(ctx):
        for packet, acc, operands, stored in jobs:
            dst = OPERAND if in_place else DST
            before = [rng.randint(-9, 9) for _ in acc]
            vectors[dst:dst + len(acc)] = before
            vectors[OPERAND:OPERAND + len(acc)] = operands
            states[STATE:STATE + len(acc)] = stored
            ctx.set(dut.header, {
                "function": packet.function, "scaled": packet.scale is not None,
                "bounded": packet.bounded, "store": packet.store,
                "activation_shift": packet.activation_shift, "shift": packet.shift,
                "continued": packet.continued, "rows": len(acc), "operand": OPERAND,
                "state": STATE, "dst": dst})
            scale = packet.scale or Scale(rng.randrange(1 << 15), rng.randrange(48))
            ctx.set(dut.scale, {"mantissa": scale.mantissa, "shift": scale.shift})
            ctx.set(dut.start_of_sequence, packet.start_of_sequence)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().repeat(2)
            result = Result()
            retired, cycle, arrived = 0, 0, []
            pending = list(acc)
            pause = rng.choice(pauses)
            while retired < len(acc):
                send = bool(pending) and pause == 0
                ctx.set(dut.row, send)
                if send:
                    ctx.set(dut.acc, pending.pop(0))
                    arrived.append(cycle)
                    pause = rng.choice(pauses)
                else:
                    pause = max(pause - 1, 0)
                strobes = ctx.get(dut.saturated)
                result.rescale += strobes.rescale
                result.gate += strobes.gate
                result.residual += strobes.residual
                if ctx.get(dut.retired):
                    assert cycle - arrived[retired] == dut.latency(packet.function)
                    retired += 1
                await ctx.tick()
                cycle += 1
            if packet.function is Function.LOGITS:
                result.token = ctx.get(dut.token)
            if packet.function is Function.RECURRENCE:
                result.values = states[STATE:STATE + len(acc)]
                assert vectors[dst:dst + len(acc)] == (operands if in_place else before)
            else:
                result.values = vectors[dst:dst + len(acc)]
                assert states[STATE:STATE + len(acc)] == stored
                if packet.function is Function.LOGITS and not packet.store:
                    assert result.values == (operands if in_place else before)
                    result.values = []
            results.append(result)

    simulate(dut, bench, processes=[memories])
    return results


def accumulators(config: CoreConfig, count: int, rng: random.Random) -> list[int]:
    """The extremes, then random ones of every size."""
    top = 127 * config.tile * config.max_tiles
    return ([top, -top, 0, -1, 1, 32767, 32768, -32768, -32769]
            + [rng.randint(-(1 << bits), 1 << bits)
               for bits in rng.choices(range(top.bit_length() - 1), k=count)])


def scales(rng: random.Random, count: int) -> list[Scale | None]:
    usual = [Scale(rng.randrange(1 << 14, 1 << 15), rng.randint(13, 23)) for _ in range(count)]
    return [None, Scale(0, 0), *usual]


EDGES = [Scale(m, s) for m in (1 << 14, (1 << 15) - 1)
         for s in (0, 1, 7, 8, 15, 16, 24, 31, 32, 33, 47)]


def job(packet: Packet, config: CoreConfig, rng: random.Random, count: int = 8) -> Job:
    """Rows for ``packet``, with operands in the range that its function allows."""
    acc = accumulators(config, count, rng)
    size = range(len(acc))
    low, high = {Function.FORGET: (0, 32767), Function.RECURRENCE: (1, 32768),
                 Function.RESIDUAL: (-1 << 23, (1 << 23) - 1)}.get(packet.function,
                                                                   (-32768, 32767))
    operands = [rng.choice((low, high, high - 1, rng.randint(low, high))) for _ in size]
    stored = [rng.choice((-32768, 32767, 0, rng.randint(-32768, 32767))) for _ in size]
    return packet, acc, operands, stored


def packets(function: Function, rng: random.Random) -> list[Packet]:
    """Packets of one function over scales, shifts and flags."""
    common: list[dict] = [{"function": function, "scale": scale} for scale in scales(rng, 3)]
    if function in (Function.SILU, Function.RESIDUAL):  # one of 16, one of 24 bits
        common += [{"function": function, "scale": scale} for scale in EDGES]
    usual = {"function": function, "scale": Scale(0x5A82, 18)}
    match function:
        case Function.FORGET:
            common += [{**usual, "activation_shift": a, "bounded": b}
                       for a in range(8) for b in (False, True)]
        case Function.RECURRENCE:
            common += [{**usual, "activation_shift": a, "start_of_sequence": b}
                       for a in range(8) for b in (False, True)]
        case Function.SILU:
            common += [{**usual, "activation_shift": a} for a in range(8)]
        case Function.OUTPUT_GATE:
            common += [{**usual, "activation_shift": a, "shift": s, "start_of_sequence": bool(s)}
                       for a, s in zip(range(8), (0, 1, 5, 6, 7, 8, 14, 15), strict=True)]
        case Function.MULTIPLY:
            common += [{**usual, "shift": s} for s in range(16)]
        case Function.LOGITS:
            common += [{**usual, "store": True}, {"function": function, "store": True}]
    return [Packet(**fields) for fields in common]


def expected(jobs: list[Job]) -> list[Result]:
    return [epilogue(*one) for one in jobs]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name.lower())
def test_function_equals_contract(function, config):
    rng, config = random.Random(function.value), CONFIGS[config]
    jobs = [job(packet, config, rng) for packet in packets(function, rng)]
    assert run(config, jobs) == expected(jobs)


@pytest.mark.parametrize(("config", "pauses", "in_place"), [
    ("up5k", "full-rate", False), ("up5k", "pauses", True), ("ecp5", "full-rate", True)])
def test_packets_back_to_back(config, pauses, in_place):
    rng, config = random.Random(7), CONFIGS[config]
    jobs = []
    for _ in range(25):
        function = rng.choice(FUNCTIONS)
        packet = Packet(
            function=function, scale=rng.choice(scales(rng, 10) + EDGES),
            bounded=rng.random() < 0.5, store=rng.random() < 0.5, activation_shift=rng.randrange(8),
            shift=rng.randrange(16), start_of_sequence=rng.random() < 0.5)
        jobs.append(job(packet, config, rng, count=rng.randrange(12)))
    assert run(config, jobs, PAUSES[pauses], in_place=in_place) == expected(jobs)


def test_every_kind_of_saturation_happens():
    rng = random.Random(3)
    counts = Result()
    for function in FUNCTIONS:
        for packet in packets(function, rng):
            result = epilogue(*job(packet, CONFIGS["up5k"], rng))
            counts.rescale += result.rescale
            counts.gate += result.gate
            counts.residual += result.residual
    assert min(counts.rescale, counts.gate, counts.residual) > 10


@pytest.mark.parametrize("acc", [[5, 5, 4], [-7, -3, -3, -9], [0], [-1, 0, 0], [-50000, -50001]])
def test_first_of_the_largest_wins(acc):
    jobs = [(Packet(function=Function.LOGITS), acc, [0] * len(acc), [0] * len(acc))]
    assert [r.token for r in run(CONFIGS["up5k"], jobs)] == [acc.index(max(acc))]


def test_token_survives_other_packets():
    rng, config = random.Random(5), CONFIGS["up5k"]
    jobs = [job(Packet(function=Function.LOGITS), config, rng),
            job(Packet(function=Function.SILU), config, rng),
            job(Packet(function=Function.LOGITS), config, rng)]
    assert run(config, jobs) == expected(jobs)


@pytest.mark.parametrize("parts", [([5, 9, 9], [8, 9], [1]), ([1], [2, 3], [-4, 3, 4]),
                                   ([-9, -8], [-8, -7], [-7])])
def test_a_continued_packet_shares_the_argmax(parts):
    jobs = []
    for _ in range(2):  # two tokens
        for number, acc in enumerate(parts):
            packet = Packet(function=Function.LOGITS, continued=number > 0)
            jobs.append((packet, acc, [0] * len(acc), [0] * len(acc)))
            jobs.append((Packet(function=Function.SILU, continued=True), [50], [0], [0]))
    whole = [value for acc in parts for value in acc]
    tokens = [r.token for r in run(CONFIGS["up5k"], jobs) if r.token is not None]
    assert tokens[len(parts) - 1::len(parts)] == [whole.index(max(whole))] * 2
