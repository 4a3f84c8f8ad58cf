"""Coefficients from readings of the three bitstreams."""

import json

import pytest

from ternforge.errors import UserError
from ternforge_boards.board import board
from ternforge_boards.power.bitstreams import BITSTREAMS, array_size, bitstream_verilog, terms
from ternforge_boards.power.calibrate import Reading, calibrate, read_measurements, to_toml
from ternforge_boards.power.coefficients import Basis, coefficients_of, read_toml
from ternforge_boards.power.designs import netlist_of
from ternforge_boards.power.simulator import GateSimulator

VOLTS = 1.2


def readings(record, static: float, clock: float, sink: float, noise=(0.0,)) -> list[Reading]:
    """Currents that these coefficients (A, J, J) would give, each with relative errors."""
    values = {"static": static, "clock": clock / VOLTS, "sink": sink / VOLTS}
    return [Reading(bitstream=name, volts=VOLTS, milliamps=(1 + error) * 1e3 * sum(
        values[term] * count for term, count in terms(name, record).items()))
        for name in BITSTREAMS for error in noise]


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-85f"])
def test_recovers_what_the_readings_were_made_of(name):
    record = board(name)
    before = coefficients_of(record)
    found = calibrate(record, readings(record, 3e-3, 400e-12, 0.3e-12), before)
    assert found.static(record.device).value == pytest.approx(3000.0)
    cycle = found["clock"].figure + array_size(record) * found["flip_flop_clock"].figure
    assert cycle == pytest.approx(400.0, rel=1e-5)  # rows have six digits
    assert (found["clock"].figure / found["flip_flop_clock"].figure == pytest.approx(
        before["clock"].figure / before["flip_flop_clock"].figure, rel=1e-4))
    assert found["sink"].value == pytest.approx(0.3)
    assert found["sink"].status is Basis.MEASURED
    assert found.volts == pytest.approx(VOLTS)
    assert found["dsp"] == before["dsp"]


def test_gowin_gets_what_was_unknown():
    record = board("tang-nano-20k")
    found = calibrate(record, readings(record, 30e-3, 200e-12, 0.2e-12), coefficients_of(record))
    assert found["static"].value == pytest.approx(30000.0)
    assert found["clock"].value == pytest.approx(200.0)
    assert found["flip_flop_clock"].value == 0.0


def test_scatter_becomes_uncertainty():
    record = board("icebreaker")
    found = calibrate(record, readings(record, 100e-6, 60e-12, 0.15e-12, (-0.08, 0.08)),
                      coefficients_of(record))
    assert found.static("up5k").uncertainty == pytest.approx(0.087, abs=0.01)
    assert found.static("up5k").value == pytest.approx(100.0, rel=0.02)


def test_currents_that_shrink_are_refused():
    wrong = [Reading(bitstream=name, volts=1.2, milliamps=current)
             for name, current in (("blank", 3.0), ("clock", 2.0), ("toggle", 1.0))]
    with pytest.raises(UserError, match="must grow from the bitstream blank to clock to toggle: "
                                        "measured were 3, 2, 1 mA"):
        calibrate(board("icebreaker"), wrong, coefficients_of(board("icebreaker")))


def test_file_is_read_back(tmp_path):
    record = board("icebreaker")
    found = calibrate(record, readings(record, 1e-4, 60e-12, 0.2e-12), coefficients_of(record))
    file = tmp_path / "mine.toml"
    file.write_text(to_toml(found))
    assert read_toml(file) == found
    unknown = coefficients_of(board("tang-nano-20k"))
    file.write_text(to_toml(unknown))
    assert read_toml(file) == unknown


GOOD = "bitstream,volts,milliamps\nblank,1.2,0.1\nclock,1.2,0.7\ntoggle,1.2,4\n"


@pytest.mark.parametrize(("content", "message"), [
    (GOOD.replace("volts", "V"), "line 2 .* must have the columns bitstream,volts,milliamps"),
    (GOOD.replace("clock,1.2,0.7\n", ""), "must have each of the bitstreams .*clock is missing"),
    (GOOD.replace("clock", "clocks"), "unknown bitstream in line 3 .*did you mean 'clock'"),
    (GOOD.replace("0.7", "much"), "milliamps in line 3 .* must be a number, not 'much'"),
    (GOOD.replace("0.7", "-1"), "milliamps in line 3 .* must be positive, not -1"),
    (GOOD.replace("0.7", "nan"), "milliamps in line 3 .* must be positive, not nan"),
    (GOOD.replace("1.2,0.7", "0.7"), "line 3 .* must have the columns"),
    ("", "must have each of the bitstreams"),
])
def test_bad_measurements_are_refused(content, message, tmp_path):
    file = tmp_path / "measured.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_measurements(file)


def test_measurements_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_measurements(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="must be CSV"):
        read_measurements(tmp_path / "binary.csv")


def test_good_measurements(tmp_path):
    file = tmp_path / "measured.csv"
    file.write_text(GOOD + "blank,1.21,0.12\n")
    assert [(r.bitstream, r.volts, r.milliamps) for r in read_measurements(file)] == [
        ("blank", 1.2, 0.1), ("clock", 1.2, 0.7), ("toggle", 1.2, 4.0), ("blank", 1.21, 0.12)]


def test_gates_of_the_bitstreams_move_as_their_terms_say():
    """Synthesised and simulated: none in `clock`, one toggle per flip-flop in `toggle`."""
    record = board("icebreaker")
    for name, wanted in (("clock", 0.0), ("toggle", terms("toggle", record)["sink"] / 12e6)):
        text = bitstream_verilog(name, record).replace(f"power_{name}", "published")
        netlist = netlist_of(text)
        gates = GateSimulator(netlist, high=(netlist.names["uart_rx"],))
        gates.run(array_size(record) + 8)
        gates.count(True)
        gates.run(16)
        found = gates.counts().sink_toggles / 16
        assert netlist.counts["ff"] == array_size(record) + (name == "toggle")
        # the first flip-flop of `toggle` leads to its own table too
        assert found == pytest.approx(wanted, abs=1.01), json.dumps(netlist.counts)
