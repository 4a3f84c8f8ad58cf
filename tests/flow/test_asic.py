"""Gates of a design in a standard-cell library, counted against what was worked out by hand."""

import json

import pytest

from ternforge.errors import UserError
from ternforge_boards.asic import count_gates
from ternforge_boards.commands.gates import gates

TABLES = "".join(
    f'{name}(by_slew_and_load) {{ index_1("0.01, 1"); index_2("0.001, 0.1"); '
    'values("0.01, 0.1", "0.02, 0.2"); }\n'
    for name in ("cell_rise", "rise_transition", "cell_fall", "fall_transition"))

#: Area, function and unateness of the gates; ABC refuses a library of two kinds of them.
GATES = {"INV": (1, "!A", "negative"), "BUF": (3, "A", "positive"),
         "NAND2": (2, "!(A&B)", "negative"), "NOR2": (2, "!(A|B)", "negative"),
         "AND2": (4, "(A&B)", "positive")}


def gate(name: str) -> str:
    area, function, sense = GATES[name]
    inputs = [pin for pin in "AB" if pin in function]
    return f"cell({name}) {{ area : {area};\n" + "".join(
        f"pin({pin}) {{ direction : input; capacitance : 0.001; }}\n" for pin in inputs) + (
        f'pin(Y) {{ direction : output; max_capacitance : 0.1; function : "{function}";\n'
        + "".join(f'timing() {{ related_pin : "{pin}"; timing_sense : {sense}_unate;\n{TABLES}}}\n'
                  for pin in inputs) + "} }\n")


HEAD = """\
library(tiny) {
delay_model : table_lookup; time_unit : "1ns"; capacitive_load_unit(1, pf);
voltage_unit : "1V"; current_unit : "1mA"; default_max_transition : 1.0;
lu_table_template(by_slew_and_load) {
  variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
  index_1("0.01, 1"); index_2("0.001, 0.1"); }
"""
FLIP_FLOP = """\
cell(DFF) { area : 7;
  ff(IQ, IQN) { clocked_on : "C"; next_state : "D"; }
  pin(C) { direction : input; clock : true; capacitance : 0.001; }
  pin(D) { direction : input; capacitance : 0.001; }
  pin(Q) { direction : output; function : "IQ"; } }
"""
LIBRARY = HEAD + "".join(map(gate, GATES)) + FLIP_FLOP + "}\n"
DESIGN = """\
module unit(input clk, input a, input b, input [3:0] address, input [7:0] data, input write,
            output reg q, output reg [7:0] out);
  reg [7:0] words [0:15];
  always @(posedge clk) begin
    q <= ~(a & b);
    if (write) words[address] <= data;
  end
  always @* out = words[address];
endmodule
"""


@pytest.fixture
def liberty(tmp_path):
    path = tmp_path / "tiny.lib"
    path.write_text(LIBRARY)
    return path


def test_gates_and_memories_are_counted(liberty):
    found = count_gates(DESIGN, "unit", liberty)
    assert found.by_cell == {"NAND2": 1, "DFF": 1}
    assert (found.cells, found.area) == (2, 9)
    assert (found.memories, found.memory_bits) == (1, 128)


@pytest.mark.usefixtures("toy_cores")
def test_gates_of_a_core(liberty, capsys):
    gates("icebreaker", liberty, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["by_cell"]["DFF"] > 500
    assert told["cells"] == sum(told["by_cell"].values())
    areas = {**{name: area for name, (area, _, _) in GATES.items()}, "DFF": 7}
    assert told["area"] == sum(areas[name] * count for name, count in told["by_cell"].items())
    assert told["memories"] > 0


def test_a_library_without_flip_flop_is_refused(liberty):
    liberty.write_text(LIBRARY.replace(FLIP_FLOP, ""))
    with pytest.raises(UserError, match="D flip-flop"):
        count_gates(DESIGN, "unit", liberty)


@pytest.mark.parametrize(("text", "message"), [
    ("cells", "is not a Liberty file"), (None, "cannot read .*No such file")])
def test_what_is_no_library_is_refused(tmp_path, text, message):
    path = tmp_path / "x.lib"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        count_gates(DESIGN, "unit", path)
