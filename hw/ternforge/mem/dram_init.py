"""Brings a memory chip into service without a processor: initialisation, levelling, test."""

from collections.abc import Sequence
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..config import CoreConfig
from ..host.protocol import MemoryState
from .linear import beat_write, linear_read
from .litedram import InitStep
from .pattern import Pattern, pattern

__all__ = ["DramInit", "init_control", "read_levels"]

#: Positions of a DDR3 PHY's read window: whole clocks, and eighths of one.
SLIPS, DELAYS = 4, 8
#: Cycles after a change of the delays until reads see it, and after a read until its burst is told.
SETTLE = 32


def init_control(address_bits: int, bank_bits: int) -> wiring.Signature:
    """The ports ``init_*`` of :class:`~.litedram.LiteDram`."""
    return wiring.Signature({"select": Out(1), "command": Out(3), "address": Out(address_bits),
                             "bank": Out(bank_bits), "reset_n": Out(1), "cke": Out(1),
                             "odt": Out(1)})


def read_levels(groups: int) -> wiring.Signature:
    """The ports ``level_*`` of :class:`~.litedram.LiteDram`: strobes count for what is selected."""
    return wiring.Signature({"select": Out(groups), "delay_reset": Out(1), "delay_step": Out(1),
                             "slip_reset": Out(1), "slip_step": Out(1), "burst_clear": Out(1),
                             "burst_seen": In(groups)})


class DramInit(wiring.Component):
    """Stands between a core and its memory adapter, and keeps the core away until all is well.

    After the steps of the chip's initialisation come, with DDR3, the delays of the reads: a pattern
    is written, read with each delay, and compared; each byte group gets the middle of the widest
    window in which its bytes are right and the PHY has seen the strobe. Then a walking one in each
    bit of a beat, and a beat of its own at each power of two of the addresses. Whatever fails, or
    does not answer for ``patience`` cycles, ends in ``FAILED``, which stays until a reset.

    Reads and writes pass without a cycle's delay once it is ready.

    Parameters
    ----------
    config : :class:`CoreConfig`
        Beat width and size of the memory, whose first beats are written.
    steps : sequence of :class:`~.litedram.InitStep`
        Initialisation of the chip.
    groups : int
        Byte groups to level; 0 for none.
    address_bits, bank_bits : int
        Of the chip.
    patience : int
        Cycles without an answer of the controller that are too many; a refresh takes hundreds.

    Members
    -------
    memory, write : :py:`In(linear_read(config))`, :py:`In(stream.Signature(beat_write(...)))`
        To the core.
    adapter, adapter_write : the same, out
        To the adapter.
    memory_state : :py:`Out(2)`
        A :class:`~ternforge.host.protocol.MemoryState`.
    control : :py:`Out(init_control(address_bits, bank_bits))`
        Commands to the chip; one per cycle that ``command`` is not zero.
    level : :py:`Out(read_levels(groups))`
        With groups: the PHY's delays.
    """

    memory: Any
    write: Any
    adapter: Any
    adapter_write: Any
    memory_state: Signal
    control: Any
    level: Any

    def __init__(self, config: CoreConfig, steps: Sequence[InitStep], *, groups: int = 0,
                 address_bits: int, bank_bits: int, patience: int = 1 << 16):
        if not steps:
            raise ValueError("DramInit steps must hold at least one step")
        self.config, self.steps, self.groups = config, tuple(steps), groups
        self.patience = patience
        writes = stream.Signature(beat_write(config.beat_bits))
        super().__init__({
            "memory": In(linear_read(config)), "write": In(writes), "memory_state": Out(2),
            "adapter": Out(linear_read(config)), "adapter_write": Out(writes),
            "control": Out(init_control(address_bits, bank_bits)),
            **({"level": Out(read_levels(groups))} if groups else {}),
        })

    def elaborate(self, platform):
        m = Module()
        own = Signal(init=1)  # the adapter is not the core's yet
        state = Signal(MemoryState, init=MemoryState.INITIALISING)
        m.d.comb += self.memory_state.eq(state)

        kind = Signal(Pattern)
        number = Signal(range(max(64, self.config.beat_bits) + 1))
        place, content, count = pattern(m, self.config, kind, number)
        requested, start, fill, compare = (Signal(name=name) for name in (
            "requested", "start", "fill", "compare"))
        errors = Signal(max(1, self.groups))
        patience, late = Signal(range(self.patience)), Signal()
        self._pass(m, own, place, content, count, kind, requested, fill, compare)
        taken = fill & self.adapter_write.ready
        came = compare & self.adapter.data.valid
        last = number == count - 1
        with m.If(start):
            m.d.sync += [number.eq(0), errors.eq(0), requested.eq(0)]
        with m.If(taken | came):
            m.d.sync += number.eq(number + 1)
        with m.If(compare & self.adapter.request.valid & self.adapter.request.ready):
            m.d.sync += requested.eq(1)
        with m.If(came):
            wrong = self.adapter.data.payload ^ content
            m.d.sync += errors.eq(errors | Cat(
                Cat(wrong[8 * k:8 * k + 8] for k in range(group, len(wrong) // 8, len(errors)))
                .any() for group in range(len(errors))))
            with m.If(kind == Pattern.ADDRESS):
                m.d.sync += requested.eq(0)
        m.d.comb += late.eq(patience == self.patience - 1)
        m.d.sync += patience.eq(Mux((fill | compare) & ~taken & ~came, patience + 1, 0))

        def run(name: str, flag: Signal, ended: Value, then: str):
            with m.State(name):
                m.d.comb += flag.eq(1)
                with m.If(ended & last):
                    m.next = then
                with m.Elif(late):
                    m.next = "FAILED"

        def test(which: Pattern, name: str, then: str):
            """Write a pattern, read it, go on if it is right."""
            with m.State(name):
                m.d.comb += start.eq(1)
                m.d.sync += kind.eq(which)
                m.next = f"{name}_FILL"
            run(f"{name}_FILL", fill, taken, f"{name}_AGAIN")
            with m.State(f"{name}_AGAIN"):
                m.d.comb += start.eq(1)
                m.next = f"{name}_COMPARE"
            run(f"{name}_COMPARE", compare, came, f"{name}_JUDGE")
            with m.State(f"{name}_JUDGE"):
                m.next = then
                with m.If(errors.any()):
                    m.next = "FAILED"

        with m.FSM():
            self._initialise(m, "LEVEL" if self.groups else "ONES")
            if self.groups:
                with m.State("LEVEL"):
                    m.d.comb += start.eq(1)
                    m.d.sync += kind.eq(Pattern.RANDOM)
                    m.next = "LEVEL_FILL"
                run("LEVEL_FILL", fill, taken, "CENTRE")
                self._level(m, start, errors, run, compare, came)
            test(Pattern.ONES, "ONES", "ADDRESSES")
            test(Pattern.ADDRESS, "ADDRESSES", "READY")
            with m.State("READY"):
                m.d.sync += [own.eq(0), state.eq(MemoryState.READY)]
            with m.State("FAILED"):
                m.d.sync += state.eq(MemoryState.FAILED)
        return m

    def _pass(self, m: Module, own, place, content, count, kind, requested, fill, compare) -> None:
        """Connect the adapter to the core, or to the test."""
        core, adapter = self.memory, self.adapter
        with m.If(own):
            m.d.comb += [
                # What the core asks for in vain is dropped when it says so.
                core.request.ready.eq(core.stop), core.idle.eq(1),
                adapter.request.valid.eq(compare & ~requested),
                adapter.request.p.address.eq(place),
                adapter.request.p.beats.eq(Mux(kind == Pattern.ADDRESS, 1, count)),
                adapter.data.ready.eq(1),
                self.adapter_write.valid.eq(fill), self.adapter_write.p.address.eq(place),
                self.adapter_write.p.data.eq(content),
            ]
        with m.Else():
            m.d.comb += [
                adapter.request.valid.eq(core.request.valid),
                adapter.request.payload.eq(core.request.payload),
                core.request.ready.eq(adapter.request.ready),
                core.data.valid.eq(adapter.data.valid), adapter.data.ready.eq(core.data.ready),
                adapter.stop.eq(core.stop), core.idle.eq(adapter.idle),
                self.adapter_write.valid.eq(self.write.valid),
                self.adapter_write.payload.eq(self.write.payload),
                self.write.ready.eq(self.adapter_write.ready),
            ]
        m.d.comb += core.data.payload.eq(adapter.data.payload)

    def _initialise(self, m: Module, then: str) -> None:
        """The chip's own steps."""
        control = self.control
        step = Signal(range(len(self.steps)))
        wait = Signal(range(max(step.wait for step in self.steps) + 1))
        released, enabled = Signal(), Signal()
        m.d.comb += [control.reset_n.eq(released), control.cke.eq(enabled),
                     control.odt.eq(released)]
        select = Signal(init=1)
        m.d.comb += control.select.eq(select)
        with m.State("STEP"):
            with m.Switch(step):
                for index, one in enumerate(self.steps):
                    with m.Case(index):
                        m.d.comb += [control.command.eq(one.command), control.bank.eq(one.bank),
                                     control.address.eq(one.address)]
                        m.d.sync += [released.eq(one.reset_n), enabled.eq(one.cke),
                                     wait.eq(one.wait)]
            m.next = "WAIT"
        with m.State("WAIT"):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.sync += step.eq(step + 1)
                m.next = "STEP"
                with m.If(step == len(self.steps) - 1):
                    m.d.sync += select.eq(0)
                    m.next = then

    def _level(self, m: Module, start, errors, run, compare, came) -> None:
        """Try all positions of the read window, then set each group to the middle of its own."""
        level, groups = self.level, self.groups
        slip, delay = Signal(range(SLIPS)), Signal(range(DELAYS))
        settle = Signal(range(SETTLE))
        length, best, end, best_slip = ([Signal(range(DELAYS + 1), name=f"{name}_{k}")
                                         for k in range(groups)]
                                        for name in ("length", "best", "end", "best_slip"))

        def pause(name: str, then: str):
            """Wait until what was set has come through."""
            with m.State(name):
                m.d.sync += settle.eq(settle + 1)
                with m.If(settle == SETTLE - 1):
                    m.next = then

        with m.State("CENTRE"):
            m.d.comb += [level.select.eq(~0), level.delay_reset.eq(1), level.slip_reset.eq(1)]
            m.next = "CLEAR"
        pause("CLEAR", "CLEARED")
        with m.State("CLEARED"):
            m.d.comb += [start.eq(1), level.burst_clear.eq(1)]
            m.next = "READ"
        run("READ", compare, came, "SEE")
        pause("SEE", "JUDGE")
        with m.State("JUDGE"):
            for k in range(groups):
                with m.If(~errors[k] & level.burst_seen[k]):
                    m.d.sync += length[k].eq(length[k] + 1)
                    with m.If(length[k] + 1 > best[k]):
                        m.d.sync += [best[k].eq(length[k] + 1), end[k].eq(delay),
                                     best_slip[k].eq(slip)]
                with m.Else():
                    m.d.sync += length[k].eq(0)
            m.next = "NEXT"
        group, steps = Signal(range(groups + 1)), Signal(range(DELAYS + 1))
        with m.State("NEXT"):  # both wrap: after the last, they are where they began
            m.d.comb += [level.select.eq(~0), level.delay_step.eq(1)]
            m.d.sync += delay.eq(delay + 1)
            m.next = "CLEAR"
            with m.If(delay == DELAYS - 1):
                m.d.comb += level.slip_step.eq(1)
                m.d.sync += [length[k].eq(0) for k in range(groups)]
                m.d.sync += slip.eq(slip + 1)
                with m.If(slip == SLIPS - 1):
                    m.d.sync += group.eq(0)
                    m.next = "GROUP"
        with m.State("GROUP"):
            with m.Switch(group):
                for k in range(groups):
                    with m.Case(k):
                        m.d.sync += steps.eq(end[k] - ((best[k] - 1) >> 1))
                        with m.If(best[k] == 0):
                            m.next = "FAILED"
                        with m.Else():
                            m.next = "DELAY"
                with m.Default():
                    m.next = "DONE"
        with m.State("DELAY"):
            m.d.comb += [level.select.eq(1 << group), level.delay_step.eq(steps.any())]
            m.d.sync += steps.eq(steps - 1)
            with m.If(~steps.any()):
                with m.Switch(group):
                    for k in range(groups):
                        with m.Case(k):
                            m.d.sync += steps.eq(best_slip[k])
                m.next = "SLIP"
        with m.State("SLIP"):
            m.d.comb += [level.select.eq(1 << group), level.slip_step.eq(steps.any())]
            m.d.sync += steps.eq(steps - 1)
            with m.If(~steps.any()):
                m.d.sync += group.eq(group + 1)
                m.next = "GROUP"
        pause("DONE", "ONES")
