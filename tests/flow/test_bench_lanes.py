"""The bench of the lanes: what it records, and the figures that the decision record states."""

import importlib.util
from pathlib import Path

import pytest

from ternforge.errors import UserError

PATH = Path(__file__).parents[2] / "bench" / "lanes.py"
spec = importlib.util.spec_from_file_location("bench_lanes", PATH)
assert spec is not None
assert spec.loader is not None
lanes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lanes)


def test_record_of_a_small_unit():
    record = lanes.measure("ecp5", "ecp5", 10, (1,), bits="2")
    assert (record["kind"], record["family"], record["macs"]) == ("ecp5", "ecp5", 10)
    assert record["lut_per_mac"] == record["lut"] / 10
    # five adders of 9 bits, two of 10, two of 11 and one of 12, each with a head
    assert 101 <= record["lut"] <= 112
    # masked codes, signs, tags, sums: 10 * 9 + 4 * 5 + 9 * 5 + ...
    assert 170 <= record["ff"] <= 230
    assert record["latency"] == 5
    assert list(record["fmax_of_seeds"]) == [1]


def test_record_of_tables_has_what_fills_them():
    record = lanes.measure("table", "ecp5", 10, (1,))
    assert (record["tree_levels"], record["latency"]) == (1, 2)
    assert (record["elements"], record["max_fan_in"]) == (1, 2816)
    # two tables, the vector (2816 codes of 8 bits), codes of a tile, the walk
    assert record["block_ram"] == 2 + 2 + 1 + 1
    # one adder that fills, of 11 bits and a head, and the last one; counters
    assert 14 + 12 + 40 <= record["lut"] <= 14 + 14 + 180


@pytest.mark.parametrize(("point", "told"), [
    (("ecp5", "ecp5", 12, "2"), "the products per cycle must be a positive multiple of 10, not 12"),
    (("ecp", "ecp5", 10, "2"), "unknown kind of lanes 'ecp': did you mean 'ecp5'?"),
    (("ecp5", "ecp", 10, "2"), "unknown family 'ecp': did you mean 'ecp5'?"),
    (("table", "ecp5", 10, "2"),
     "the lanes table have no code of 2 bits: a byte addresses a table"),
    (("ecp5", "ecp5", 10, "3"), "unknown number of bits '3': choose from 1.6, 2"),
], ids=lambda value: "" if isinstance(value, str) else "-".join(map(str, value)))
def test_bad_points_are_refused(point, told):
    kind, family, macs, bits = point
    with pytest.raises(UserError) as caught:
        lanes.measure(kind, family, macs, (1,), bits=bits)
    assert str(caught.value) == told


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind", "macs", "bits", "most", "least"), [
    ("ecp5", "ecp5", 70, "2", 12.5, 180), ("ecp5", "ecp5", 70, "1.6", 15.5, 180),
    ("ice40", "portable", 40, "1.6", 24, 42)])
def test_lanes_reach_their_figures(family, kind, macs, bits, most, least):
    record = lanes.measure(kind, family, macs, range(1, 6), bits=bits)
    assert record["lut_per_mac"] <= most
    assert record["fmax_mhz"] >= least
