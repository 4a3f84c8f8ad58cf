"""Initialisation of memory chips: the commands, the middle of the read windows, what is refused."""

from dataclasses import replace

import pytest

from ternforge.config import CoreConfig
from ternforge.host.protocol import MemoryState
from ternforge.mem.dram_init import DramInit
from ternforge.mem.litedram import InitStep
from ternforge_sim.bench import get, put, simulate

CONFIG = CoreConfig(lanes=4, memory_beats=1 << 12, bank_beats=0)
STEPS = (InitStep("release", 0, 0, 0, 1, 0, 9), InitStep("enable", 0, 0, 0, 1, 1, 5),
         InitStep("precharge", 5, 0x400, 0, 1, 1, 3), InitStep("mode", 7, 0x31, 2, 1, 1, 7))
GROUPS = 2


class Chip:
    """A memory of beats behind the adapter's side, whose reads are right only where a window says.

    ``windows`` holds slips with first and last delay for each byte group; ``stuck`` a bit that
    reads as 0, ``blind`` a bit of the address that has no effect, ``silent`` a number of reads
    after which none is answered.
    """

    def __init__(self, dut, windows=(), *, stuck=None, blind=None, silent=None, bursts=True):
        self.dut, self.windows, self.stuck, self.blind = dut, windows, stuck, blind
        self.silent, self.bursts = silent, bursts
        self.beats: dict[int, int] = {}
        self.slips, self.delays = [3] * GROUPS, [5] * GROUPS  # what they are after power-up
        self.commands: list[tuple] = []

    def place(self, address: int) -> int:
        return address & ~(1 << self.blind) if self.blind is not None else address

    def read(self, address: int) -> int:
        beat = self.beats.get(self.place(address), 0)
        if self.stuck is not None:
            beat &= ~(1 << self.stuck)
        for group in range(len(self.windows)):
            if not self.inside(group):
                for byte in range(group, CONFIG.lanes, GROUPS):
                    beat ^= 1 << 8 * byte
        return beat

    def inside(self, group: int) -> bool:
        return any(self.slips[group] == slip and first <= self.delays[group] <= last
                   for slip, first, last in self.windows[group])

    async def memory(self, ctx):
        port, write = self.dut.adapter, self.dut.adapter_write
        due: list[int] = []
        pause = served = 0
        ctx.set(write.ready, 0)
        ctx.set(port.request.ready, 1)
        async for _, _, asks, request, writes, ready, beat in ctx.tick().sample(
                port.request.valid, port.request.payload, write.valid, write.ready,
                write.payload):
            if writes and ready:
                self.beats[self.place(beat.address)] = beat.data
            ctx.set(write.ready, int(writes and not ready))
            if asks and (self.silent is None or served < self.silent):
                due += range(request.address, request.address + request.beats)
                served += 1
            pause = (pause + 1) % 3
            ctx.set(port.data.valid, int(bool(due) and not pause))
            if due and not pause:
                ctx.set(port.data.payload, self.read(due.pop(0)))

    async def levels(self, ctx):
        level = self.dut.level
        seen = 0
        async for _, _, select, *strobes in ctx.tick().sample(
                level.select, level.delay_reset, level.delay_step, level.slip_reset,
                level.slip_step, level.burst_clear):
            delay_reset, delay_step, slip_reset, slip_step, clear = strobes
            for group in range(GROUPS):
                if select >> group & 1:
                    if delay_reset:
                        self.delays[group] = 0
                    elif delay_step:
                        self.delays[group] = (self.delays[group] + 1) % 8
                    if slip_reset:
                        self.slips[group] = 0
                    elif slip_step:
                        self.slips[group] = (self.slips[group] + 1) % 4
            seen = 0 if clear else seen
            if self.bursts:
                seen |= sum(self.inside(group) << group for group in range(GROUPS))
            ctx.set(level.burst_seen, seen)

    async def control(self, ctx):
        control, cycle = self.dut.control, 0
        async for _, _, select, command, address, bank, reset_n, cke in ctx.tick().sample(
                control.select, control.command, control.address, control.bank, control.reset_n,
                control.cke):
            if command:
                self.commands.append((cycle, select, command, address, bank, reset_n, cke))
            cycle += 1


def made(groups: int = 0, patience: int = 2000) -> DramInit:
    return DramInit(CONFIG, STEPS, groups=groups, address_bits=13, bank_bits=2, patience=patience)


def state_of(chip: Chip, levels: bool = False) -> MemoryState:
    """The state that the initialisation ends in."""
    dut, states = chip.dut, []

    async def bench(ctx):
        await ctx.tick().until(dut.memory_state != MemoryState.INITIALISING.value)
        await ctx.tick().repeat(100)
        states.append(ctx.get(dut.memory_state))

    simulate(dut, bench, processes=[chip.memory, chip.control, *([chip.levels] if levels else [])])
    return MemoryState(states[0])


def test_steps_are_played_in_order_with_their_waits():
    chip = Chip(made())
    assert state_of(chip) == MemoryState.READY
    assert [command[1:] for command in chip.commands] == [
        (1, 5, 0x400, 0, 1, 1), (1, 7, 0x31, 2, 1, 1)]
    first, second = (command[0] for command in chip.commands)
    assert first >= 9 + 5
    assert second - first >= 3


@pytest.mark.parametrize("windows", [
    ((1, 2, 6), (2, 3, 5)), ((0, 0, 0), (3, 7, 7)), ((3, 0, 7), (0, 1, 2)),
], ids=["wide", "narrow", "ends"])
def test_each_group_reads_in_the_middle_of_its_window(windows):
    chip = Chip(made(GROUPS), [[window] for window in windows])
    assert state_of(chip, levels=True) == MemoryState.READY
    for group, (slip, first, last) in enumerate(windows):
        assert chip.slips[group] == slip
        assert abs(chip.delays[group] - (first + last) / 2) <= 0.5


def test_windows_of_neighbouring_slips_are_two():
    chip = Chip(made(GROUPS), [[(1, 6, 7), (2, 0, 2)], [(0, 3, 7), (1, 0, 1)]])
    assert state_of(chip, levels=True) == MemoryState.READY
    assert (chip.slips, chip.delays) == ([2, 0], [1, 5])


def test_a_group_without_a_window_fails():
    assert state_of(Chip(made(GROUPS), [[(1, 2, 6)], []]), levels=True) == MemoryState.FAILED


def test_reads_whose_strobe_was_not_seen_do_not_count():
    chip = Chip(made(GROUPS), [[(1, 2, 6)], [(2, 3, 5)]], bursts=False)
    assert state_of(chip, levels=True) == MemoryState.FAILED


@pytest.mark.parametrize("bit", [0, 17, 31])
def test_a_bit_that_is_stuck_fails(bit):
    assert state_of(Chip(made(), stuck=bit)) == MemoryState.FAILED


@pytest.mark.parametrize("bit", [0, 5, 11])
def test_an_address_bit_without_effect_fails(bit):
    assert state_of(Chip(made(), blind=bit)) == MemoryState.FAILED


def test_an_address_bit_beyond_the_memory_is_not_tested():
    assert state_of(Chip(made(), blind=12)) == MemoryState.READY


@pytest.mark.parametrize("answers", [0, 1, 5])
def test_a_controller_that_does_not_answer_fails(answers):
    assert state_of(Chip(made(), silent=answers)) == MemoryState.FAILED


def test_the_core_waits_until_it_is_ready():
    dut, seen, received = made(), [], []
    chip = Chip(dut)

    async def core(ctx):
        ctx.set(dut.memory.request.p, {"address": 8, "beats": 3})
        ctx.set(dut.memory.request.valid, 1)
        while ctx.get(dut.memory_state):
            *_, ready, valid, taken = await ctx.tick().sample(
                dut.memory.request.ready, dut.memory.data.valid, dut.write.ready)
            seen.append((ready, valid, taken))
        await ctx.tick().until(dut.memory.request.ready)
        ctx.set(dut.memory.request.valid, 0)
        received.append(await get(ctx, dut.memory.data, 3))
        await put(ctx, dut.write, [{"address": 9, "data": 0x1234}])

    simulate(dut, core, processes=[chip.memory])
    assert set(seen[:-1]) == {(0, 0, 0)}
    assert received == [[chip.beats[8], 1 << 9, 1 << 10]]
    assert chip.beats[9] == 0x1234


def test_what_waits_in_vain_can_be_stopped():
    dut, taken = made(patience=50), []
    chip = Chip(dut, silent=0)

    async def core(ctx):
        await ctx.tick().until(dut.memory_state == MemoryState.FAILED.value)
        ctx.set(dut.memory.request.valid, 1)
        ctx.set(dut.memory.stop, 1)
        *_, ready, idle = await ctx.tick().sample(dut.memory.request.ready, dut.memory.idle)
        taken.append((ready, idle))

    simulate(dut, core, processes=[chip.memory])
    assert taken == [(1, 1)]


def test_no_steps_is_an_error():
    with pytest.raises(ValueError, match=r"^DramInit steps must hold at least one step$"):
        DramInit(replace(CONFIG, lanes=8), [], address_bits=13, bank_bits=2)
