"""What a worker makes of a point: cycles of the analytic model, and a real synthesis."""

import shutil
from dataclasses import replace

import pytest

from ternforge.errors import UserError
from ternforge.presets import MODELS, core_preset
from ternforge_boards.board import board
from ternforge_boards.report.value import Status
from ternforge_boards.sweep.counts import check_area
from ternforge_boards.sweep.evaluate import evaluate
from ternforge_boards.sweep.grid import make_grid
from ternforge_boards.sweep.models import packets_of, program_of
from ternforge_boards.sweep.plan import plan
from ternforge_boards.sweep.point import model_files, point_key
from ternforge_firmware.cycles import token_cycles
from ternforge_firmware.footprint import footprint


def one_point(**settings):
    [point] = plan(make_grid(settings, "the sweep")).points
    return point


@pytest.mark.parametrize(("model", "name"), MODELS.items())
def test_estimates_are_those_of_the_analytic_model(model, name):
    point = one_point(board=name, depth="estimate")
    result = evaluate(point)
    assert result.reason is None
    throughput = result.throughput
    assert throughput is not None
    cycles = int(token_cycles(packets_of(model, point.config), point.config).sum())
    assert throughput.cycles_per_token.value == cycles
    assert sum(one.cycles for one in throughput.causes) == cycles
    assert throughput.tokens_per_second.value == pytest.approx(point.core_mhz * 1e6 / cycles)
    assert throughput.tokens_per_second.status is Status.ESTIMATED
    weights = next(one.cycles for one in throughput.causes if one.cause == "weights")
    assert throughput.ideal_cycles_per_token.value == pytest.approx(weights, rel=0.01)
    assert throughput.bandwidth_share.value == pytest.approx(weights / cycles, rel=0.01)


def test_streams_add_up():
    one, two = (evaluate(one_point(board="icebreaker", depth="estimate", streams=streams))
                for streams in (1, 2))
    assert one.throughput
    assert two.throughput
    assert two.throughput.streams == 2
    summed, single = two.throughput.tokens_per_second_summed, two.throughput.tokens_per_second
    assert summed.value == pytest.approx(2 * (single.value or 0))
    assert (one.throughput.tokens_per_second.value or 0) < (summed.value or 0)


def test_a_memory_beside_the_fpga_bounds_a_wide_core():
    """A beat of 32 bytes needs eight cycles of an SDRAM that gives four bytes in each."""
    point = one_point(board="tang-nano-20k", lanes=32, depth="estimate")
    throughput = evaluate(point).throughput
    assert throughput is not None
    read = footprint(program_of(point.model), point.config).stream_bytes
    assert throughput.cycles_per_token.value == pytest.approx(read / 4)
    assert sum(one.cycles for one in throughput.causes) == pytest.approx(read / 4)


def test_keys_depend_on_point_and_model(toy_model, tmp_path):
    first = one_point(board="icebreaker", depth="estimate")
    keys = {point_key(point) for point in (
        first, first.model_copy(update={"seed": 5}), first.model_copy(update={"core_mhz": 31.0}),
        first.model_copy(update={"model": "shakespeare-85f"}),
        first.model_copy(update={"model": str(toy_model)}))}
    assert len(keys) == 5
    assert point_key(one_point(board="icebreaker", depth="estimate")) == point_key(first)
    copy = tmp_path / "toy"
    shutil.copytree(toy_model, copy)
    point = first.model_copy(update={"model": str(copy)})
    before = point_key(point)
    (copy / "tokenizer.json").write_text("{}")
    model_files.cache_clear()  # as in another run
    assert point_key(point) != before


@pytest.mark.usefixtures("toy_cores")
def test_a_point_is_synthesised(toy_model):
    """Yosys' counts of a real, tiny system; last, as the boards' cores are toys from here on."""
    point = one_point(board="icebreaker", model=str(toy_model), depth="synth")
    assert point.config == core_preset("icebreaker")
    result = evaluate(point)
    assert result.reason is None
    report = result.report
    assert report is not None
    area = report.area.total
    assert 1000 < area.lut < 5280
    assert 500 < area.ff < area.lut + 2000
    assert (area.spram, report.clocks, report.bitstream) == (1, (), None)
    assert result.met is None
    assert report.area.source.startswith("Yosys, before packing")
    assert report.evidence.checked_tokens == 0
    assert report.design.core["lanes"] == 2
    record = board("icebreaker")
    small = replace(record, resources=replace(record.resources, lut=5))
    with pytest.raises(UserError, match=f"^the design does not fit on icebreaker: it needs "
                                        f"{area.lut} lut of 5$"):
        check_area(area, small)
