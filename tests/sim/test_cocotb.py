"""The cocotb benches, each in a simulator process of its own; they fail here if they fail there."""

import pytest

from ternforge.config import CoreConfig
from ternforge.lanes import cell_models
from ternforge.verilog import generate
from ternforge_sim.cocotb.runner import BenchFailure, run_bench
from ternforge_sim.cocotb.units import BENCHES, Together


@pytest.mark.parametrize("bench", BENCHES)
def test_bench_passes_on_generated_verilog(bench, tmp_path):
    assert run_bench(bench, tmp_path) > 0


def test_lanes_of_the_cells_of_a_family(tmp_path):
    text = generate(Together(BENCHES["lanes"]()), "bench", family="ecp5").text
    cells = cell_models(CoreConfig(lane="ecp5"))
    assert run_bench("lanes", tmp_path / "right", verilog=text + cells) > 0
    wrong = text.replace("16'h6996", "16'h6997", 1)
    with pytest.raises(BenchFailure, match=r"of 9 cocotb tests of bench_lanes failed"):
        run_bench("lanes", tmp_path / "wrong", verilog=wrong + cells)


def test_tables_with_the_cells_of_a_family(tmp_path):
    text = generate(Together(BENCHES["tables"]()), "bench", family="ecp5").text
    cells = cell_models(CoreConfig(lane="table"))
    assert "CCU2C" in text
    assert run_bench("tables", tmp_path / "right", verilog=text + cells) > 0
    wrong = text.replace("16'h6996", "16'h6997", 1)
    with pytest.raises(BenchFailure, match=r"of 4 cocotb tests of bench_tables failed"):
        run_bench("tables", tmp_path / "wrong", verilog=wrong + cells)
