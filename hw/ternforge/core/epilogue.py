"""What happens to the rows of a matrix: nonlinearity, one operation with an operand."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ternforge.config import CoreConfig
from ternforge.core.activation import Activation
from ternforge.core.argmax import Argmax
from ternforge.core.multiply import RoundShift
from ternforge.core.quantise import Quantiser
from ternforge.core.vector_ram import element_write, state_write
from ternforge.isa import HEADERS, Function, Opcode
from ternforge.numerics import (
    ACTIVATION_BITS,
    SIGMOID_FRACTION,
    STATE_BITS,
    VECTOR_BITS,
)

__all__ = ["Epilogue"]

_HEADER = HEADERS[Opcode.MATVEC]
#: Width of the last sum, which is shifted and rounded.
_TOTAL_BITS = 2 * ACTIVATION_BITS
_SHIFT_BITS = _HEADER["shift"].width
#: Cycles from the combining stage to the write.
_FINISH = 4 + RoundShift.latency_of(_SHIFT_BITS)
#: Cycles from an accumulator to its rescaled row.
_RESCALED = Quantiser.rescale_latency


class Epilogue(wiring.Component):
    """The seven functions of a MATVEC packet, exactly as the integer contract defines them.

    One row per cycle with any gaps between rows; never stalls. A row retires :meth:`latency` cycles
    after it came, always the same for one function. The quantiser's multiplier rescales it on the
    way.

    All functions but two share one product: the blends of FORGET and RECURRENCE are
    ``rnd(H * 2**15 + X * (C - H), 15)``, where FORGET has the bound for H, one for C and s for X,
    and RECURRENCE the state for H, the candidate for C and ``1 - f`` for X. The gates are
    ``rnd(X * C, shift)``, and SILU is a gate with one half for X. RESIDUAL and LOGITS use the sum
    of C and the rescaled row alone.

    ==================================  ======  ==========  =======  ========  ========
    cycle                               FORGET  RECURRENCE  OUTPUT_  MULTIPLY  RESIDUAL
                                                SILU        GATE               LOGITS
    ==================================  ======  ==========  =======  ========  ========
    accumulator comes                   0       0           0        0         0
    rescaled                            6       6           6        6         6
    argument of the activation          7       7           2
    sigmoid                             10      10          5
    silu                                        13          8
    X, C - H, H taken                   10      13          8        8         6
    operands of the multiplier taken    11      14          9        9         7
    product taken                       12      15          10       10        8
    sum taken                           13      16          11       11        9
    rounded, written, retired           16      19          14       14        12
    ==================================  ======  ==========  =======  ========  ========

    Where operands take two cycles (``config.operand_latency``), everything of the gates comes one
    cycle later from their argument on.

    Rows of a packet must come in the order 0, 1, 2, ...: addresses are counted, not carried along.
    Where ``cores`` share a packet, its rows are groups of as many, and so are the addresses.
    Both read addresses stand at the next row that is due, from the cycle after ``start`` on.

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
    scaled : :py:`Out(1)`
        Rows of this packet are to be rescaled; from two cycles after ``start`` on.
    start_of_sequence : :py:`In(1)`
        The state of RECURRENCE counts as 0; held like ``header``.
    start : :py:`In(1)`
        Strobe three cycles before the first row of a packet or earlier, after the last row of the
        packet before retired.
    row : :py:`In(1)`
        Strobe: an accumulator has gone to be rescaled.
    rescaled : :py:`In(signed(24))`
        The rescaled row, 6 cycles after ``row``.
    rescaled_saturated : :py:`In(1)`
        It was clipped.
    vector_read_address : :py:`Out(16)`
        Element address of the operand.
    vector_read_data : :py:`In(signed(24))`
        Its value, ``config.operand_latency`` cycles later.
    state_read_address, state_read_data
        The same for the state RAM, 16 bits; the address has ``config.state_address_bits``.
    vector_write : :py:`Out(element_write())`
        Write of one element.
    state_write : :py:`Out(state_write(config))`
        Write of one state.
    retired : :py:`Out(1)`
        Strobe in the cycle of a row's write; with LOGITS ``token`` counts the row a cycle later.
    token : :py:`Out(16)`
        Only of a single core: row of the largest accumulator since the last ``start`` with LOGITS
        that was not ``continued``; the first of equals. Rows of continued packets count on.
    active : :py:`In(1)`
        Only with ``streams``: the packets are for this sequence. Otherwise RECURRENCE leaves the
        state as it was, and writes nothing. Held like ``header``.
    saturated : :py:`Out(StructLayout(rescale, gate, residual))`
        Strobes, at most one per row and site.
    """

    header: data.View
    scaled: Signal
    start_of_sequence: Signal
    start: Signal
    row: Signal
    rescaled: Signal
    rescaled_saturated: Signal
    vector_read_address: Signal
    vector_read_data: Signal
    state_read_address: Signal
    state_read_data: Signal
    vector_write: data.View
    state_write: data.View
    retired: Signal
    token: Signal
    active: Signal
    saturated: data.View

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "header": In(_HEADER), "scaled": Out(1), "start_of_sequence": In(1), "start": In(1),
            "row": In(1), "rescaled": In(signed(VECTOR_BITS)), "rescaled_saturated": In(1),
            "vector_read_address": Out(16), "vector_read_data": In(signed(VECTOR_BITS)),
            "state_read_address": Out(config.state_address_bits),
            "state_read_data": In(signed(STATE_BITS)),
            "vector_write": Out(element_write()), "state_write": Out(state_write(config)),
            "retired": Out(1), **({"token": Out(16)} if config.cores == 1 else {}),
            **({"active": In(1)} if config.streams > 1 else {}),
            "saturated": Out(data.StructLayout({"rescale": 1, "gate": 1, "residual": 1})),
        })

    #: Cycles from the stage that takes the operand, or the state, to the write.
    finish_latency = _FINISH

    def combine_cycle(self, function: Function) -> int:
        """Cycle in which a row meets its operand, counted from its arrival."""
        argument = _RESCALED + 1
        gate = 1 + self.config.operand_latency + Activation.silu_latency
        return {Function.FORGET: argument + Activation.sigmoid_latency,
                Function.RECURRENCE: argument + Activation.silu_latency,
                Function.SILU: argument + Activation.silu_latency,
                Function.OUTPUT_GATE: gate,
                Function.MULTIPLY: gate}.get(function, _RESCALED)

    def latency(self, function: Function) -> int:
        """Cycles from a row's arrival to its ``retired``."""
        return self.combine_cycle(function) + _FINISH

    def elaborate(self, platform):
        m = Module()
        header, function = self.header, self.header.function

        # Decoded in the cycle of start and held like the header.
        def flag(name: str, value: Value) -> Signal:
            held = Signal(value.shape(), name=name, reset_less=True)
            m.d.sync += held.eq(value)
            return held

        def is_one(*functions: Function) -> Value:
            return Cat(function == f for f in functions).any()

        forget = flag("forget", is_one(Function.FORGET))
        recurrence = flag("recurrence", is_one(Function.RECURRENCE))
        blend = flag("blend", is_one(Function.FORGET, Function.RECURRENCE))
        half = flag("half", is_one(Function.SILU))
        from_state = flag("from_state", is_one(Function.OUTPUT_GATE))
        gate = flag("gate", is_one(Function.OUTPUT_GATE, Function.MULTIPLY))
        sum_only = flag("sum_only", is_one(Function.RESIDUAL, Function.LOGITS))
        residual = flag("residual", is_one(Function.RESIDUAL))
        logits = flag("logits", is_one(Function.LOGITS))
        to_vector = flag("to_vector", ~is_one(Function.RECURRENCE, Function.LOGITS)
                         | is_one(Function.LOGITS) & header.store)
        m.d.comb += self.scaled.eq(flag("scaled", header.scaled & ~is_one(Function.LOGITS)))
        bound = flag("bound", is_one(Function.FORGET) & header.bounded)
        state = flag("state", is_one(Function.RECURRENCE) & ~self.start_of_sequence)
        base_code = flag("base_code", Cat(
            ~is_one(Function.MULTIPLY, Function.RESIDUAL, Function.LOGITS, Function.FORGET)
            | is_one(Function.FORGET) & header.bounded,
            is_one(Function.MULTIPLY, Function.RESIDUAL)
            | is_one(Function.FORGET) & header.bounded))

        # Which rows stand where: bit k is set k + 1 cycles after a row came.
        taps = {f: self.combine_cycle(f) - 1 for f in Function.__members__.values()}
        flight, soon, advance = Signal(max(taps.values())), Signal(), Signal()
        combine, finish = Signal(), Signal(_FINISH)
        with m.Switch(function):
            for f, cycle in taps.items():
                with m.Case(f):
                    m.d.comb += [soon.eq(flight[cycle - 1]),
                                 advance.eq(flight[cycle - self.config.operand_latency])]
        m.d.sync += [flight.eq(Cat(self.row, flight)), combine.eq(soon),
                     finish.eq(Cat(combine, finish))]
        # No row of the packet before is left in flight after its last row has retired.
        assert len(flight) <= min(self.latency(f) for f in taps)
        done = finish[-1]

        # Clip to 16 bits.
        rescaled = flight[_RESCALED - 1]
        wide = self.rescaled
        above = wide[ACTIVATION_BITS - 1:]
        clip = Signal()
        m.d.comb += clip.eq(above.any() & ~above.all())
        m.d.sync += self.saturated.rescale.eq(
            rescaled & ~logits & Mux(residual, self.rescaled_saturated, clip))
        sign = wide[-1]

        # Activation of y, or of the state. A clip sets or clears all bits but the sign.
        m.submodules.activation = activation = Activation()
        argument = Signal(signed(ACTIVATION_BITS), reset_less=True)
        magnitude_bits = ACTIVATION_BITS - 1
        high = (clip & ~sign).replicate(magnitude_bits)
        m.d.sync += argument.eq(Mux(from_state, self.state_read_data,
                                    Cat(wide[:magnitude_bits] | high, sign)))
        with m.If(clip & sign & ~from_state):
            m.d.sync += argument[:-1].eq(0)
        m.d.comb += [activation.t.eq(argument), activation.shift.eq(header.activation_shift),
                     activation.sigmoid_only.eq(forget)]

        # y for the gates, which take it a cycle later than it comes.
        waits = self.combine_cycle(Function.OUTPUT_GATE) - _RESCALED - 2
        raw = Signal(ACTIVATION_BITS, reset_less=True)
        raw_high, raw_low = Signal(reset_less=True), Signal(reset_less=True)
        y = Signal(signed(ACTIVATION_BITS), reset_less=True)
        m.d.sync += [raw.eq(Cat(wide[:magnitude_bits], sign)), raw_high.eq(clip & ~sign),
                     raw_low.eq(clip & sign), y.eq(raw | raw_high.replicate(magnitude_bits))]
        with m.If(raw_low):
            m.d.sync += y[:-1].eq(0)
        for wait in range(waits):
            later = Signal(signed(ACTIVATION_BITS), name=f"y_{wait}", reset_less=True)
            m.d.sync += later.eq(y)
            y = later

        # Take X, C - H, H.
        # Each choice is coded so that it takes one logic cell of four inputs per bit.
        def masked(value, when: Value) -> Value:
            return value & when.replicate(len(value))

        vector, states = self.vector_read_data, self.state_read_data
        forgets = ~(vector - 1)[:SIGMOID_FRACTION]  # -v is the complement of v - 1
        stores = done & recurrence
        if self.config.streams > 1:
            forgets, stores = masked(forgets, self.active), stores & self.active
        base, added = Signal(signed(VECTOR_BITS)), Signal(signed(VECTOR_BITS))
        other = Signal(ACTIVATION_BITS)
        x = Signal(signed(ACTIVATION_BITS), reset_less=True)
        kept = Signal(signed(STATE_BITS), reset_less=True)
        difference = Signal(signed(VECTOR_BITS + 1), reset_less=True)
        silu = Signal(signed(VECTOR_BITS))
        states_wide = Signal(signed(VECTOR_BITS))
        m.d.comb += [
            silu.eq(activation.silu), states_wide.eq(states),
            # C: 0, silu, the operand, or the bound's complement
            base.eq(Mux(base_code[1], vector ^ base_code[0].replicate(VECTOR_BITS),
                        masked(silu, base_code[0]))),
            # ~H, or what is added: 0, the state's complement, the rescaled row; one for FORGET
            added.eq(Mux(sum_only, wide, masked(~states_wide, state))
                     | forget << SIGMOID_FRACTION),
            other.eq(masked(activation.sigmoid, forget) | masked(y.as_unsigned(), gate)
                     | half << (SIGMOID_FRACTION - 1)),
        ]
        m.d.sync += [
            x.eq(Mux(recurrence, forgets, other)),
            kept.eq(masked(vector[:STATE_BITS], bound) | masked(states, state)),
            difference.eq(base + added + (bound | state)),
        ]

        # Product. A blend takes the difference without its last bit, which joins H.
        operand_x = Signal.like(x)
        operand_d = Signal(signed(ACTIVATION_BITS), reset_less=True)
        product = Signal(signed(_TOTAL_BITS), reset_less=True)
        addend = Signal(signed(_TOTAL_BITS), reset_less=True)
        addend_later = Signal(signed(_TOTAL_BITS), reset_less=True)
        total = Signal(signed(_TOTAL_BITS), reset_less=True)
        odd = masked(x[1:SIGMOID_FRACTION], difference[0])
        # Three equal sign bits, each written differently: Yosys moves the register behind them into
        # the block only if it is 32 bits wide.
        sign_h, sign_d = kept[-1] & blend, difference[-1] & sum_only
        signs = Cat(sign_h | sign_d, sign_h ^ sign_d, Mux(blend, kept[-1], sign_d))
        m.d.sync += [
            operand_x.eq(x),
            operand_d.eq(Mux(blend, difference[1:], difference)),
            product.eq(operand_x * operand_d),
            addend.eq(Cat(masked(Cat(odd, kept[:-1]), blend) | masked(
                Cat(difference[:-1], difference[-1].replicate(5)), sum_only), signs)),
            addend_later.eq(addend),
            total.eq(product + addend_later),
        ]
        m.submodules.round = round_ = RoundShift(_TOTAL_BITS, VECTOR_BITS, _SHIFT_BITS)
        shift = flag("shift", Mux(is_one(Function.OUTPUT_GATE, Function.MULTIPLY), header.shift,
                                  Mux(is_one(Function.RESIDUAL, Function.LOGITS), 0,
                                      SIGMOID_FRACTION - 1)))
        m.d.comb += [round_.value.eq(total), round_.shift.eq(shift)]

        # Write.
        m.d.comb += [
            self.retired.eq(done),
            self.saturated.gate.eq(done & gate & round_.saturated),
            self.saturated.residual.eq(done & residual & round_.saturated),
            self.vector_write.data.eq(round_.result), self.state_write.data.eq(round_.result),
            self.vector_write.enable.eq(done & to_vector),
            self.state_write.enable.eq(stores),
        ]
        if self.config.cores == 1:
            m.submodules.argmax = argmax = Argmax(self.config.acc_bits)
            m.d.comb += [
                argmax.clear.eq(self.start & is_one(Function.LOGITS) & ~header.continued),
                argmax.valid.eq(done & logits), argmax.value.eq(round_.result),
                self.token.eq(argmax.token),
            ]

        # Addresses.
        skipped = (self.config.cores - 1).bit_length()

        def counter(name: str, size: int, first: Value, advance: Value) -> Value:
            row = Signal((size - 1).bit_length() - skipped, name=name)
            m.d.sync += row.eq(Mux(self.start, first[skipped:], row + advance))
            return row if not skipped else Cat(C(0, skipped), row)

        depth = max(self.config.vector_depth, self.config.state_depth)
        state_address = Cat(header.state, header.state_high)
        first = Mux(is_one(Function.RECURRENCE), state_address, header.dst)
        write = counter("write_row", depth, first, done)
        m.d.comb += [
            self.vector_read_address.eq(counter("vector_row", self.config.vector_depth,
                                                header.operand, advance)),
            self.state_read_address.eq(counter("state_row", self.config.state_depth, state_address,
                                               Mux(from_state, self.row, advance))),
            self.vector_write.address.eq(write), self.state_write.address.eq(write),
        ]
        return m
