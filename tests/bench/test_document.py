"""Tables in a document replace those of an earlier run, and nothing else."""

import pytest

from bench.document import TABLES, update
from bench.engine import ROOT
from bench.figures import Row
from bench.peers.compare import RECORDED
from ternforge.errors import UserError

TEXT = """# Title
<!-- bench: figures -->
| an earlier table |
<!-- end -->
Text between.
<!-- bench: lanes -->
<!-- end -->
"""
UNIT = {"lut": 800, "ff": 10, "block_ram": 1, "dsp": 0, "fmax_mhz": 100.0}


def row(name: str, **values) -> Row:
    return Row(**{"name": name, "group": "g", "title": f"title of {name}", "value": 3.5,
                  "unit": "MHz", "reach": ">= 3", "reached": True, "command": f"make {name}",
                  "reason": "", **values})


ROWS = [row("a"), row("b", reach=""), row("c", reached=False),
        row("d", value=None, reached=False, reason="no tool")]


def test_tables_are_replaced(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(TEXT)
    data = {"lanes.ecp5-ddr-n16": UNIT,
            "peer.alkaid.ecp5": {**UNIT, "mac_per_cycle": 160, "lut": 400}}
    for _ in range(2):
        update(path, ROWS, data)
    told = path.read_text()
    assert told.startswith("""# Title
<!-- bench: figures -->
| what | reach | value |  | command |
| --- | --- | --- | --- | --- |
| title of a | >= 3 | 3.5 MHz | reached | `make a` |
| title of c | >= 3 | 3.5 MHz | not reached | `make c` |
| title of d | >= 3 |  | failed: no tool | `make d` |
<!-- end -->
Text between.
<!-- bench: lanes -->
""")
    lines = told.splitlines()
    assert ("| ternforge lanes, ddr-n16 | ecp5 | 80 | 800 | 0 | 10 | 100 | 10 | 1 | 1 | measured |"
            in lines)
    assert ("| alkaid adder graph, weights wired in | ecp5 | 160 | 400 | 0 | 2.5 | 100 | 40 | 0.25 "
            "| 0.25 | measured |") in lines
    assert told.count("| recorded; ") == sum(one["status"] == "recorded" for one in RECORDED)
    assert told.endswith("<!-- end -->\n")


def test_table_of_large_parts(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("<!-- bench: area -->\n<!-- end -->\n")
    update(path, ROWS, {"area.core-xcup-ddr-n64": {
        "lut": 9000, "ff": 8000.0, "block_ram": 69.5, "dsp": 20, "synthesis_only": True}})
    assert path.read_text() == """<!-- bench: area -->
| unit | core | part | LUT | FF | block RAM | DSP |
| --- | --- | --- | --- | --- | --- | --- |
| core | ddr-n64 | xcup | 9,000 | 8,000 | 69.5 | 20 |
<!-- end -->
"""


def test_table_of_cores_and_streams(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("<!-- bench: parallel -->\n<!-- end -->\n")
    gain = row("prefill.370m.speed-up", value=13.25)
    update(path, [*ROWS, gain], {"prefill.370m": {
        "cores": 1, "streams": 12, "lanes": 16, "pass_cycles": [4000, 4400, 4400], "share": 0.97}})
    assert path.read_text() == """<!-- bench: parallel -->
| shape and core | cores | streams | bytes in a beat | cycles per pass | share | against one |
| --- | --- | --- | --- | --- | --- | --- |
| 370m on ddr-n16-prefill | 1 | 12 | 16 | 4,000 / 4,400 | 97.00% | 13.25 x |
<!-- end -->
"""


@pytest.mark.parametrize(("text", "message"), [
    ("no place\n", (r"must have a place for a table, such as '<!-- bench: figures -->' and "
                    r"'<!-- end -->' on lines of their own$")),
    ("<!-- bench: x -->\n<!-- end -->\n",
     (r"^a table of .* must be one of figures, parallel, lanes, units, area, tokens, published, "
      r"not 'x'$")),
])
def test_documents_without_a_place_are_refused(tmp_path, text, message):
    path = tmp_path / "a.md"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        update(path, ROWS, {})
    assert path.read_text() == text


def test_the_manual_holds_every_table():
    text = (ROOT / "docs" / "performance.md").read_text()
    assert [text.count(f"<!-- bench: {name} -->\n") for name in TABLES] == [1] * len(TABLES)
