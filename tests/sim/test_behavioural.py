"""Lanes as one C++ function: the sums of the Verilog for any byte, and whole tokens alike."""

import ctypes
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ternforge.config import CoreConfig
from ternforge.core.lanes import BEHAVIOURAL, DotProduct
from ternforge.errors import UserError
from ternforge.lanes import dot_product
from ternforge.presets import core_preset
from ternforge.trits import DECODE, encode_trits
from ternforge.verilog import generate
from ternforge_firmware.lower import lower
from ternforge_model.toy import random_program
from ternforge_sim import runner
from ternforge_sim.behavioural import MODEL, lanes_defines, lanes_verilog
from ternforge_sim.runner import VerilatedCore, build_simulator
from ternforge_sim.simulate import simulate
from ternforge_sim.verilator import build_library

#: That of ``ddr-n16``, and small ones of another kind; the last takes weights that were decoded
#: ahead, for several streams.
LANES = {"ddr-n16": CoreConfig(lanes=16, elements=8, tree_levels=1, lane="ecp5"),
         "n2": CoreConfig(lanes=2, tree_levels=1), "n6": CoreConfig(lanes=6, tree_levels=3),
         "pairs": CoreConfig(lanes=6, streams=2, tree_levels=2, lane="ecp5")}

CORE = CoreConfig(lanes=16, elements=4, tile_registers=2, memory_beats=4096, bank_beats=0,
                  vector_depth=512, state_depth=256, max_rows=32, max_fan_in=160, lane="ecp5",
                  tree_levels=1)

TRITS = np.array([trits or (0,) * 5 for trits in DECODE])
USED = np.flatnonzero([trits is not None for trits in DECODE])

#: Runs beats through the Verilog (``gate``) and the function (``model``), side by side.
HARNESS = r"""
#include "Vboth.h"
#include "verilated.h"
#include <vector>
extern "C" int both_run(const uint8_t* bytes, const int8_t* codes, uint32_t count,
                        int32_t* gate, int32_t* model) {
    VerilatedContext context;
    Vboth top{&context};
    const auto put = [](auto& port, const void* from, size_t size) {
        std::memset(&port, 0, sizeof port), std::memcpy(&port, from, size);
    };
    uint32_t taken = 0;
    std::vector<unsigned> tags;
    for (uint32_t cycle = 0; taken < count; ++cycle) {
        const bool beat = cycle % 7 != 6 && tags.size() < count;  // with a pause now and then
        top.valid = beat;
        top.tag = cycle * 5 % 8;
        if (beat) {
            put(top.data, bytes + size_t(tags.size()) * BYTES, BYTES);
            put(top.codes, codes + size_t(tags.size()) * 5 * LANES, 5 * LANES);
            tags.push_back(top.tag);
        }
        top.clk = 0, top.eval(), top.clk = 1, top.eval();
        if (top.gate_valid != top.model_valid) return -1;
        if (!top.gate_valid) continue;
        if (top.gate_tag != tags[taken] || top.model_tag != tags[taken]) return -1;
        gate[taken] = int32_t(top.gate_sum), model[taken++] = int32_t(top.model_sum);
    }
    return 0;
}
"""

BOTH = """\
module both (input clk, input valid, input [2:0] tag, input [{data}:0] data,
             input [{codes}:0] codes, output gate_valid, output [2:0] gate_tag,
             output signed [31:0] gate_sum, output model_valid, output [2:0] model_tag,
             output signed [31:0] model_sum);
  wire signed [{sum}:0] gate_out, model_out;
  assign gate_sum = 32'(gate_out), model_sum = 32'(model_out);
  gate gate_i (.clk(clk), .i_valid(valid), .i_payload({{tag, data}}), .codes(codes),
               .o_valid(gate_valid), .o_payload({{gate_tag, gate_out}}));
  model model_i (.clk(clk), .i_valid(valid), .i_payload({{tag, data}}), .codes(codes),
                 .o_valid(model_valid), .o_payload({{model_tag, model_out}}));
endmodule
"""


def data_bits(config: CoreConfig) -> int:
    return DotProduct.beat_layout(config)["data"].width


def pairs(weights: np.ndarray) -> np.ndarray:
    """Decoded: bits (zero, sign) of each trit, eight bits to a byte; any sign where it is zero."""
    trits = TRITS[weights].reshape(len(weights), -1)
    chance = np.random.default_rng(3).integers(0, 2, trits.shape)
    bits = np.stack([trits == 0, np.where(trits == 0, chance, trits < 0)], -1)
    return np.packbits(bits.reshape(len(weights), -1).astype(np.uint8), axis=1, bitorder="little")


@cache
def both(name: str, folder: Path, model: str) -> ctypes.CDLL:
    config = LANES[name]
    texts = {"gate.v": generate(dot_product(config), "gate", reset=False).text,
             "model.v": generate(dot_product(config), "model", reset=False,
                                 family=BEHAVIOURAL).text,
             "lanes.sv": lanes_verilog(config),
             "both.sv": BOTH.format(data=data_bits(config) - 1, codes=8 * config.tile - 1,
                                    sum=config.dot_bits - 1)}
    assert "ternforge_dot_product" not in texts["gate.v"]
    for file, text in texts.items():
        (folder / file).write_text(text)
    flags = ("-O2", f"-DBYTES={-(-data_bits(config) // 8)}", *lanes_defines(config))
    return ctypes.CDLL(str(build_library([folder / file for file in texts], "both",
                                         model + HARNESS, cflags=flags)))


@pytest.fixture(params=LANES)
def run(request, tmp_path_factory):
    """Sums of beats by the Verilog and by the function, and the number of lanes."""
    folder = tmp_path_factory.getbasetemp() / f"lanes-{request.param}"
    folder.mkdir(exist_ok=True)
    return sums_of(request.param, both(request.param, folder, MODEL.read_text()))


def sums_of(name, library):
    def sums(weights, codes):
        if LANES[name].decodes_ahead:
            weights = pairs(weights)
        weights, codes = (np.ascontiguousarray(a, t) for a, t in ((weights, np.uint8),
                                                                  (codes, np.int8)))
        found = np.zeros((2, len(weights)), np.int32)
        assert library.both_run(weights.ctypes, codes.ctypes, len(weights), found[0].ctypes,
                                found[1].ctypes) == 0
        return found

    return sums, LANES[name].lanes


def exact(weights, codes):
    """Integer sums of products."""
    return (TRITS[weights].reshape(len(weights), -1) * codes).sum(1)


def check(sums, weights, codes):
    gate, model = sums(weights, codes)
    np.testing.assert_array_equal(gate, model)
    if np.isin(weights, USED).all():
        np.testing.assert_array_equal(gate, exact(weights, codes))


def test_every_byte_in_every_place(run):
    """All 256 in each byte of a beat, those that stand for no weights as well."""
    rng, (sums, n) = np.random.default_rng(1), run
    codes = rng.integers(-127, 128, (20, 5 * n), np.int8)
    codes[0], codes[1], codes[2, ::2], codes[3] = 127, -127, 127, 0
    for code in codes:
        weights = rng.integers(0, 256, (n, 256, n))
        for place in range(n):
            weights[place, :, place] = np.arange(256)
        weights = weights.reshape(-1, n)
        repeated = np.broadcast_to(code, (len(weights), 5 * n))
        check(sums, weights, repeated)
        check(sums, USED[weights % len(USED)], repeated)


def test_every_product_in_every_place(run):
    """One code at a time, with all its values, under all bytes; the others are 0.

    With the proof that every adder is exact (``tests/flow/test_lane_sums.py``) this makes the sum
    of products of the Verilog.
    """
    rng, (sums, n) = np.random.default_rng(2), run
    values = np.arange(-127, 128)
    for term in range(5 * n):
        weights = USED[rng.integers(0, len(USED), (len(values) * len(USED), n))]
        weights[:, term // 5] = np.tile(USED, len(values))
        codes = np.zeros((len(weights), 5 * n), np.int8)
        codes[:, term] = np.repeat(values, len(USED))
        check(sums, weights, codes)


def test_largest_sums(run):
    sums, n = run
    weights = np.array([[encode_trits((sign,) * 5)] * n for sign in (1, -1, 1, -1)])
    codes = [[code] * 5 * n for code in (127, 127, -127, -127)]
    gate, model = sums(weights, codes)
    largest = 127 * 5 * n
    assert gate.tolist() == model.tolist() == [largest, -largest, -largest, largest]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_beats(data, tmp_path_factory):
    name = data.draw(st.sampled_from([*LANES]))
    folder = tmp_path_factory.getbasetemp() / f"lanes-{name}"
    folder.mkdir(exist_ok=True)
    sums, n = sums_of(name, both(name, folder, MODEL.read_text()))
    beats = data.draw(st.lists(st.tuples(
        st.lists(st.sampled_from(USED.tolist()), min_size=n, max_size=n),
        st.lists(st.integers(-127, 127), min_size=5 * n, max_size=5 * n)), min_size=1, max_size=6))
    weights, codes = (np.array(part) for part in zip(*beats, strict=True))
    check(sums, weights, codes)


@pytest.mark.parametrize(("before", "after"), [
    ("low == 3 ? middle & 3 : low", "low == 3 ? middle & 1 : low"),
    ("which != odd", "which == odd"),
], ids=str)
def test_a_wrong_function_is_noticed(before, after, tmp_path):
    text = MODEL.read_text()
    assert text.count(before) == 1
    run = sums_of("n2", both("n2", tmp_path, text.replace(before, after)))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        test_every_byte_in_every_place(run)


PROGRAM = random_program(21, d=44, layers=2, m=100, vocab=50, inner_norms=True)


@pytest.fixture(scope="module")
def image():
    return lower(PROGRAM, CORE)


def test_tokens_have_the_same_writes_in_the_same_cycles(image):
    steps = []
    for behavioural in (False, True):
        core = VerilatedCore(build_simulator(CORE, behavioural_lanes=behavioural), CORE)
        core.load(image.memory())
        steps.append([core.step(token, reset=token == 3, trace=True) for token in (3, 15, 0)])
        core.close()
    for rtl, model in zip(*steps, strict=True):
        assert (rtl.token, rtl.cycles) == (model.token, model.cycles)
        np.testing.assert_array_equal(rtl.events, model.events)
        np.testing.assert_array_equal(rtl.activity, model.activity)


def test_whole_tokens_are_checked_like_others(image, tmp_path, monkeypatch):
    run = simulate(build_simulator(CORE, behavioural_lanes=True), CORE, image, [3, 15, 0], 3)
    assert run.bit_exact
    wrong = tmp_path / "lanes.hpp"
    wrong.write_text(MODEL.read_text().replace("!lone || low", "low"))
    monkeypatch.setattr(runner, "MODEL", wrong)
    found = simulate(build_simulator(CORE, behavioural_lanes=True), CORE, image, [3, 15, 0], 3)
    assert found.first_divergence is not None
    assert found.first_divergence.memory in ("vector", "state")


@pytest.mark.parametrize(("streams", "cores"), [(1, 2), (2, 2)])
def test_several_streams_and_cores(streams, cores):
    core = replace(CORE, streams=streams, cores=cores)
    run = simulate(build_simulator(core, behavioural_lanes=True), core, lower(PROGRAM, core),
                   [3, 15, 0], 3)
    assert run.bit_exact
    assert run.checked_tokens == 5


def test_lanes_of_tables_are_refused():
    core = replace(CORE, lane="table")
    with pytest.raises(UserError, match=r"^--behavioural-lanes stands for lanes that are given "
                                        r"their codes, not for those of kind 'table'$"):
        build_simulator(core, behavioural_lanes=True)


def test_verilog_of_boards_has_lanes():
    assert "ternforge_dot_product" not in generate(dot_product(core_preset("up5k")), "lanes").text
