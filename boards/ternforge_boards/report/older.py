"""Reports of version 1, as far as they go, so that a comparison may hold them."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ternforge.errors import UserError
from ternforge_boards.board import board as find_board

from .compare import Versioned
from .files import AGAIN, load_report, read_report
from .schema import (
    FORMAT,
    Area,
    AreaReport,
    ClockReport,
    Design,
    Evidence,
    Report,
    SeedReport,
    Throughput,
)
from .value import Status, Value

__all__ = ["read_any"]

NOT_SAID = "not in a report of version 1"


def read_any(path: Path) -> Versioned:
    """Read a report of this version or of the one before.

    Raises
    ------
    UserError
        If it is neither.
    """
    file, told = load_report(path)
    if told.get("format") != 1 or isinstance(told["format"], bool):
        return Versioned(read_report(path), FORMAT)
    try:
        return Versioned(_upgraded(told), 1)
    except (KeyError, TypeError, ZeroDivisionError, ValidationError):
        raise UserError(f"{str(file)!r} is not a whole report of format 1: {AGAIN}") from None


def _upgraded(told: dict[str, Any]) -> Report:
    board = find_board(told["board"])
    have = board.resources
    clock = told["core_mhz"]

    def simulated(value: float, unit: str) -> Value:
        return Value(value=value, unit=unit, status=Status.SIMULATED,
                     source="report of version 1")

    fields = ("lut", "ff", "block_ram", "dsp", "spram")
    rate = simulated(told["tokens_per_second"], "tok/s")
    return Report(
        name=f"{told['model']} on {board.name}",
        design=Design(
            board=board.name, device=told["device"], family=board.family, core=told["core"],
            core_mhz=clock, memory=NOT_SAID,
            memory_bytes_per_second=told["core"]["lanes"] * clock * 1e6, design_hash=NOT_SAID,
            model=told["model"], model_hash=told["model_hash"],
            ternary_weights=round(told["ideal_cycles_per_token"] * 5 * told["core"]["lanes"])),
        tool_versions=told["tool_versions"], seed=told["seed"],
        seeds=tuple(SeedReport(**one) for one in told["seeds"]),
        area=AreaReport(total=Area(**{name: told[name] for name in fields}),
                        available=Area(**{name: getattr(have, name) for name in fields}),
                        units=(), source="nextpnr"),
        clocks=(ClockReport(net="critical clock", achieved_mhz=told["fmax_mhz"],
                            constrained_mhz=told["constrained_mhz"], met=told["met"]),),
        throughput=Throughput(
            cycles_per_token=simulated(told["cycles_per_token"], "cycles"),
            ideal_cycles_per_token=simulated(told["ideal_cycles_per_token"], "cycles"),
            causes=(), tokens_per_second=rate, tokens_per_second_summed=rate,
            bandwidth_share=simulated(told["weight_stream_share"], "1")),
        evidence=Evidence(checked_tokens=told["checked_tokens"], bit_exact=told["bit_exact"],
                          of=NOT_SAID),
        bitstream=told["bitstream"])
