"""Tables of Gowin netlists get four inputs and compute what they did."""

import pytest

from ternforge_boards.tables import widen_tables

from .prove import COMBINATIONAL, proven

#: Yosys' models of Gowin's cells.
MODELS = "read_verilog +/gowin/cells_sim.v"


def table(kind: str, init: str) -> dict:
    return {"cells": {"t": {"type": kind, "parameters": {"INIT": init}, "connections": {}}}}


@pytest.mark.parametrize(("kind", "init", "wide"), [
    ("LUT1", "01", "01" * 8), ("LUT2", "0110", "0110" * 4), ("LUT3", "10010110", "10010110" * 2),
    ("LUT2", "00000000000000000000000000001000", "1000" * 4), ("LUT2", "1", "0001" * 4)])
def test_smaller_tables_become_wide(kind, init, wide, tmp_path):
    module = table(kind, init)
    assert widen_tables(module) == 1
    cell = module["cells"]["t"]
    assert (cell["type"], cell["parameters"]["INIT"]) == ("LUT4", wide)
    inputs = int(kind[-1])

    def same(wide: str) -> bool:
        used = ", ".join(f".I{k}(a[{k}])" for k in range(inputs))
        for name, cell, bits in (("gold", kind, init[-2 ** inputs:]), ("gate", "LUT4", wide)):
            (tmp_path / f"{name}.v").write_text(
                f"module {name} (input [3:0] a, output y);\n"
                f"  {cell} #(.INIT({len(bits)}'b{bits})) t ({used}, .F(y));\nendmodule\n")
        return proven(tmp_path, f"read_verilog gold.v; {MODELS}", f"read_verilog gate.v; {MODELS}",
                      COMBINATIONAL)

    assert same(wide)
    assert not same(wide[:-1] + str(1 - int(wide[-1])))


def test_other_cells_stay():
    for module in (table("LUT4", "0" * 16), table("ALU", "1")):
        kind = module["cells"]["t"]["type"]
        assert widen_tables(module) == 0
        assert module["cells"]["t"]["type"] == kind
