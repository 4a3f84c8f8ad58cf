"""The core behind AXI4-Lite registers: queues of steps and results, events, an interrupt."""

from typing import Any

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.config import CoreConfig
from ternforge.core.core import SITES, status_signature, step_layout
from ternforge.host.axilite import AxiLiteSlave, axi4_lite
from ternforge.host.registers import ADDRESS_BITS, REGISTERS, Register, constants, register
from ternforge.mem.axi4 import PAGE, Axi4Config
from ternforge.numerics import VECTOR_BITS

__all__ = ["Control"]

_STEP = data.StructLayout({"token": 16, "reset": 1, "quiet": 1})
_RESULT = data.StructLayout({"token": 16, "failed": 1})


def _word(name: str, **values: Value) -> Value:
    """A register with these values in its fields."""
    parts, end = [], 0
    for field in register(name).fields:
        value = Value.cast(values.pop(field.name)).as_unsigned()
        parts += [C(0, field.low - end), (value | C(0, field.bits))[:field.bits]]
        end = field.low + field.bits
    assert not values
    return Cat(*parts)


class Control(wiring.Component):
    """Carries out what a host writes to the registers (``docs/integration.md``).

    Steps are queued, and so are results: the core waits for the host only when the one is empty
    or the other is full. A step that is not quiet has one result, whatever becomes of it; of steps
    that still wait when one fails, none. After a fault or a bus error no step is taken until the
    host has cleared the event.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        Size of the core, with one stream.
    axi : :class:`~ternforge.mem.axi4.Axi4Config`
        Port of the image memory; the host reads its size.
    queue : int
        Places of each queue, 1 to 255.

    Raises
    ------
    ValueError
        If the core has several streams, or a size does not fit its register.

    Members
    -------
    bus : :py:`Out(axi4_lite(ADDRESS_BITS))`
        To the host.
    irq : :py:`Out(1)`
        High while an event has come that is enabled.
    tokens : :py:`Out(stream.Signature(step_layout()))`
        Steps for the core. ``status.busy`` must be high from the cycle after a transfer until
        a result was taken or ``status.fault`` is set.
    result : :py:`In(stream.Signature(16))`
        Token that a step predicts.
    peek_address : :py:`Out(16)`
        Element of the vector RAM; meaningful only while no step is under way.
    peek_data : :py:`In(signed(24))`
        Its value, at most two cycles later.
    status : :py:`In(status_signature())`
        Flags and counters of the core.
    base : :py:`Out(axi.address_bits)`
        Address of the image.
    failed, response
        From the memory adapter, see :class:`~ternforge.mem.axi4.Axi4Read`.
    memory_idle : :py:`In(1)`
        No read is under way.
    clear : :py:`Out(1)`
        Reset the core, and drop its reads: after a bus error, and to abort; until ``memory_idle``.
    """

    bus: Any
    irq: Signal
    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Signal
    status: Any  # interface of status_signature()
    base: Signal
    failed: Signal
    response: Signal
    memory_idle: Signal
    clear: Signal

    def __init__(self, config: CoreConfig, axi: Axi4Config, queue: int = 64):
        if config.streams > 1:
            raise ValueError(f"Control config must have one stream, not {config.streams}")
        if queue not in range(1, 256):
            raise ValueError(f"Control queue must be 1 to 255, not {queue!r}")
        self.config, self.axi, self.queue = config, axi, queue
        self._constants = constants(config, axi, queue)
        super().__init__({
            "bus": Out(axi4_lite(ADDRESS_BITS)), "irq": Out(1),
            "tokens": Out(stream.Signature(step_layout())), "result": In(stream.Signature(16)),
            "peek_address": Out(16), "peek_data": In(signed(VECTOR_BITS)),
            "status": In(status_signature()), "base": Out(axi.address_bits),
            "failed": In(1), "response": In(2), "memory_idle": In(1), "clear": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave(ADDRESS_BITS)
        connect(m, flipped(self.bus), slave.bus)

        # Queues of steps and results; what is not wanted any more goes with `drop`.
        drop = Signal()
        m.submodules.steps = steps = ResetInserter(drop)(
            fifo.SyncFIFO(width=_STEP.size, depth=self.queue))
        m.submodules.results = results = fifo.SyncFIFO(width=_RESULT.size, depth=self.queue)

        events, enabled = Signal(4), Signal(4)  # in the order of their register
        event = {field.name: events[field.low] for field in register("EVENTS").fields}
        halted, busy, was_busy = Signal(), Signal(), Signal()
        abort, aborting = Signal(), Signal()
        begin = Signal(init=1)  # the next step begins a sequence
        left, known, prediction = Signal(16), Signal(), Signal(16)
        m.d.comb += [
            halted.eq(event["fault"] | event["bus_error"]),
            self.clear.eq(self.failed | aborting),
        ]
        with m.If(self.memory_idle):
            m.d.sync += aborting.eq(0)
        with m.If(abort):
            m.d.sync += aborting.eq(1)
        running, faulted = self._steps(m, steps, results, begin, left, known, prediction, halted)
        m.d.comb += [
            drop.eq(self.clear | faulted),
            busy.eq(running | steps.r_rdy | (known & left.any()) | self.clear),
        ]
        self._writes(m, slave, steps, {
            "halted": halted | faulted, "busy": busy, "events": events, "enabled": enabled,
            "abort": abort, "begin": begin, "left": left})

        # What happens counts more than what is written in the same cycle.
        m.d.sync += [self.irq.eq((events & enabled).any()), was_busy.eq(busy),
                     event["result"].eq(results.r_rdy)]
        for name, happens in (("fault", faulted), ("bus_error", self.failed),
                              ("done", was_busy & ~busy)):
            with m.If(happens):
                m.d.sync += event[name].eq(1)
        with m.If(self.clear | faulted):
            m.d.sync += left.eq(0)
        with m.If(self.clear):
            m.d.sync += [begin.eq(1), known.eq(0)]

        status = _word("STATUS", busy=busy, fault=event["fault"], bus_error=event["bus_error"],
                       response=self.response, room=self.queue - steps.level,
                       results=results.level)
        self._reads(m, slave, results, busy, {
            "STATUS": status, "GENERATE": left, "CYCLES": self.status.cycles,
            **{f"SATURATED_{site.upper()}": self.status.saturations[number]
               for number, site in enumerate(SITES)},
            "RATIO": _word("RATIO", mantissa=self.status.ratio.mantissa,
                           exponent=self.status.ratio.exponent),
            "EVENTS": events, "INTERRUPT": enabled})
        return m

    def _steps(self, m: Module, steps: Any, results: Any, begin: Signal, left: Signal,
               known: Signal, prediction: Signal, halted: Value) -> tuple[Value, Value]:
        """Feed the core and keep its results.

        Returns whether a step is under way, and a strobe when the core has refused one.
        """
        step, outcome = Signal(_STEP), Signal(_RESULT)
        faulted = Signal()
        forced = Signal()  # `begin` held for this step: it does so for the next one if this is none
        m.d.comb += [
            self.tokens.p.token.eq(step.token), self.tokens.p.reset.eq(step.reset | begin),
            results.w_data.eq(outcome),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(~self.clear & ~halted):
                    with m.If(steps.r_rdy):
                        m.d.comb += steps.r_en.eq(1)
                        m.d.sync += step.eq(steps.r_data)
                        m.next = "FEED"
                    with m.Elif(known & left.any()):
                        m.d.sync += [step.token.eq(prediction), step.reset.eq(0), step.quiet.eq(0),
                                     left.eq(left - 1)]
                        m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += self.tokens.valid.eq(~self.clear)
                with m.If(self.clear):
                    m.next = "FAILED"
                with m.Elif(self.tokens.ready):
                    m.d.sync += [begin.eq(0), forced.eq(begin)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.comb += outcome.token.eq(self.result.payload)
                with m.If(self.clear):
                    m.next = "FAILED"
                with m.Elif(self.result.valid):
                    m.d.comb += [results.w_en.eq(~step.quiet),
                                 self.result.ready.eq(results.w_rdy | step.quiet)]
                    with m.If(self.result.ready):
                        m.d.sync += [prediction.eq(self.result.payload), known.eq(1)]
                        m.next = "IDLE"
                with m.Elif(self.status.fault & ~self.status.busy):
                    m.d.comb += faulted.eq(1)
                    with m.If(forced):
                        m.d.sync += begin.eq(1)
                    m.next = "FAILED"
            with m.State("FAILED"):
                m.d.comb += [outcome.failed.eq(1), results.w_en.eq(~step.quiet)]
                with m.If(results.w_rdy | step.quiet):
                    m.next = "IDLE"
        return ~fsm.ongoing("IDLE"), faulted

    def _writes(self, m: Module, slave: AxiLiteSlave, steps: Any, at: dict[str, Signal]) -> None:
        """What the host writes. Bytes that are not meant are 0, or stay as they are."""
        busy, halted = at["busy"], at["halted"]
        meant = Cat(byte.replicate(8) for byte in slave.write_bytes)
        word = slave.write_data & meant
        field = {(entry.name, part.name): word[part.low:part.low + part.bits]
                 for entry in REGISTERS for part in entry.fields}
        accepted = Signal()
        m.d.comb += [slave.write_refused.eq(~accepted),
                     steps.w_data.eq(Cat(field["TOKEN", name] for name in _STEP.members))]

        def on(name: str):
            return m.Case(register(name).offset >> 2)

        def keep(target: Value, low: int, bits: int):
            """A register: only the bytes that are meant change."""
            new = (target << low) & ~meant | word
            m.d.sync += target.eq(new[low:low + bits])

        with m.If(slave.write), m.Switch(slave.write_index):
            with on("CONTROL"):
                m.d.comb += [accepted.eq(1), at["abort"].eq(field["CONTROL", "abort"])]
                with m.If(field["CONTROL", "reset"]):
                    m.d.sync += at["begin"].eq(1)
            with on("TOKEN"):
                m.d.comb += [accepted.eq(steps.w_rdy & ~halted & ~self.clear),
                             steps.w_en.eq(accepted & slave.write_bytes.any())]
            with on("GENERATE"):
                count = field["GENERATE", "value"]
                m.d.comb += accepted.eq(~(count.any() & (halted | self.clear)))
                with m.If(accepted & slave.write_bytes.any()):
                    m.d.sync += at["left"].eq(count)
            bits = self.axi.address_bits
            page = PAGE.bit_length() - 1
            with on("BASE_LOW"):
                m.d.comb += accepted.eq(~busy)
                with m.If(accepted):
                    keep(self.base[page:32], page, 32 - page)
            with on("BASE_HIGH"):
                m.d.comb += accepted.eq(~busy)
                if bits > 32:
                    with m.If(accepted):
                        keep(self.base[32:], 0, bits - 32)
            with on("PEEK_ADDRESS"):
                m.d.comb += accepted.eq(1)
                keep(self.peek_address, 0, 16)
            with on("EVENTS"):
                m.d.comb += accepted.eq(1)
                for name in ("fault", "bus_error", "done"):
                    with m.If(field["EVENTS", name]):
                        m.d.sync += at["events"][register("EVENTS").field(name).low].eq(0)
            with on("INTERRUPT"):
                m.d.comb += accepted.eq(1)
                keep(at["enabled"], 0, 4)

    def _reads(self, m: Module, slave: AxiLiteSlave, results: Any, busy: Value,
               values: dict[str, Value]) -> None:
        """What the host reads."""
        found = data.View(_RESULT, results.r_data)
        result = Mux(results.r_rdy,
                     _word("RESULT", token=found.token, failed=found.failed, valid=C(1)), 0)
        element = Cat(self.peek_data, self.peek_data[-1].replicate(32 - VECTOR_BITS))
        values = {**{name: C(value, 32) for name, value in self._constants.items()}, **values,
                  "RESULT": result, "BASE_LOW": self.base[:32], "BASE_HIGH": self.base[32:],
                  "PEEK_ADDRESS": self.peek_address, "PEEK_DATA": element}

        def readable(entry: Register) -> bool:
            return entry.access != "wo"

        assert {entry.name for entry in REGISTERS if readable(entry)} == set(values)
        with m.Switch(slave.read_index):
            for entry in filter(readable, REGISTERS):
                with m.Case(entry.offset >> 2):
                    m.d.comb += slave.read_data.eq(values[entry.name])
                    if entry.name == "PEEK_DATA":
                        m.d.comb += slave.read_refused.eq(busy)
                        with m.If(slave.read & ~busy):
                            m.d.sync += self.peek_address.eq(self.peek_address + 1)
                    if entry.name == "RESULT":
                        m.d.comb += results.r_en.eq(slave.read)
            with m.Default():
                m.d.comb += slave.read_refused.eq(1)
