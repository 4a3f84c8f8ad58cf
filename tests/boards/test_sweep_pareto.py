"""Fronts, best points, and how a sweep is shown, on cases worked out by hand."""

import csv
import io

import pytest
from rich.console import Console

from ternforge.errors import UserError
from ternforge_boards.sweep.page import best_reports, page_points, write_sweep_page
from ternforge_boards.sweep.pareto import best, front, pareto
from ternforge_boards.sweep.plan import Plan
from ternforge_boards.sweep.plot import plot_pareto
from ternforge_boards.sweep.point import Result
from ternforge_boards.sweep.show import as_csv, as_data, print_sweep

from .sweep_points import estimated, points, routed

#: Speed, LUT, watts and Fmax; at 30 MHz the last misses its clock.
FIGURES = [(100, 1000, 0.02, 31), (200, 1500, 0.05, 31), (150, 1500, 0.01, 31),
           (200, 1200, 0.05, 31), (90, 1000, 0.02, 31), (900, 500, 0.001, 29)]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [routed(point, *figures) for point, figures in zip(points(6), FIGURES, strict=True)]


@pytest.mark.parametrize(("costs", "expected"), [
    ([(1, 1)], [True]),
    ([(1, 1), (2, 2)], [True, True]),
    ([(1, 2), (2, 1)], [True, False]),
    ([(1, 2), (1, 1)], [True, False]),  # as cheap, slower
    ([(2, 1), (1, 1)], [False, True]),  # as fast, dearer
    ([(1, 1), (1, 1)], [True, True]),
    ([(3, 5), (1, 1), (2, 4), (3, 4), (5, 5)], [True, True, True, False, False]),
    ([], []),
])
def test_front(costs, expected):
    assert front(costs) == expected


def test_pareto_of_area_and_power(results):
    found = pareto(results)
    assert [one.area_front for one in found] == [True, False, False, True, False, False]
    assert [one.power_front for one in found] == [False, True, True, True, False, False]
    assert [one.met for one in found] == [True] * 5 + [False]


def test_models_have_fronts_of_their_own(results):
    point = results[4].point.model_copy(update={"model": "another"})
    other = routed(point, 90, 1000, 0.02)
    assert [one.area_front for one in pareto([results[0], other])] == [True, True]


def test_best_points_are_named(results):
    found = {one.what: (one.name[-6:], one.value, one.unit) for one in best(pareto(results))}
    assert found == {
        "fastest": ("seed 1", 200, "tok/s"), "smallest": ("seed 0", 1000, "LUT"),
        "most tok/s per LUT": ("seed 3", pytest.approx(200 / 1200), "tok/s/LUT"),
        "most tok/s per watt": ("seed 2", 15000, "tok/s/W")}


def test_estimates_have_speed_alone():
    [result] = [estimated(point) for point in points(1, depth="estimate")]
    [found] = pareto([result])
    assert (found.lut, found.watts, found.met, found.area_front) == (None, None, None, False)
    assert [one.what for one in best([found])] == ["fastest"]


def test_the_plot_is_the_same_each_time(results, tmp_path):
    for name in ("a.svg", "b.svg"):
        plot_pareto(tmp_path / name, pareto(results))
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for part in ("LUT4", "W, core of the FPGA", "icebreaker, shakespeare-up5k", "tokens/s"):
        assert part in text


def test_without_area_there_is_nothing_to_plot(tmp_path):
    candidates = pareto([estimated(point) for point in points(1, depth="estimate")])
    with pytest.raises(UserError, match="there is nothing to plot"):
        plot_pareto(tmp_path / "a.svg", candidates)


def test_csv_has_a_line_per_point_and_the_reason_last(results):
    failed = Result(point=points(7)[6], reason="the design does not fit, by far")
    rows = list(csv.DictReader(io.StringIO(as_csv([*results, failed]))))
    assert [row["tokens_per_second"] for row in rows] == [
        "100.0", "200.0", "150.0", "200.0", "90.0", "900.0", ""]
    assert [row["met"] for row in rows] == ["True"] * 5 + ["False", ""]
    assert list(rows[0])[-1] == "reason"
    assert rows[6]["reason"] == "the design does not fit, by far"


def test_the_table_marks_what_failed_and_what_misses_timing(results):
    failed = Result(point=points(7)[6], reason="the design does not fit")
    console = Console(width=100)
    with console.capture() as capture:
        print_sweep(Plan(points=(), excluded=(), notes=()), [*results, failed], console)
    lines = capture.get().splitlines()
    seeds = {line.split("seed ")[1][0]: line for line in lines if "seed " in line and "│" in line}
    assert "misses timing" in seeds["5"]
    assert "failed" in seeds["6"]
    assert "*" in seeds["0"]
    assert "*" not in seeds["1"]
    assert "icebreaker 30 MHz seed 6: the design does not fit" in lines


def test_data_holds_all(results):
    data = as_data(Plan(points=(), excluded=(), notes=("a",)), results, 3, 1.234)
    assert data["worked_on"] == 3
    assert len(data["points"]) == len(data["candidates"]) == 6
    assert Result.model_validate(data["points"][0]) == results[0]


def test_page_has_every_point_and_the_best_builds(results, tmp_path):
    failed = Result(point=points(7)[6], reason="the design does not fit")
    shown = page_points([failed, *results])
    assert [point.reason for point in shown] == ["the design does not fit"] + [""] * 6
    assert [point.area_front for point in shown[1:]] == [one.area_front for one in pareto(results)]
    assert [point.power and point.power.value for point in shown[1:]] == [
        figures[2] for figures in FIGURES]
    assert [one.name[-6:] for one in best_reports([failed, *results])] == [
        "seed 0", "seed 1", "seed 2", "seed 3"]
    write_sweep_page(tmp_path / "p.html", [failed, *results])
    text = (tmp_path / "p.html").read_text()
    assert all(result.point.name in text for result in results)
    assert "the design does not fit" in text
