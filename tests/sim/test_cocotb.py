"""The cocotb benches, each in a simulator process of its own; they fail here if they fail there."""

import pytest

from ternforge_sim.cocotb.runner import run_bench
from ternforge_sim.cocotb.units import BENCHES


@pytest.mark.parametrize("bench", BENCHES)
def test_bench_passes_on_generated_verilog(bench, tmp_path):
    assert run_bench(bench, tmp_path) > 0
