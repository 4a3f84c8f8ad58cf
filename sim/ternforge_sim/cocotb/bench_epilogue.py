"""Epilogue: every function with extreme accumulators, scales, shifts and flags; idle rows."""

import random
from dataclasses import dataclass, field

import cocotb

from ternforge.isa import Function
from ternforge.numerics import SIGMOID_ONE, Scale, rnd, saturate, sigmoid, silu

from .bus import Unit

__all__ = ["rows_equal_contract"]

OPERAND, STATE, DST = 40, 30, 90


@dataclass(kw_only=True)
class Packet:
    """The fields of one MATVEC packet that matter here, with its rows."""

    function: Function
    scale: Scale | None = None
    bounded: bool = False
    store: bool = False
    activation_shift: int = 0
    shift: int = 0
    start_of_sequence: bool = False
    acc: list[int] = field(default_factory=list)
    operands: list[int] = field(default_factory=list)
    states: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    """What was written to either RAM, the token, and saturations: rescale, gate, residual."""

    vector: list[int] = field(default_factory=list)
    state: list[int] = field(default_factory=list)
    token: int | None = None
    saturated: list[int] = field(default_factory=lambda: [0, 0, 0])


def expect(packet: Packet) -> Outcome:
    """``docs/integer-contract.md``, Matvec, row by row."""
    out = Outcome()
    for acc, operand, stored in zip(packet.acc, packet.operands, packet.states, strict=True):
        if packet.function is Function.LOGITS:
            out.vector += [saturate(acc, 24)] if packet.store else []
            continue
        scale = packet.scale or Scale(1, 0)
        exact = rnd(acc * scale.mantissa, scale.shift)
        y = saturate(exact, 24 if packet.function is Function.RESIDUAL else 16)
        out.saturated[0] += y != exact
        a = packet.activation_shift
        match packet.function:
            case Function.FORGET:
                s = sigmoid(saturate(y << a, 16))
                out.vector.append(operand + rnd((SIGMOID_ONE - operand) * s, 15)
                                  if packet.bounded else s)
            case Function.RECURRENCE:
                h, c = 0 if packet.start_of_sequence else stored, silu(y, a)
                out.state.append(c + rnd(operand * (h - c), 15))
            case Function.SILU:
                out.vector.append(silu(y, a))
            case Function.RESIDUAL:
                out.vector.append(saturate(operand + y, 24))
                out.saturated[2] += out.vector[-1] != operand + y
            case _:  # the gates
                gate = operand if packet.function is Function.MULTIPLY else silu(stored, a)
                exact = rnd(y * gate, packet.shift)
                out.vector.append(saturate(exact, 24))
                out.saturated[1] += out.vector[-1] != exact
    if packet.function is Function.LOGITS:
        out.token = packet.acc.index(max(packet.acc))
    return out


def packets(top: int, rng: random.Random) -> list[Packet]:
    """Packets of every function, shuffled; ``top`` is the largest accumulator."""
    result = []
    usual = Scale(0x5A82, 18)
    scales = [None, Scale(0, 0), usual, *(Scale(m, s) for m, s in (
        (1 << 14, 0), ((1 << 15) - 1, 0), (1 << 14, 15), ((1 << 14) + 1, 16), (0x7FFF, 24),
        (0x7FFF, 31), (1 << 14, 32), ((1 << 15) - 1, 47)))]
    for function in Function:
        result += [Packet(function=function, scale=scale) for scale in scales]
        result += [Packet(function=function, scale=usual, activation_shift=k, shift=shift,
                          bounded=bool(k % 2), store=bool(k % 2), start_of_sequence=k % 3 == 0)
                   for k, shift in enumerate((0, 1, 5, 6, 7, 8, 14, 15))]
    rng.shuffle(result)
    ranges = {Function.FORGET: (0, 32767), Function.RECURRENCE: (1, 32768),
              Function.RESIDUAL: (-1 << 23, (1 << 23) - 1)}
    for packet in result:
        low, high = ranges.get(packet.function, (-32768, 32767))
        packet.acc = [top, -top, 0, -1, 1, 32767, 32768, -32768, -32769]
        packet.acc += [rng.randint(-(1 << bits), 1 << bits)
                       for bits in rng.choices(range(top.bit_length() - 1), k=rng.randint(0, 8))]
        packet.operands = [rng.choice((low, high, high - 1, rng.randint(low, high)))
                           for _ in packet.acc]
        packet.states = [rng.choice((-32768, 32767, 0, rng.randint(-32768, 32767)))
                         for _ in packet.acc]
    return result


@cocotb.test()
@cocotb.parametrize(idle=[(0,), (0, 0, 1, 2, 7, 30)])
async def rows_equal_contract(dut, idle: tuple[int, ...]):
    """Packets back to back: the next starts right after the last row has retired."""
    unit, rng = Unit(dut, "epilogue", "epilogue"), random.Random(len(idle))
    core = unit.component.config
    await unit.reset(dut)
    vectors, states = [0] * core.vector_depth, [0] * core.state_depth

    for packet in packets(127 * core.tile * core.max_tiles, rng):
        count = len(packet.acc)
        vectors[OPERAND:OPERAND + count] = packet.operands
        states[STATE:STATE + count] = packet.states
        scale = packet.scale or Scale(rng.randrange(1 << 15), rng.randrange(48))
        unit.set(start=1, row=0, start_of_sequence=packet.start_of_sequence,
                 scale={"mantissa": scale.mantissa, "shift": scale.shift},
                 header={"function": packet.function, "scaled": packet.scale is not None,
                         "bounded": packet.bounded, "store": packet.store,
                         "activation_shift": packet.activation_shift, "shift": packet.shift,
                         "rows": count, "operand": OPERAND, "state": STATE, "dst": DST})
        outcome, retired, pending = Outcome(), 0, list(packet.acc)
        pause, arrived, cycle = rng.choice(idle), [], -1
        while retired < count:
            address, state_address, write, state_write, done, saturated = await unit.tick(
                "vector_read_address", "state_read_address", "vector_write", "state_write",
                "retired", "saturated")
            cycle += 1
            assert cycle < 2000, "rows do not retire"
            unit.set(start=0, row=0, vector_read_data=vectors[address % len(vectors)],
                     state_read_data=states[state_address % len(states)])
            if write.enable:
                assert write.address == DST + len(outcome.vector)
                outcome.vector.append(write.data)
            if state_write.enable:
                assert state_write.address == STATE + len(outcome.state)
                outcome.state.append(state_write.data)
            for k, site in enumerate((saturated.rescale, saturated.gate, saturated.residual)):
                outcome.saturated[k] += site
            if done:
                assert cycle - arrived[retired] == unit.component.latency(packet.function) + 1
                retired += 1
            if pending and pause == 0 and cycle >= 2:
                unit.set(row=1, acc=pending.pop(0))
                arrived.append(cycle)
                pause = rng.choice(idle)
            else:
                pause -= pause > 0
        if packet.function is Function.LOGITS:
            outcome.token = unit.get("token")
        assert outcome == expect(packet), (packet, outcome, expect(packet))
