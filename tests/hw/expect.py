"""What the epilogue must do to one row, in plain integers, straight from the contract."""

from dataclasses import dataclass, field

from ternforge.isa import Function
from ternforge.numerics import SIGMOID_ONE, Scale, rnd, saturate, sigmoid, silu

__all__ = ["Packet", "Result", "epilogue"]


@dataclass(frozen=True, kw_only=True)
class Packet:
    """The header fields that matter to the arithmetic, with scale and sequence flag."""

    function: Function
    scale: Scale | None = None  #: None: not scaled
    bounded: bool = False
    store: bool = False
    activation_shift: int = 0
    shift: int = 0
    start_of_sequence: bool = False
    continued: bool = False


@dataclass
class Result:
    """Everything a packet leaves behind."""

    values: list[int] = field(default_factory=list)  #: per row, to V or S
    token: int | None = None
    rescale: int = 0
    gate: int = 0
    residual: int = 0


def epilogue(packet: Packet, acc: list[int], operands: list[int], states: list[int]) -> Result:
    """Values, token and saturation counts of one packet; operands and states by row."""
    out = Result()
    if packet.function is Function.LOGITS:
        out.token = acc.index(max(acc))
        out.values = [saturate(a, 24) for a in acc] if packet.store else []
        return out
    bits = 24 if packet.function is Function.RESIDUAL else 16
    for a, operand, stored in zip(acc, operands, states, strict=True):
        exact = a if packet.scale is None else rnd(a * packet.scale.mantissa, packet.scale.shift)
        y = saturate(exact, bits)
        out.rescale += y != exact
        match packet.function:
            case Function.FORGET:
                s = sigmoid(saturate(y << packet.activation_shift, 16))
                value = operand + rnd((SIGMOID_ONE - operand) * s, 15) if packet.bounded else s
            case Function.RECURRENCE:
                c = silu(y, packet.activation_shift)
                h = 0 if packet.start_of_sequence else stored
                value = c + rnd(operand * (h - c), 15)
            case Function.OUTPUT_GATE:
                exact = rnd(y * silu(stored, packet.activation_shift), packet.shift)
                value = saturate(exact, 24)
                out.gate += value != exact
            case Function.SILU:
                value = silu(y, packet.activation_shift)
            case Function.MULTIPLY:
                exact = rnd(y * operand, packet.shift)
                value = saturate(exact, 24)
                out.gate += value != exact
            case _:  # RESIDUAL
                value = saturate(operand + y, 24)
                out.residual += value != operand + y
        out.values.append(value)
    return out
