"""Sequencer: packets in order, while stream, constants and units stall independently."""

import random
from dataclasses import dataclass, field

import cocotb

from ternforge.isa import Opcode, SumOf, encode

from .bus import Unit

__all__ = ["packets_run_in_order"]


@dataclass
class Packet:
    """A header, and as many beats as follow it."""

    op: Opcode
    header: int
    beats: list[int] = field(default_factory=list)
    rows: int = 0
    tiles: int = 0
    scaled: bool = False


def packets(beat_bits: int, rng: random.Random) -> list[Packet]:
    """A token's worth: every kind, the smallest matrices, several tiles, END."""
    def some(count: int) -> list[int]:
        return [rng.getrandbits(beat_bits) for _ in range(count)]

    result = [Packet(Opcode.LOAD, encode(Opcode.LOAD, wide=1, shift=15, count=65535, dst=65535),
                     some(3))]
    for tiles, rows, scaled in ((1, 8, 1), (1, 1, 0), (3, 8, 1), (2, 9, 0), (4, 12, 1)):
        result.append(Packet(
            Opcode.QUANTISE, encode(Opcode.QUANTISE, sum_of=SumOf.INPUT.value, codes=1, shift=63,
                                    square_shift=rng.randrange(16), tiles=tiles, count=77,
                                    src=rng.randrange(1 << 16), dst=rng.randrange(1 << 16)),
            some(rng.randint(1, 4))))
        result.append(Packet(
            Opcode.MATVEC, encode(Opcode.MATVEC, function=rng.randrange(7), scaled=scaled,
                                  tiles=tiles, rows=rows, operand=rng.randrange(1 << 16),
                                  state=rng.randrange(1 << 16), dst=rng.randrange(1 << 16),
                                  scale_mantissa=0xFFFF, scale_exponent=255),
            some(rows * tiles), rows, tiles, bool(scaled)))
    return [*result, Packet(Opcode.END, encode(Opcode.END))]


class Surroundings:
    """The units around a sequencer, played; they note what they were told.

    Parameters
    ----------
    unit : Unit
        The sequencer.
    jobs : list of Packet
        What it is to run.
    slow : int
        Most cycles that a unit takes for anything.
    """

    def __init__(self, unit: Unit, jobs: list[Packet], slow: int, rng: random.Random):
        self.unit, self.jobs, self.slow, self.rng = unit, jobs, slow, rng
        self.started: list[tuple[Opcode, int, int]] = []  # kind, header, number
        self.constants: list[list[int]] = []
        self.weights: list[tuple[int, int, int, int]] = []
        self.releases = self.scales = 0
        self.finished = False

    def _some(self) -> int:
        return self.rng.randint(0, self.slow)

    async def run(self, cycles: int) -> None:
        """Until ``done``."""
        unit, due, wait, outstanding = self.unit, 0, 0, 0
        tile_wait = scale_wait = ratio_wait = streaming = 0
        scale_valid = 0
        for _ in range(cycles):
            ready = due > 0 and wait == 0
            tile_ready, ratio_valid = int(tile_wait == 0), int(ratio_wait == 0)
            scale_wait -= scale_wait > 0
            if scale_wait == 1:
                scale_valid = 1
            retire = bool(outstanding) and self._some() == 0
            busy = due > 0 or streaming > 0
            unit.set(constants_ready=ready, quantise_busy=busy,
                     quantise_streaming=due == 0 and streaming > 0,
                     tile_ready=tile_ready, ratio_valid=ratio_valid, scale_valid=scale_valid,
                     retired=retire)
            *starts, header, number, valid, beat, weighs, weight, release, scale, done = (
                await unit.tick("quantise_start", "matvec_start", "header",
                                "packet", "constants_valid", "constants_payload",
                                "weights_valid", "weights_payload", "tile_release", "scale_start",
                                "done"))
            wait -= wait > 0
            tile_wait -= tile_wait > 0
            ratio_wait -= ratio_wait > 0
            outstanding -= retire
            streaming -= streaming > 0 and due == 0
            if any(starts):
                assert not due
                assert not outstanding
                assert sum(starts) == 1
                kind = self.jobs[len(self.started)].op
                assert starts == [kind is not Opcode.MATVEC, kind is Opcode.MATVEC]
                self.started.append((kind, header, number))
                if kind is not Opcode.MATVEC:
                    assert not streaming
                    streaming = self._some() * 4
                    due = len(self.jobs[len(self.started) - 1].beats)
                    wait = self._some()
                    self.constants.append([])
                    ratio_wait = self._some() * 3
                scale_valid = 0
            if valid and ready:
                self.constants[-1].append(beat)
                due, wait = due - 1, self._some()
            assert not (weighs and not tile_ready)
            if release:
                assert weighs
                self.releases += 1
                tile_wait = 1 + self._some()
            if scale:
                assert ratio_valid
                self.scales += 1
                scale_wait = 2 + self._some()
            if weighs:
                job = self.jobs[len(self.started) - 1]
                assert scale_valid or not (job.scaled and weight.last)
                assert not (busy and weight.last)
                self.weights.append((weight.data, weight.first, weight.last, weight.end))
                outstanding += weight.last
            if done:
                assert not outstanding
                self.finished = True
                return


@cocotb.test()
@cocotb.parametrize(name=["two", "forty"], idle=[0, 4], slow=[0, 5])
async def packets_run_in_order(dut, name: str, idle: int, slow: int):
    """Two tokens; between them the stream stands still."""
    unit, rng = Unit(dut, "sequencer", name), random.Random(idle * 10 + slow)
    core = unit.component.config
    await unit.reset(dut)
    mask = (1 << core.beat_bits) - 1
    for _ in range(2):
        jobs = packets(core.beat_bits, rng)
        stream = [beat for job in jobs for beat in (
            *(job.header >> core.beat_bits * k & mask for k in range(core.header_beats)),
            *job.beats)]
        feed = cocotb.start_soon(unit.put("i", stream, lambda: rng.randint(0, idle)))
        for _ in range(5):  # nothing is taken before `run`
            assert not await unit.tick("i_ready")
        unit.set(run=1)
        await unit.tick()
        unit.set(run=0)
        around = Surroundings(unit, jobs, slow, rng)
        await around.run(5000)
        assert around.finished
        assert feed.done()
        assert around.started == [(job.op, job.header, number)
                                  for number, job in enumerate(jobs[:-1])]
        assert around.constants == [job.beats for job in jobs if job.op in (
            Opcode.LOAD, Opcode.QUANTISE)]
        matrices = [job for job in jobs if job.op is Opcode.MATVEC]
        assert around.weights == [
            (job.beats[tile * job.rows + row], tile == 0, tile == job.tiles - 1,
             row == job.rows - 1)
            for job in matrices for tile in range(job.tiles) for row in range(job.rows)]
        assert around.releases == sum(job.tiles for job in matrices)
        assert around.scales == sum(job.scaled for job in matrices)
