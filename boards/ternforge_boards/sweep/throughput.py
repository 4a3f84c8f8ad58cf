"""Speed of a point from the analytic model."""

from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge_boards.board import Board
from ternforge_boards.report.memory import bytes_per_cycle
from ternforge_boards.report.schema import Evidence
from ternforge_boards.report.throughput import Speed, throughput_of
from ternforge_boards.report.value import Status
from ternforge_firmware.cycles import token_cycles
from ternforge_firmware.footprint import footprint

from .models import packets_of, program_of

__all__ = ["modelled"]


def modelled(board: Board, model: str, core: CoreConfig, core_mhz: float) -> Speed:
    """Speed of a pass, in which each stream takes a token.

    A memory beside the FPGA gives its peak rate at most; refresh is left out.
    """
    counts = token_cycles(packets_of(model, core), core).sum(axis=0)
    causes = {cause.name.lower(): float(counts[cause.value])
              for cause in Cause.__members__.values()}
    peak = bytes_per_cycle(core, board.memory.dram if board.memory else None)
    source = "analytic model of the core's units"
    if board.memory is not None:
        read = footprint(program_of(model), core).stream_bytes
        causes["memory"] += max(0.0, read / peak - sum(causes.values()))
        source += ", memory at its peak rate without refresh"
    weights = program_of(model).ternary_weights
    return Speed(
        throughput=throughput_of(
            {cause: count for cause, count in causes.items() if count}, weights=weights, peak=peak,
            core_mhz=core_mhz, streams=core.streams, status=Status.ESTIMATED, source=source),
        evidence=Evidence(checked_tokens=0, bit_exact=False,
                          of="nothing ran: cycles are estimated"),
        ternary_weights=weights)
