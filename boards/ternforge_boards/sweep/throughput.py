"""Speed of a point, from cycles that are simulated or follow from the analytic model."""

import json

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge.mem.litedram import DramConfig
from ternforge.output import to_json, write_text
from ternforge_boards.board import Board
from ternforge_boards.report.schema import CauseCycles, Evidence, Throughput
from ternforge_boards.report.value import Status, Value
from ternforge_firmware.cycles import token_cycles
from ternforge_firmware.footprint import footprint
from ternforge_firmware.image import Image
from ternforge_sim.dram import DramMemoryModel, build_dram_simulator
from ternforge_sim.runner import build_simulator, generator_key
from ternforge_sim.simulate import simulate

from .models import packets_of, program_of

__all__ = ["bytes_per_cycle", "modelled", "simulated"]

#: Tokens simulated.
STEPS = 4


def bytes_per_cycle(board: Board, core: CoreConfig) -> float:
    """What the image memory gives in a cycle of the core at most, if the core takes it all."""
    pins = board.memory.dram.bytes_per_cycle if board.memory else core.lanes
    return min(core.lanes, pins)


def modelled(board: Board, model: str, core: CoreConfig, core_mhz: float,
             ) -> tuple[Throughput, Evidence]:
    """Throughput from the analytic model of a pass, in which each stream takes a token.

    A memory beside the FPGA gives its peak rate at most; refresh is left out.
    """
    counts = token_cycles(packets_of(model, core), core).sum(axis=0)
    causes = {cause.name.lower(): float(counts[cause.value])
              for cause in Cause.__members__.values()}
    total = sum(causes.values())
    if board.memory is not None:
        read = footprint(program_of(model), core).stream_bytes
        causes["memory"] += max(0.0, read / bytes_per_cycle(board, core) - total)
    source = "analytic model of the core's units"
    if board.memory is not None:
        source += ", memory at its peak rate without refresh"
    return (_throughput(board, model, core, core_mhz, causes, Status.ESTIMATED, source),
            Evidence(checked_tokens=0, bit_exact=False, of="nothing ran: cycles are estimated"))


def simulated(board: Board, model: str, core: CoreConfig, core_mhz: float, image: Image,
              dram: DramConfig | None) -> tuple[Throughput, Evidence]:
    """Throughput from a few tokens of the Verilated core, compared write by write; cached."""
    def fill(folder) -> None:
        library = build_simulator(core) if dram is None else build_dram_simulator(core, dram)
        run = simulate(library, core, image, list(range(min(STEPS, image.vocab_size))), 1,
                       memory=dram and DramMemoryModel(dram=dram))
        tokens = run.fed_tokens
        write_text(folder / "run.json", to_json({
            "causes": {cause: count / tokens for cause, count in run.causes.items()},
            "tokens": tokens, "checked": run.checked_tokens, "bit_exact": run.bit_exact}))

    key = content_key("sweep", repr(core), repr(dram), image.model_hash, generator_key())
    found = json.loads((cached("cycles", key, fill) / "run.json").read_text())
    what = f"{found['tokens']} tokens of the Verilated core"
    return (_throughput(board, model, core, core_mhz, found["causes"], Status.SIMULATED, what),
            Evidence(checked_tokens=found["checked"], bit_exact=found["bit_exact"], of=what))


def _throughput(board: Board, model: str, core: CoreConfig, core_mhz: float,
                causes: dict[str, float], status: Status, source: str) -> Throughput:
    cycles, peak = sum(causes.values()), bytes_per_cycle(board, core)
    ideal = program_of(model).ternary_weights / 5 / peak

    def value(number: float, unit: str, how: str) -> Value:
        return Value(value=number, unit=unit, status=status, source=how)

    rate = core_mhz * 1e6 / cycles
    return Throughput(
        cycles_per_token=value(cycles, "cycles", source),
        ideal_cycles_per_token=Value(
            value=ideal, unit="cycles", status=Status.ESTIMATED,
            source=f"weights / 5 per byte / {peak:g} bytes per cycle"),
        causes=tuple(CauseCycles(cause=cause, cycles=count) for cause, count in causes.items()
                     if count),
        streams=core.streams,
        tokens_per_second=value(rate, "tok/s", f"clock over cycles: {source}"),
        tokens_per_second_summed=value(rate * core.streams, "tok/s",
                                       f"clock over cycles, times streams: {source}"),
        bandwidth_share=value(ideal / cycles, "1", f"ideal cycles over cycles: {source}"))
