"""What is measured: peers give right products, tokens are checked, cores are measured as built."""

from dataclasses import replace

import numpy as np
import pytest

from bench import area, tokens
from bench.peers import check
from bench.peers.compare import RECORDED
from bench.peers.graphs import GENERATORS, graph_verilog
from bench.peers.int8 import Int8Array
from bench.units import GOWIN, TARGETS, UNITS, Untraced
from ternforge.config import CoreConfig
from ternforge.presets import core_preset
from ternforge.verilog import ports_of
from ternforge_boards.area import AREA_FAMILIES
from ternforge_model.synthetic import released_config

#: As in tests/sim/test_external.py, so that both use one simulator.
CORE = CoreConfig(lanes=16, elements=4, memory_beats=4096, bank_beats=0, vector_depth=512,
                  state_depth=256, max_rows=32, max_fan_in=160)


@pytest.mark.parametrize("dsp", [True, False])
@pytest.mark.parametrize("macs", [2, 8])
def test_int8_array_gives_the_product(macs, dsp):
    assert check.int8_wrong(Int8Array(macs, dsp=dsp)) == 0


@pytest.mark.parametrize("macs", [1, 6])
def test_int8_array_of_another_size_is_refused(macs):
    with pytest.raises(ValueError, match=rf"^Int8Array macs must be a power of two, at least 2, "
                                         rf"not {macs}$"):
        Int8Array(macs, dsp=True)


@pytest.mark.parametrize(("columns", "rows"), [(2, 1), (7, 3), (32, 4)])
def test_serial_unit_gives_the_product_in_its_cycles(columns, rows):
    assert check.serial_wrong(columns, rows) == 0


@pytest.mark.parametrize("generator", GENERATORS)
def test_adder_graph_gives_the_product(generator):
    pytest.importorskip(generator)
    graph = graph_verilog(generator, 12)
    assert set(np.unique(graph.matrix)) == {-1, 0, 1}
    assert graph.wrong(16) == 0
    graph.matrix[3, 5] += 1
    assert graph.wrong(16) > 0


def test_recorded_peers_have_their_source():
    assert {row["status"] for row in RECORDED} == {"recorded", "published"}
    for row in RECORDED:
        assert row["design"]
        assert row["source"]
        assert row["how"]
        assert row["status"] == "published" or row["lut"] > 0 < row["mac_per_cycle"]


@pytest.mark.parametrize("preset", ["up5k", "ddr-n16"])
def test_core_is_measured_without_its_trace(preset):
    core = UNITS["core"](core_preset(preset))
    assert isinstance(core, Untraced)
    inside = {name for name, _, _ in ports_of(core.core)}
    outside = {name for name, _, _ in ports_of(core)}
    assert {name for name in inside if not name.startswith("trace_")} == outside < inside


def test_targets_measure_the_core_of_their_preset():
    for target in TARGETS:
        assert set(target.units) <= set(UNITS)
        assert replace(target.config, lane=core_preset(target.preset).lane) == core_preset(
            target.preset)
    assert GOWIN.config.lane == "portable" != core_preset(GOWIN.preset).lane


def test_area_of_a_part_is_that_of_its_unit():
    seen = {family: area.measure(area.Part("decoder", "ddr-n16", family))
            for family in AREA_FAMILIES}
    assert all(data["synthesis_only"] and data["ff"] == 0 for data in seen.values())
    # nonzero and sign of five weights, each a function of eight bits
    assert all(8 <= data["lut"] <= 40 for data in seen.values())
    assert "fmax_mhz" not in seen["xcup"]


def test_token_of_all_layers_is_the_one_that_is_calculated(monkeypatch):
    shape = replace(released_config("370m"), hidden_size=48, intermediate_size=112, vocab_size=50,
                    num_hidden_layers=5)
    monkeypatch.setattr(tokens, "core_of", lambda size, preset: CORE)
    monkeypatch.setattr(tokens, "released_config", lambda size: shape)
    whole = tokens.measure(tokens.Case("370m", "ddr-n16"), (1,))
    assert [layers for layers, _ in whole["simulated"]] == [2, 3, 5]
    assert whole["simulated"][-1] == [5, whole["cycles"]]
    assert whole["checked_tokens"] == 3
    assert abs(whole["calculation_error"]) < 0.01
    weights = 5 * (4 * 48 * 48 + 3 * 48 * 112) + 48 * 50
    assert whole["share"] == pytest.approx(weights / 80 / whole["cycles"])
    calculated = tokens.measure(tokens.Case("1.3b", "ddr-n16"), (1,))
    assert calculated["simulated"] == whole["simulated"][:2]
    assert calculated["ideal_cycles"] == pytest.approx(whole["ideal_cycles"])
    assert calculated["cycles"] == whole["calculated_cycles"]
    far = tokens.measure(tokens.Case("1.3b", "ddr-n16", 100), (1,))
    assert far["cycles"] > calculated["cycles"]


def test_token_of_a_wrong_core_is_no_figure(monkeypatch):
    shape = replace(released_config("370m"), hidden_size=48, intermediate_size=112, vocab_size=50)
    right = tokens.wide_program

    def other(*arguments, **sizes):
        program = right(*arguments, **sizes)
        return replace(program, embedding=-program.embedding)

    simulate = tokens.simulate
    monkeypatch.setattr(tokens, "simulate", lambda *arguments, **options: simulate(
        *arguments, reference=other(1, d=48, layers=2, m=112, vocab=50, inner_norms=True),
        **options))
    with pytest.raises(RuntimeError, match=r"^not bit-exact: token 0, packet 0 "):
        tokens.run_token(CORE, shape, 2)
