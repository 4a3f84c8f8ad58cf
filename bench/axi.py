"""The AXI4 read master by itself: how much of what a memory could give it takes."""

import random
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ternforge.cache import cache_dir
from ternforge.config import CoreConfig
from ternforge.mem.axi4 import Axi4Config, Axi4Read
from ternforge_sim.axi import OKAY, Axi4Memory
from ternforge_sim.bench import get, put, simulate
from ternforge_sim.cocotb.runner import run_bench

from .figures import Data, Figure, Measurement, Reach

__all__ = ["FIGURES", "MEASUREMENTS", "measure"]

DEPENDS = ("hw", "model/ternforge_model", "firmware", "sim", "bench/axi.py", "bench/figures.py")
TOKENS = "axi.tokens"  #: measurement of whole tokens

WORDS = 12_000  #: that are read; those of a token are millions
LATENCY = 100  #: cycles from a burst's address to its first word
STALLS = 0.2  #: of the cycles, at random, the slave gives no word
BITS = (64, 128, 256, 512)


def measure(bits: int, seeds: Sequence[int]) -> Data:
    """Words taken, and the cycles in which the slave did not stall until the last one came.

    The core takes each beat at once, the slave takes a burst at once: all that is lost is what the
    master asks for too late, the latency of the first burst included.
    """
    config = Axi4Config(data_bits=bits)
    dut, rng = Axi4Read(CoreConfig(lanes=bits // 8, bank_beats=0), config), random.Random(1)
    memory = Axi4Memory(dut.axi, config, lambda address: (address // config.word_bytes, OKAY),
                        latency=lambda: LATENCY, stalled=lambda: rng.random() < STALLS)
    taken: list[int] = []

    async def ask(ctx):
        await put(ctx, dut.memory.request, [{"address": 0, "beats": WORDS}])

    async def listen(ctx):
        taken.extend(await get(ctx, dut.memory.data, WORDS))

    simulate(dut, ask, listen, processes=[memory.process])
    if taken != list(range(WORDS)):
        raise RuntimeError("the words came in the wrong order")
    return {"words": memory.words, "chances": memory.chances, "bursts": len(memory.bursts),
            "most_outstanding": memory.most, "share": memory.words / memory.chances}


def replay(seeds: Sequence[int]) -> Data:
    """Whole tokens through AXI4, in words of 64 and 512 bits, against the integer model.

    The cocotb bench fails unless all of them are equal; each of its tests feeds at least one.
    """
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        return {"bit_exact": True, "checked_tokens": run_bench("axi", Path(work))}


MEASUREMENTS = (
    Measurement(name=TOKENS, run=replay, depends=DEPENDS),
    *(Measurement(name=f"axi.{bits}bit", run=partial(measure, bits), depends=DEPENDS)
      for bits in BITS))

FIGURES = tuple(
    Figure(name=f"axi.{bits}bit.words-used",
           title=f"AXI4, {bits} bit, {LATENCY} cycles of latency, random stalls: share of the "
                 "words that the slave could give",
           unit="%", of=(f"axi.{bits}bit",), value=lambda data: 100 * data["share"],
           reach=Reach(">= 97") if bits == 512 else Reach(), checked=TOKENS, quick=bits == 512)
    for bits in BITS)
