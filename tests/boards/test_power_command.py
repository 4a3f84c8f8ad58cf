"""Power in ``ternforge report``, and the verbs of ``ternforge power``, called as functions."""

import json

import pytest

from ternforge.errors import UserError
from ternforge_boards.board import board
from ternforge_boards.commands import power as verbs
from ternforge_boards.commands.build import report as report_
from ternforge_boards.power.bitstreams import BITSTREAMS, write_bitstreams
from ternforge_boards.power.coefficients import read_toml
from ternforge_boards.report.schema import Area, AreaReport, Design, Evidence, Report, Throughput
from ternforge_boards.report.value import Status, Value
from ternforge_sim.commands import open_image


@pytest.fixture
def build(toy_cores, toy_model, tmp_path):
    """Folder with the image and the report of a build of the toy for the ULX3S."""
    def value(number: float, unit: str) -> Value:
        return Value(value=number, unit=unit, status=Status.SIMULATED, source="by hand")

    image = open_image("ulx3s-85f", str(toy_model), None)
    area = Area(lut=5000, ff=1000, block_ram=10, dsp=4)
    report = Report(
        name="toy", design=Design(
            board="ulx3s-85f", device="LFE5U-85F", family="ecp5", core={}, core_mhz=50.0,
            memory="block RAM", memory_bytes_per_second=1e6, design_hash="0", model=image.model,
            model_hash=image.model_hash, ternary_weights=5000),
        tool_versions={}, seed=1, seeds=(), clocks=(), bitstream=None,
        area=AreaReport(total=area, available=area, units=(), source="by hand"),
        throughput=Throughput(
            cycles_per_token=value(1000, "cycles"), ideal_cycles_per_token=value(900, "cycles"),
            causes=(), tokens_per_second=value(50e3, "tok/s"),
            tokens_per_second_summed=value(50e3, "tok/s"), bandwidth_share=value(0.5, "1")),
        evidence=Evidence(checked_tokens=1, bit_exact=True, of="by hand"))
    folder = tmp_path / "build"
    image.write(folder / "image.tfi")
    (folder / "report.json").write_text(report.model_dump_json())
    return folder


def test_report_has_power(build, capsys, tmp_path):
    out = tmp_path / "with-power.json"
    report_(build, idle=0.5, out=out, as_json=True)
    told = json.loads(capsys.readouterr().out)["power"]
    assert told["core"]["low"] < told["core"]["value"] < told["core"]["high"]
    assert told["energy"]["core_per_token"]["value"] == pytest.approx(
        told["core"]["value"] / 50e3)
    assert told["energy"]["core_per_mac"]["value"] == pytest.approx(
        told["core"]["value"] / 50e3 / 5000)
    assert told["board"]["low"] > 0.5
    written = Report.model_validate_json(out.read_bytes())
    assert written.power is not None
    assert written.power.model_dump(mode="json") == told
    report_(out)  # where no image is, an estimate is shown as it stands
    assert "estimated" in capsys.readouterr().out


def test_power_is_left_out_on_request_and_where_there_is_no_image(build, capsys):
    report_(build, power=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["power"] is None
    (build / "image.tfi").unlink()
    report_(build, as_json=True)
    assert json.loads(capsys.readouterr().out)["power"] is None
    with pytest.raises(UserError, match=r"image\.tfi"):
        report_(build, idle=0.5)


def test_table_with_power(build, capsys):
    report_(build)
    told = " ".join(capsys.readouterr().out.split())
    for part in ("static", "clock network", "core per mac", "unknown"):  # the idle board
        assert part in told


def test_other_image_is_refused(build, toy_model):
    file = build / "report.json"
    report = json.loads(file.read_text())
    report["design"]["model_hash"] = "of another"
    file.write_text(json.dumps(report))
    with pytest.raises(UserError, match="is not the one of its report: build again"):
        report_(build)


def test_calibration_writes_a_file_that_estimate_takes(build, tmp_path, capsys):
    measured, out = tmp_path / "measured.csv", tmp_path / "mine.toml"
    measured.write_text("bitstream,volts,milliamps\nblank,1.1,150\nclock,1.1,170\ntoggle,1.1,220\n")
    verbs.calibrate("ulx3s-85f", measured, out, as_json=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows["static_85k"]["value"] == pytest.approx(150000.0, rel=1e-3)
    assert read_toml(out).static("85k").figure == pytest.approx(150000.0, rel=1e-3)
    report_(build, coefficients=out, as_json=True)
    lines = {line["name"]: line["power"]
             for line in json.loads(capsys.readouterr().out)["power"]["lines"]}
    assert lines["static"]["value"] == pytest.approx(150e-3 * 1.1, rel=1e-3)


def test_bitstreams_are_built_with_the_ordinary_flow(tmp_path, monkeypatch):
    built = []

    def build(folder, record, out, *, top, progress):
        built.append((record.name, top, [path.name for path in folder.glob("*.v")]))
        out.write_bytes(b"bits")

    monkeypatch.setattr("ternforge_boards.power.bitstreams.build", build)
    files = write_bitstreams(board("icebreaker"), tmp_path / "power")
    assert built == [("icebreaker", f"power_{name}", [f"power_{name}.v"]) for name in BITSTREAMS]
    assert files == ["blank.bin", "clock.bin", "measurements.csv", "toggle.bin"]
    assert (tmp_path / "power" / "measurements.csv").read_text().splitlines() == [
        "bitstream,volts,milliamps", "blank,,", "clock,,", "toggle,,"]


def test_verbs_have_help():
    assert {command.name for command in verbs.power.registered_commands} == {
        "bitstreams", "calibrate", "published"}
    for command in verbs.power.registered_commands:
        assert command.epilog is not None
        assert command.epilog.startswith("Example: `ternforge power ")
