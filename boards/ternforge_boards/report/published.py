"""Published systems that run models of this kind, as data with source and caveat.

Nothing here was run by us. ``read`` says what of the source was read; a figure that the part read
does not give is null, whatever else may be known of it.
"""

from typing import Literal

from pydantic import Field

from .value import Record, Status, Value

__all__ = ["ANCHORS", "Anchor"]


class Anchor(Record):
    """One published system with one model."""

    name: str
    model: str
    device: str
    tokens_per_second: Value = Field(description="of one stream")
    tokens_per_second_summed: Value = Field(description="over all streams")
    power: Value
    power_of: Literal["board", "core", "budget", "unknown"]
    marks: tuple[str, ...] = Field(description="what the figures leave out")
    citation: str
    url: str
    read: str = Field(description="what of it was read, or where else the figures stand")


def _value(value: float | None, unit: str, source: str, low: float | None = None,
           high: float | None = None) -> Value:
    return Value(value=value, unit=unit, status=Status.PUBLISHED, source=source, low=low, high=high)


def _rate(value: float | None, source: str, low: float | None = None,
          high: float | None = None) -> Value:
    return _value(value, "tok/s", source, low, high)


def _ternip(model: str, summed: int, streams: int, *marks: str) -> Anchor:
    source = f"{summed} tok/s over {streams} streams"
    return Anchor(
        name=f"Ternip, {model}", model=f"mmfree-{model}", device="Alveo U250, 300 MHz",
        tokens_per_second=_rate(summed / streams, source),
        tokens_per_second_summed=_rate(summed, source),
        power=_value(53, "W", "as reported by the authors"), power_of="unknown",
        marks=("head and embedding on the host, excluded", f"summed over {streams} streams",
               *marks),
        citation="E. Sifferman et al., Ternip", url="https://github.com/sifferman/ternip",
        read="second hand: the repository's README holds no figures")


PAPER = "R.-J. Zhu et al., Scalable MatMul-free Language Modeling, arXiv:2406.02528"
TEREFFIC = "C. Yin et al., TerEffic, arXiv:2502.16473v2"
TEREFFIC_URL = "https://arxiv.org/html/2502.16473v2"
RATIO = "of a ratio in the abstract, whose rounding gives the range"

ANCHORS = (
    Anchor(
        name="paper's core, 1.3B", model="mmfree-1.3b", device="Stratix 10 (D5005)",
        tokens_per_second=_rate(23.8, "as the press reported of version 1"),
        tokens_per_second_summed=_rate(23.8, "as the press reported of version 1"),
        power=_value(13.67, "W", "abstract of versions 1 to 5: 13 W; the decimals second hand"),
        power_of="unknown",
        marks=("projected from one core", "without the GPU beside it"),
        citation=PAPER, url="https://arxiv.org/html/2406.02528v5",
        read="abstract; the speed from globalnews24.ch, \"Researchers upend AI status quo\""),
    _ternip("370m", 3712, 48),
    _ternip("1.3b", 970, 41),
    _ternip("2.7b", 411, 29, "its text degenerates at 16 bits"),
    Anchor(
        name="TerEffic, on chip", model="mmfree-370m", device="several FPGAs (Alveo U280)",
        tokens_per_second=_rate(16300, "abstract, single batch"),
        tokens_per_second_summed=_rate(16300, "abstract, single batch"),
        power=_value(16300 / 455, "W", "16,300 tok/s over 455 tok/s/W, whose rounding gives the "
                     "range", 16250 / 455.5, 16350 / 454.5), power_of="unknown",
        marks=("several FPGAs",),
        citation=TEREFFIC, url=TEREFFIC_URL, read="abstract"),
    Anchor(
        name="TerEffic, HBM", model="mmfree-2.7b", device="Alveo U280",
        tokens_per_second=_rate(None, "the abstract does not say how many streams are summed"),
        tokens_per_second_summed=_rate(727, "abstract"),
        power=_value(46, "W", "abstract"), power_of="unknown",
        marks=("number of streams unknown",),
        citation=TEREFFIC, url=TEREFFIC_URL, read="abstract"),
    Anchor(
        name="TeLLMe v2", model="BitNet 0.73B", device="KV260",
        tokens_per_second=_rate(25, "abstract: up to 25 tok/s"),
        tokens_per_second_summed=_rate(25, "abstract: up to 25 tok/s, one stream"),
        power=_value(5, "W", "abstract: a power budget"), power_of="budget",
        marks=("a transformer, with attention", "best case of the context's length"),
        citation="Y. Qiao et al., TeLLMe v2, arXiv:2510.15926v1",
        url="https://arxiv.org/html/2510.15926v1",
        read="abstract; the model's size second hand"),
    Anchor(
        name="Loihi 2", model="mmfree-370m", device="Loihi 2",
        tokens_per_second=_rate(None, "the abstract gives ratios to transformers on an edge GPU "
                                "alone: up to 3 times the throughput"),
        tokens_per_second_summed=_rate(None, "as that of one stream"),
        power=_value(None, "W", "the abstract gives a ratio alone: half the energy"),
        power_of="unknown", marks=("neuromorphic chip", "preliminary"),
        citation="S. Abreu et al., Neuromorphic Principles for Efficient Large Language Models on "
                 "Intel Loihi 2, arXiv:2503.18002v1",
        url="https://arxiv.org/html/2503.18002v1", read="abstract"),
    Anchor(
        name="Jetson Orin Nano", model="mmfree-370m", device="Jetson Orin Nano",
        tokens_per_second=_rate(16300 / 192, f"16,300 tok/s over 192, {RATIO}",
                                16250 / 192.5, 16350 / 191.5),
        tokens_per_second_summed=_rate(16300 / 192, f"16,300 tok/s over 192, {RATIO}",
                                       16250 / 192.5, 16350 / 191.5),
        power=_value(16300 / 192 / (455 / 19), "W",
                     f"its tok/s over 455 tok/s/W, times 19, {RATIO}",
                     16250 / 192.5 / (455.5 / 18.5), 16350 / 191.5 / (454.5 / 19.5)),
        power_of="unknown", marks=("GPU, measured by the authors of TerEffic",),
        citation=TEREFFIC, url=TEREFFIC_URL, read="abstract"),
    Anchor(
        name="A100", model="mmfree-2.7b", device="NVIDIA A100",
        tokens_per_second=_rate(None, "the abstract does not say how many streams are summed"),
        tokens_per_second_summed=_rate(727 / 3, f"727 tok/s over 3, {RATIO}", 726.5 / 3.5,
                                       727.5 / 2.5),
        power=_value(727 / 3 / (16 / 8), "W", f"its tok/s over 16 tok/s/W, times 8, {RATIO}",
                     726.5 / 3.5 / (16.5 / 7.5), 727.5 / 2.5 / (15.5 / 8.5)),
        power_of="unknown", marks=("GPU, measured by the authors of TerEffic",
                                   "number of streams unknown"),
        citation=TEREFFIC, url=TEREFFIC_URL, read="abstract"),
)
