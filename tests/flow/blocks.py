"""The Verilog module ``blocks`` in Verilator, word by word: one input, one output, one clock."""

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path

from ternforge_sim.verilator import build_library

__all__ = ["run_blocks"]

HARNESS = """\
#include "Vblocks.h"
#include "verilated.h"
#include <cstring>
static VerilatedContext context;
static Vblocks* top;
extern "C" void start() { top = new Vblocks(&context, "blocks"); top->clk = 0; top->eval(); }
extern "C" void put(const void* words) {
  std::memcpy(&top->in, words, sizeof top->in);
  top->eval();
}
extern "C" void get(void* words) { std::memcpy(words, &top->out, sizeof top->out); }
extern "C" void edge() { top->clk = 1; top->eval(); top->clk = 0; top->eval(); }
"""


def run_blocks(sources: Sequence[Path], words: Iterable[int], ins: int, outs: int, *,
               first_edge: bool = False, options: Sequence[str] = ()) -> list[int]:
    """What ``out`` of ``outs`` bits shows in each cycle, before its edge, of ``words`` on ``in``.

    With ``first_edge`` there is one before, while all inputs are low.
    """
    library = ctypes.CDLL(str(build_library(sources, "blocks", HARNESS, verilate=options)))
    library.start()
    size = 8 * (ins // 64 + 1)
    if first_edge:
        library.put(bytes(size))
        library.edge()
    out, seen = ctypes.create_string_buffer(8 * (outs // 64 + 1)), []
    for word in words:
        library.put(word.to_bytes(size, "little"))
        library.get(out)
        seen.append(int.from_bytes(out.raw, "little") & (1 << outs) - 1)
        library.edge()
    return seen
