"""Whole systems with their shipped models: what ``ternforge build`` reports."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ternforge.cache import cache_dir
from ternforge.presets import MODELS
from ternforge.process import TERNFORGE, run_tool
from ternforge_boards.report.files import read_report

from .figures import Data, Figure, Measurement, Reach

__all__ = ["FIGURES", "MEASUREMENTS", "measure"]

#: What a build depends on.
DEPENDS = ("hw", "model/ternforge_model", "firmware", "sim", "boards/ternforge_boards",
           "bench/systems.py", "bench/figures.py")

#: What is shown of a build: key, title, unit.
SHOWN = (("lut", "LUT4", ""), ("ff", "FF", ""), ("block_ram", "block RAM", ""),
         ("dsp", "DSP", ""), ("fmax_mhz", "Fmax", "MHz"),
         ("cycles_per_token", "cycles per token", "cycles"),
         ("tokens_per_second", "tokens/s at the constraint", "tok/s"),
         ("weight_stream_share", "share of the weight stream", "%"))

#: Limits, by board and key.
REACH = {
    "icebreaker": {"fmax_mhz": ">= 42", "tokens_per_second": ">= 2200",
                   "weight_stream_share": ">= 90"},
    "ulx3s-85f": {"fmax_mhz": ">= 130", "tokens_per_second": ">= 10000"},
}


def command_of(model: str) -> str:
    """What a user types to see the figures of a shipped model on its board."""
    return f"ternforge build --board {MODELS[model]} --model {model} --allow-timing-fail"


def measure(model: str, seeds: Sequence[int]) -> Data:
    """Figures of the build of a shipped model for its board, with the first seed."""
    arguments = command_of(model).split()[1:]
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        run_tool([*TERNFORGE, *arguments, "-o", work], cwd=Path.cwd())
        report = read_report(Path(work))
    clock, told = report.critical_clock, report.throughput
    assert clock is not None  # a build is placed
    return {"checked_tokens": report.evidence.checked_tokens,
            "bit_exact": report.evidence.bit_exact,
            **report.area.total.model_dump(), "fmax_mhz": clock.achieved_mhz,
            "cycles_per_token": told.cycles_per_token.value,
            "tokens_per_second": told.tokens_per_second.value,
            "weight_stream_share": told.bandwidth_share.value}


MEASUREMENTS = tuple(Measurement(name=f"board.{board}", run=partial(measure, model),
                                 depends=DEPENDS) for model, board in MODELS.items())


def _value(key: str, data: Data) -> float:
    return data[key] * (100 if key == "weight_stream_share" else 1)


FIGURES = (
    # The weights leave the block RAM of one stream's vectors, states and codes, and no more.
    Figure(name="board.ulx3s-85f.all-streams",
           title="shakespeare-85f on ulx3s-85f: tokens/s of all streams, of which one fits",
           unit="tok/s", of=("board.ulx3s-85f",),
           value=lambda data: data["tokens_per_second"], reach=Reach(">= 40000"),
           checked="board.ulx3s-85f", command=command_of("shakespeare-85f")),
    *(Figure(name=f"board.{board}.{key.replace('_', '-')}", title=f"{model} on {board}: {title}",
           unit=unit, of=(f"board.{board}",), value=partial(_value, key),
           reach=Reach(REACH[board].get(key, "")), checked=f"board.{board}",
           quick=board == "icebreaker", command=command_of(model))
      for model, board in MODELS.items() for key, title, unit in SHOWN))
