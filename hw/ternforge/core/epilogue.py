"""What happens to the rows of a matrix: rescale, nonlinearity, one operation with an operand."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.isa import HEADERS, Function, Opcode
from ternforge.numerics import (
    ACTIVATION_BITS,
    SIGMOID_FRACTION,
    SIGMOID_ONE,
    STATE_BITS,
    VECTOR_BITS,
)

from .accumulate import Accumulator
from .multiply import RoundShift
from .rescale import Rescale
from .scale import SCALE
from .sigmoid import Sigmoid
from .vector_ram import element_write

__all__ = ["Epilogue"]

_HEADER = HEADERS[Opcode.MATVEC]
#: Cycles from the combining stage to the write.
_FINISH = 4 + RoundShift.latency


class Epilogue(wiring.Component):
    """The seven functions of a MATVEC packet, exactly as the integer contract defines them.

    One row per cycle with any gaps between rows; never stalls. A row retires
    :meth:`latency` cycles after it came, always the same for one function.

    All functions but one share one product: ``rnd(H * 2**15 + X * (C - H), 15)`` with ``C - H`` of
    17 bits is the blend of both FORGET (``X = 1 - s``, ``C`` the bound, ``H`` one) and RECURRENCE
    (``X = 1 - f``, ``C`` the candidate, ``H`` the state); the gates take ``rnd(X * C, shift)`` with
    ``H = 0``, and SILU is a gate with ``X`` one half. RESIDUAL and LOGITS use the sum alone.

    ==========================  =======  ======  =====  ===========  ========
    stage                       FORGET   REC.    GATE   MULTIPLY     RESIDUAL
                                         SILU                        LOGITS
    ==========================  =======  ======  =====  ===========  ========
    accumulator in              0        0       0      0            0
    rescaled                    6        6       6      6            6
    activation registered       7        7       1
    sigmoid                     12       12      6
    silu                                 15      9
    combine: ``X``, ``C - H``   12       15      9      9            6
    multiplier operands         13       16      10     10           7
    product                     14       17      11     11           8
    plus ``H``                  15       18      12     12           9
    rounded, written            19       22      16     16           13
    ==========================  =======  ======  =====  ===========  ========

    Rows of a packet must come in the order 0, 1, 2, ...: addresses are counted, not carried along.
    Both read ports stand at the next row that is due and are read again in every cycle, so an
    operand may be written up to two cycles before its row is combined.

    Operands must lie in their ranges: a bound in 0..32767, a forget gate in 1..32768, the operand
    of MULTIPLY in 16 bits signed.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Accumulator width and RAM depths.

    Members
    -------
    header : :py:`In(HEADERS[Opcode.MATVEC])`
        The packet; held from ``start`` until its last row has retired.
    scale : :py:`In(SCALE)`
        Multiplier and shift of a scaled packet; held from its first row until the last has retired.
    start_of_sequence : :py:`In(1)`
        The state of RECURRENCE counts as 0; held like ``header``.
    start : :py:`In(1)`
        Strobe before the first row of a packet, after the last row of the packet before retired.
    i : :py:`In(stream.Signature(Accumulator.row_layout(config), always_ready=True))`
        Rows; only ``acc`` is used.
    vector_read_address : :py:`Out(16)`
        Element address of the operand.
    vector_read_data : :py:`In(signed(24))`
        Its value, one cycle later.
    state_read_address, state_read_data
        The same for the state RAM, 16 bits.
    vector_write : :py:`Out(element_write())`
        Write of one element.
    state_write : :py:`Out(element_write(16))`
        Write of one state.
    retired : :py:`Out(1)`
        Strobe in the cycle of a row's write; with LOGITS ``token`` counts the row a cycle later.
    token : :py:`Out(16)`
        Row of the largest accumulator since the last ``start`` with LOGITS; the first of equals.
    saturated : :py:`Out(StructLayout(rescale, gate, residual))`
        Strobes, at most one per row and site.
    """

    header: data.View
    scale: data.View
    start_of_sequence: Signal
    start: Signal
    i: stream.Interface
    vector_read_address: Signal
    vector_read_data: Signal
    state_read_address: Signal
    state_read_data: Signal
    vector_write: data.View
    state_write: data.View
    retired: Signal
    token: Signal
    saturated: data.View

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "header": In(_HEADER), "scale": In(SCALE), "start_of_sequence": In(1), "start": In(1),
            "i": In(stream.Signature(Accumulator.row_layout(config), always_ready=True)),
            "vector_read_address": Out(16), "vector_read_data": In(signed(VECTOR_BITS)),
            "state_read_address": Out(16), "state_read_data": In(signed(STATE_BITS)),
            "vector_write": Out(element_write()), "state_write": Out(element_write(STATE_BITS)),
            "retired": Out(1), "token": Out(16),
            "saturated": Out(data.StructLayout({"rescale": 1, "gate": 1, "residual": 1})),
        })

    @staticmethod
    def combine_cycle(function: Function) -> int:
        """Cycle of the combining stage, counted from the row's arrival."""
        y = Rescale.latency
        activated = 1 + Sigmoid.latency  # from the activation's choice to sigmoid; silu is 3 later
        return {Function.FORGET: y + activated, Function.RECURRENCE: y + activated + 3,
                Function.SILU: y + activated + 3, Function.OUTPUT_GATE: activated + 3,
                Function.MULTIPLY: activated + 3}.get(function, y)

    @classmethod
    def latency(cls, function: Function) -> int:
        """Cycles from a row's arrival to its ``retired``."""
        return cls.combine_cycle(function) + _FINISH

    def elaborate(self, platform):
        m = Module()
        config, function = self.config, self.header.function

        def is_one(*functions: Function) -> Value:
            chosen = Signal(name="is_" + "_or_".join(f.name.lower() for f in functions))
            m.d.comb += chosen.eq(Cat(function == f for f in functions).any())
            return chosen

        forget, recurrence = is_one(Function.FORGET), is_one(Function.RECURRENCE)
        output_gate, silu_only = is_one(Function.OUTPUT_GATE), is_one(Function.SILU)
        logits, residual = is_one(Function.LOGITS), is_one(Function.RESIDUAL)
        gate = is_one(Function.OUTPUT_GATE, Function.MULTIPLY)
        sum_only = is_one(Function.RESIDUAL, Function.LOGITS)
        blend = is_one(Function.FORGET, Function.RECURRENCE)

        # Which rows stand where: bit k is set k + 1 cycles after a row came.
        taps = {f: self.combine_cycle(f) for f in Function}
        flight = Signal(max(taps.values()))
        m.d.sync += flight.eq(Cat(self.i.valid, flight))
        combine = Signal()
        with m.Switch(function):
            for f, cycle in taps.items():
                with m.Case(f):
                    m.d.comb += combine.eq(flight[cycle - 1])
        finish = Signal(_FINISH)
        m.d.sync += finish.eq(Cat(combine, finish))
        with m.If(self.start):
            m.d.sync += [flight.eq(0), finish.eq(0)]
        done = finish[-1]

        # Rescale.
        m.submodules.rescale = rescale = Rescale(config)
        m.d.comb += [rescale.acc.eq(self.i.p.acc), rescale.scale.eq(self.scale),
                     rescale.scaled.eq(self.header.scaled & ~logits)]
        rescaled = flight[Rescale.latency - 1]
        m.d.sync += self.saturated.rescale.eq(
            rescaled & Mux(sum_only, rescale.wide_saturated & residual, rescale.narrow_saturated))

        # Activation: y, or the state.
        argument = Signal(signed(ACTIVATION_BITS), reset_less=True)
        m.d.sync += argument.eq(Mux(output_gate, self.state_read_data, rescale.narrow))
        m.submodules.sigmoid = sigmoid = Sigmoid()
        m.d.comb += [sigmoid.t.eq(argument), sigmoid.shift.eq(self.header.activation_shift),
                     sigmoid.complement.eq(forget)]
        factor = argument
        for k in range(Sigmoid.latency + 1):
            later = Signal(signed(ACTIVATION_BITS), name=f"argument_{k}", reset_less=True)
            m.d.sync += later.eq(factor)
            factor = later
        sigmoid_q = Signal(signed(SIGMOID_FRACTION + 1), reset_less=True)
        activated = Signal(signed(2 * ACTIVATION_BITS), reset_less=True)
        half_up = Signal(signed(2 * ACTIVATION_BITS), reset_less=True)
        m.d.sync += [sigmoid_q.eq(sigmoid.s), activated.eq(factor * sigmoid_q),
                     half_up.eq(activated + (SIGMOID_ONE // 2))]
        silu = half_up[SIGMOID_FRACTION:SIGMOID_FRACTION + ACTIVATION_BITS].as_signed()

        # y until the state's silu is there.
        y = rescale.narrow
        for k in range(self.combine_cycle(Function.OUTPUT_GATE) - Rescale.latency):
            later = Signal(signed(ACTIVATION_BITS), name=f"y_{k}", reset_less=True)
            m.d.sync += later.eq(y)
            y = later

        # Combine.
        x = Signal(signed(ACTIVATION_BITS), reset_less=True)
        base = Signal(signed(VECTOR_BITS))  # C
        subtracted = Signal(signed(VECTOR_BITS))  # ~H, or y to be added
        kept = Signal(signed(STATE_BITS + 1), reset_less=True)  # H
        difference = Signal(signed(VECTOR_BITS + 1), reset_less=True)
        state = Signal(signed(STATE_BITS))
        m.d.comb += state.eq(Mux(self.start_of_sequence, 0, self.state_read_data))
        with m.Switch(function):
            with m.Case(Function.FORGET):
                m.d.sync += [x.eq(sigmoid.s), kept.eq(SIGMOID_ONE)]
                m.d.comb += [base.eq(Mux(self.header.bounded, self.vector_read_data, 0)),
                             subtracted.eq(~SIGMOID_ONE)]
            with m.Case(Function.RECURRENCE):
                m.d.sync += [x.eq((-self.vector_read_data)[:SIGMOID_FRACTION]), kept.eq(state)]
                m.d.comb += [base.eq(silu), subtracted.eq(~state)]
            with m.Case(Function.OUTPUT_GATE):
                m.d.sync += x.eq(y)
                m.d.comb += [base.eq(silu), subtracted.eq(-1)]
            with m.Case(Function.SILU):
                m.d.sync += x.eq(SIGMOID_ONE // 2)
                m.d.comb += [base.eq(silu), subtracted.eq(-1)]
            with m.Case(Function.MULTIPLY):
                m.d.sync += x.eq(y)
                m.d.comb += [base.eq(self.vector_read_data), subtracted.eq(-1)]
            with m.Case(Function.RESIDUAL):
                m.d.sync += x.eq(0)
                m.d.comb += [base.eq(self.vector_read_data), subtracted.eq(rescale.wide)]
            with m.Default():
                m.d.sync += x.eq(0)
                m.d.comb += [base.eq(0), subtracted.eq(rescale.wide)]
        m.d.sync += difference.eq(base + subtracted + ~sum_only)

        # Product. A blend takes the difference without its last bit, which comes in with H.
        operand_x = Signal.like(x)
        operand_d = Signal(signed(ACTIVATION_BITS), reset_less=True)
        product = Signal(signed(2 * ACTIVATION_BITS), reset_less=True)
        addend = Signal(signed(2 * ACTIVATION_BITS), reset_less=True)
        addend_later, total = Signal.like(addend), Signal.like(addend)
        odd = Mux(difference[0], x[1:SIGMOID_FRACTION], 0)
        m.d.sync += [
            operand_x.eq(x),
            operand_d.eq(Mux(blend, difference[1:], difference)),
            product.eq(operand_x * operand_d),
            addend.eq(Mux(blend, Cat(odd, kept).as_signed(), Mux(sum_only, difference, 0))),
            addend_later.eq(addend),
            total.eq(product + addend_later),
        ]
        m.submodules.round = round_ = RoundShift(len(total), VECTOR_BITS)
        m.d.comb += round_.value.eq(total)
        with m.If(gate):
            m.d.comb += round_.shift.eq(self.header.shift)
        with m.Elif(blend | silu_only):
            m.d.comb += round_.shift.eq(SIGMOID_FRACTION - 1)

        # Write.
        m.d.comb += [
            self.retired.eq(done),
            self.saturated.gate.eq(done & gate & round_.saturated),
            self.saturated.residual.eq(done & residual & round_.saturated),
            self.vector_write.data.eq(round_.result), self.state_write.data.eq(round_.result),
            self.vector_write.enable.eq(done & ~recurrence & (~logits | self.header.store)),
            self.state_write.enable.eq(done & recurrence),
        ]
        self._addresses(m, combine, done, output_gate, recurrence)
        self._argmax(m, done & logits, round_.result)
        return m

    def _addresses(self, m: Module, combine: Value, done: Value, output_gate: Value,
                   recurrence: Value):
        """Count rows where they read and where they write."""
        depth = max(self.config.vector_depth, self.config.state_depth)

        def counter(name: str, size: int, first: Value, advance: Value) -> tuple[Signal, Signal]:
            width = min(16, (size - 1).bit_length())
            now, following = Signal(width, name=name), Signal(width, name=f"{name}_next")
            m.d.comb += following.eq(Mux(self.start, first, now + advance))
            m.d.sync += now.eq(following)
            return now, following

        _, vector = counter("vector_row", self.config.vector_depth, self.header.operand, combine)
        _, state = counter("state_row", self.config.state_depth, self.header.state,
                           Mux(output_gate, self.i.valid, combine))
        write, _ = counter("write_row", depth,
                           Mux(recurrence, self.header.state, self.header.dst), done)
        m.d.comb += [self.vector_read_address.eq(vector), self.state_read_address.eq(state),
                     self.vector_write.address.eq(write), self.state_write.address.eq(write)]

    def _argmax(self, m: Module, valid: Value, value: Value):
        """Keep the first of the largest values."""
        best = Signal(signed(self.config.acc_bits), reset_less=True)
        row, empty = Signal(16), Signal()
        with m.If(valid):
            m.d.sync += [row.eq(row + 1), empty.eq(0)]
            with m.If(empty | (value[:len(best)].as_signed() > best)):
                m.d.sync += [best.eq(value), self.token.eq(row)]
        with m.If(self.start & (self.header.function == Function.LOGITS)):
            m.d.sync += [row.eq(0), empty.eq(1), self.token.eq(0)]
