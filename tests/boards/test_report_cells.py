"""Cells as nextpnr packs them, and the units that they belong to, on netlists by hand."""

from collections import Counter
from typing import Any

import pytest

from ternforge_boards.report.cells import taken
from ternforge_boards.report.units import attribute, unit_name

from .builds import cell, module


def counts(cells: dict[str, Any], family: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for _, what, count in taken(module(cells), family):
        found[what] += count
    return dict(found)


def lut(o: int, i1: Any = "0", i2: Any = "0", i3: Any = "0") -> dict[str, Any]:
    return cell("SB_LUT4", I0=["0"], I1=[i1], I2=[i2], I3=[i3], O=[o])


def carry(co: int, i0: Any, i1: Any, ci: Any) -> dict[str, Any]:
    return cell("SB_CARRY", I0=[i0], I1=[i1], CI=[ci], CO=[co])


def ff(d: int, q: int) -> dict[str, Any]:
    return cell("SB_DFFE", D=[d], Q=[q], C=[1], E=["1"])


@pytest.mark.parametrize(("cells", "logic"), [
    ({"a": lut(10, 2), "f": ff(10, 11)}, 1),  # a table and the flip-flop that it alone feeds
    ({"a": lut(10, 2), "f": ff(10, 11), "b": lut(12, 10)}, 3),  # it feeds another one too
    ({"a": lut(10, 2, 3, 4), "c": carry(5, 2, 3, 4), "d": carry(4, 6, 7, "0")}, 2),  # shared; alone
    ({"a": lut(10, 2, 3, 4), "c": carry(5, 8, 3, 4), "d": carry(4, 6, 7, "0")}, 4),  # other operand
    # An inverter goes into the cell of the carry that it alone feeds; a larger table does not.
    ({"a": lut(10, 2), "c": carry(5, 3, 10, "0")}, 1),
    ({"a": lut(10, 2, 3, 4), "c": carry(5, 3, 10, "0")}, 2),
    ({"c": carry(5, 2, 3, 9), "a": lut(10, i3=5)}, 3),  # a carry out of the fabric comes in
    ({"c": carry(5, 2, 3, "0"), "a": lut(10, i1=5)}, 3),  # and one leaves to the fabric
    # A carry that the next logic cell and something else read.
    ({"c": carry(5, 7, 8, "0"), "d": carry(6, 2, 3, 5), "a": lut(10, 2, 3, 5), "b": lut(11, 5)}, 4),
    ({"c": carry(5, 2, 3, "0"), "a": lut(10, i3=5)}, 2),  # but not to the next table's carry pin
])
def test_ice40_logic_cells(cells, logic):
    assert counts(cells, "ice40")["lut"] == logic


def test_ice40_blocks():
    cells = {"r": cell("SB_RAM40_4KNR"), "m": cell("SB_MAC16"), "s": cell("SB_SPRAM256KA"),
             "f": ff(2, 3), "p": cell("SB_PLL40_PAD")}
    assert counts(cells, "ice40") == {"block_ram": 1, "dsp": 1, "spram": 1, "ff": 1, "lut": 1}


def add(cin: Any, cout: Any) -> dict[str, Any]:
    return cell("CCU2C", CIN=[cin], COUT=[cout], S0=[90], S1=[91])


@pytest.mark.parametrize(("cells", "tables"), [
    ({"a": cell("LUT4", A=[2], Z=[3]), "w": cell("PFUMX", ALUT=[3], Z=[4])}, 1),
    ({"a": add("x", 5), "b": add(5, "x")}, 4),
    ({"a": add("0", 5), "b": add(5, "x")}, 6),  # a carry from the fabric
    ({"a": add("x", 5), "b": add(5, 6), "c": cell("LUT4", A=[6], Z=[7])}, 7),  # and one to it
    ({"a": add("x", 5), "b": add(5, 6)}, 6),  # to a net that nothing reads
    ({"a": cell("TRELLIS_DPR16X4", DO=[2])}, 6),
])
def test_ecp5_tables(cells, tables):
    assert counts(cells, "ecp5")["lut"] == tables


def test_ecp5_blocks():
    cells = {"r": cell("DP16KD"), "p": cell("PDPW16KD"), "m": cell("MULT18X18D"),
             "a": cell("ALU54B"), "f": cell("TRELLIS_FF", DI=[1], Q=[2])}
    assert counts(cells, "ecp5") == {"block_ram": 2, "dsp": 1, "ff": 1}


def test_gowin_cells():
    cells = {"a": cell("LUT4"), "b": cell("ALU"), "c": cell("RAM16SDP4"), "f": cell("DFFRE"),
             "r": cell("SP"), "d": cell("SDPB"), "m": cell("MULT18X18"), "n": cell("MULT36X36"),
             "x": cell("MULT9X9"), "y": cell("MULT9X9"), "z": cell("MULT9X9"), "g": cell("GND")}
    assert counts(cells, "gowin") == {"lut": 6, "ff": 1, "block_ram": 2, "dsp": 7}


@pytest.mark.parametrize(("scope", "unit"), [
    ("ternforge_i.accelerator.core.lanes.decoder_3", "core.lanes"), ("", "top"),
    ("ternforge_i.accelerator.core", "core"), ("ternforge_i.accelerator", "accelerator"),
    ("ternforge_i.accelerator.memory.bank_0", "memory"), ("ternforge_i.port.check", "port"),
    ("ternforge_i.system.accelerator.core.tile", "core.tile"), ("ternforge_i", "top"),
    ("ternforge_i.memory.controller", "memory"), ("pll", "pll"),
])
def test_names_of_units(scope, unit):
    assert unit_name(scope) == unit


def test_a_table_follows_most_of_its_readers_and_then_what_it_reads():
    lanes, core = "ternforge_i.accelerator.core.lanes", "ternforge_i.accelerator.core"
    units = attribute(module({
        "f": cell("SB_DFF", 33, D=[10], Q=[3]), "g": cell("SB_DFF", 34, D=[10], Q=[4]),
        "h": cell("SB_DFF", 22, D=[10], Q=[5]),
        "a": cell("SB_LUT4", I0=[3], O=[10]),  # read by two cells of the lanes and one of the core
        "b": cell("SB_LUT4", I0=[5], O=[11]),  # read by nothing; reads the core
        "c": cell("SB_LUT4", I0=[11], O=[12]),  # reads b
        f"{lanes}.lonely": cell("SB_LUT4", I0=[77], O=[78]),  # has nothing but its name
        "d": cell("SB_LUT4", I0=[9], O=[13]),  # drives a net that the core declares
    }, {f"{core}.sum": (25, [13])}))
    assert {name: units.of_cell[name] for name in "fghabcd"} == {
        "f": "core.lanes", "g": "core.lanes", "h": "core", "a": "core.lanes", "b": "core",
        "c": "core", "d": "core"}
    assert units.of_cell[f"{lanes}.lonely"] == "core.lanes"
    assert units.indirect == {"a", "b", "c"}


def test_a_table_waits_until_all_of_its_readers_are_placed():
    units = attribute(module({
        "f": cell("SB_DFF", 33, D=[11], Q=[3]), "g": cell("SB_DFF", 34, D=[12], Q=[4]),
        "h": cell("SB_DFF", 22, D=[10], Q=[5]),
        "a": cell("SB_LUT4", I0=[5], O=[10]),  # read by the core, and by two tables of the lanes
        "b": cell("SB_LUT4", I0=[10], O=[11]), "c": cell("SB_LUT4", I0=[10], O=[12])}))
    assert [units.of_cell[name] for name in "abc"] == ["core.lanes"] * 3


def test_of_several_copies_of_a_module_the_name_decides():
    spans = {"": (1, 9), "ternforge_i": (10, 19), "ternforge_i.one": (20, 29),
             "ternforge_i.two": (20, 29)}
    units = attribute(module({"ternforge_i.two.q_SB_DFF_Q": cell("SB_DFF", 22, D=[2], Q=[3])},
                             spans=spans))
    assert units.of_cell == {"ternforge_i.two.q_SB_DFF_Q": "two"}


def test_cells_that_nextpnr_renamed_are_found():
    name = "ternforge_i.accelerator.core.lanes.sum_SB_LUT4_O"
    units = attribute(module({name: cell("SB_LUT4", 21, I0=[2], O=[3])}))
    assert units.of_cell[name] == "core"
    assert [units.find(name + end) for end in ("", "_LC", "_DFFLC", "$nextpnr_CARRY", "_A_LC")] == (
        ["core"] * 5)
    assert units.find("ternforge_i.accelerator.core.lanes.other_DFFLC") == "core.lanes"
    assert units.find("$PACKER_GND") == "top"
