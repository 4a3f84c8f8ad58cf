"""Adder graphs of a constant ternary matrix, from da4ml and its successor alkaid.

Their weights are wired in: such a circuit multiplies by one matrix and no other, so that a model
needs one circuit for each of its matrices.
"""

import ctypes
import importlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ternforge.cache import cache_dir
from ternforge.errors import UserError
from ternforge.output import write_text
from ternforge_sim.verilator import build_library

__all__ = ["GENERATORS", "Graph", "graph_verilog", "ternary_matrix"]

#: The generated text does not declare the widths that it means.
LINT_OFF = "/* verilator lint_off WIDTH */\n"

#: Holds one vector at the input until its product has passed all stages.
HARNESS = """
#include <cstdint>
#include <cstring>
#include "Vgraph.h"

extern "C" void product(const uint32_t* codes, unsigned words, uint32_t* sums, unsigned count) {
    static Vgraph top;
    for (unsigned k = 0; k < words; ++k) top.model_inp[k] = codes[k];
    for (unsigned cycle = 0; cycle < 64; ++cycle) {
        top.clk = 0, top.eval();
        top.clk = 1, top.eval();
    }
    for (unsigned k = 0; k < count; ++k) sums[k] = top.model_out[k];
}
"""

#: Cost of a stage, in the generators' own unit, above which they place a register.
LATENCY_CUTOFF = 4


def ternary_matrix(size: int) -> np.ndarray:
    """Random weights of -1, 0 and 1, each as often, float64 of shape ``[size, size]``."""
    return np.random.default_rng(size).integers(-1, 2, (size, size)).astype(np.float64)


def _alkaid(matrix: np.ndarray, folder: Path) -> Any:
    trace, ops = (importlib.import_module(f"alkaid.trace{part}") for part in ("", ".ops"))
    codegen = importlib.import_module("alkaid.codegen")
    vector = trace.FVArrayInput(matrix.shape[:1])
    logic = trace.trace(vector, ops.quantize(vector, 1, 7, 0) @ matrix)
    codegen.RTLModel(logic, folder, flavor="verilog", latency_cutoff=LATENCY_CUTOFF).write()
    return logic


def _da4ml(matrix: np.ndarray, folder: Path) -> Any:
    trace, ops = (importlib.import_module(f"da4ml.trace{part}") for part in ("", ".ops"))
    codegen = importlib.import_module("da4ml.codegen")
    vector = trace.FixedVariableArrayInput(matrix.shape[:1])
    logic = trace.comb_trace(vector, ops.quantize(vector, 1, 7, 0) @ matrix)
    codegen.RTLModel(logic, folder.name, folder, flavor="verilog",
                     latency_cutoff=LATENCY_CUTOFF).write()
    return logic


#: Generators by name; each gives its logic, and writes Verilog to a folder.
GENERATORS = {"da4ml": _da4ml, "alkaid": _alkaid}


@dataclass(frozen=True)
class Graph:
    """A generated circuit: ports ``model_inp`` and ``model_out``, lowest element lowest."""

    verilog: str
    matrix: np.ndarray  #: int64, by input and output
    widths: tuple[int, ...]  #: bits of each output

    top = "graph"

    def wrong(self, samples: int = 64) -> int:
        """How many of ``samples`` products the Verilog gets wrong, random ones, in Verilator."""
        rng = np.random.default_rng(1)
        codes = rng.integers(-128, 128, (samples, len(self.matrix)))
        expected = codes @ self.matrix
        with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
            source = Path(work) / "graph.v"
            write_text(source, LINT_OFF + self.verilog)
            path = build_library([source], self.top, HARNESS, cflags=("-O1",))
        library = ctypes.CDLL(str(path))
        found = np.zeros(-(-sum(self.widths) // 32), np.uint32)
        wrong = 0
        for sample, product in zip(codes.astype(np.int8), expected, strict=True):
            library.product(sample.ctypes.data_as(ctypes.c_void_p), sample.size // 4,
                            found.ctypes.data_as(ctypes.c_void_p), found.size)
            wrong += self._split(found) != product.tolist()
        return wrong

    def _split(self, words: np.ndarray) -> list[int]:
        bits, values = int.from_bytes(words.astype("<u4").tobytes(), "little"), []
        for width in self.widths:
            value = bits & ((1 << width) - 1)
            values.append(value - (value >> (width - 1) << width))
            bits >>= width
        return values


def graph_verilog(generator: str, size: int) -> Graph:
    """The product of int8 codes and :func:`ternary_matrix`, as ``generator`` writes it.

    Raises
    ------
    UserError
        If the generator is not installed.
    """
    matrix = ternary_matrix(size)
    with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
        folder = Path(work) / "graph"
        try:
            logic = GENERATORS[generator](matrix, folder)
        except ModuleNotFoundError:
            raise UserError(f"{generator} is not installed: install ternforge[bench]") from None
        sources = sorted((folder / "src").glob("*.v"))
        text = "\n".join(file.read_text() for file in sources
                         if not file.stem.endswith("_wrapper"))
        # Of the parts that come with each design, those that it instantiates.
        parts = sorted((folder / "src" / "static").glob("*.v"))
        text += "\n".join(part.read_text() for part in parts if f"{part.stem} " in text)
    widths = tuple(max(int(-q.min - 1).bit_length(), int(q.max).bit_length()) + 1
                   for q in logic.out_qint)
    return Graph(text, matrix.astype(np.int64), widths)
