"""Measurements are kept by content; what fails is a row."""

from functools import partial
from typing import Any

import pytest

from bench.engine import Run, measurement_keys
from bench.figures import Figure, Measurement, Reach
from ternforge.errors import UserError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A repository of one file, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.py").write_text("first")
    return tmp_path


class Meter:
    """A measurement that counts how often it runs; an exception among its values is raised."""

    def __init__(self, *values, name="m", **options):
        self.calls, self.values = 0, values
        self.entry = Measurement(name=name, run=self, depends=("source",), **options)

    def __call__(self, seeds):
        value = self.values[min(self.calls, len(self.values) - 1)]
        self.calls += 1
        if isinstance(value, BaseException):
            raise value
        return {"value": value, "seeds": list(seeds)}


def figure(*of, value=lambda *data: sum(one["value"] for one in data), **options):
    return Figure(name="group.figure", title="a figure", unit="MHz", of=of or ("m",), value=value,
                  **options)


def run(root, *meters, **options):
    return Run([meter.entry for meter in meters], root=root, **options)


def test_row_of_a_figure(root):
    row = run(root, Meter(98.5)).row(figure(reach=Reach(">= 97")))
    assert vars(row) == {
        "name": "group.figure", "group": "group", "title": "a figure", "value": 98.5,
        "unit": "MHz", "reach": ">= 97", "reached": True,
        "command": "python -m bench --only group.figure", "reason": ""}


def test_quick_run_and_own_command_stand_in_the_row(root):
    row = run(root, Meter(1), quick=True).row(figure())
    assert row.command == "python -m bench --only group.figure --quick"
    assert run(root, Meter(1)).row(figure(command="make x")).command == "make x"


def test_figure_of_two_measurements(root):
    a, b = Meter(3, name="a"), Meter(4, name="b")
    assert run(root, a, b).row(figure("a", "b")).value == 7


def test_one_measurement_serves_many_figures(root):
    meter = Meter(1, 2)
    both = run(root, meter)
    assert [both.row(figure()).value, both.row(figure()).value, meter.calls] == [1, 1, 1]


@pytest.mark.parametrize(("error", "reason"), [
    (UserError("the tool x is\n not installed"), "m: the tool x is not installed"),
    (ZeroDivisionError("division by zero"), "m: ZeroDivisionError: division by zero"),
    (RuntimeError(), "m: RuntimeError: no reason given"),
])
def test_failed_measurement_is_a_row_and_the_run_goes_on(root, error, reason):
    broken, sound = Meter(error), Meter(5, name="other")
    both = run(root, broken, sound)
    row = both.row(figure(reach=Reach(">= 1")))
    assert (row.value, row.reached, row.reason) == (None, False, reason)
    assert both.row(figure()).reason == reason
    assert broken.calls == 1
    assert both.row(figure("other")).value == 5


@pytest.mark.parametrize(("value", "reason"), [
    (lambda data: data["missing"], "KeyError: 'missing'"),
    (lambda data: float("nan"), "the value is not a finite number"),
    (lambda data: 1 / 0, "ZeroDivisionError: division by zero"),
])
def test_figure_that_cannot_be_calculated_is_a_row(root, value, reason):
    row = run(root, Meter(1)).row(figure(value=value))
    assert (row.value, row.reason) == (None, reason)


class Tokens(Meter):
    def __call__(self, seeds):
        return {**super().__call__(seeds)["value"]}


@pytest.mark.parametrize("tokens", [
    {"bit_exact": False, "checked_tokens": 1}, {"bit_exact": True, "checked_tokens": 0}, {}])
def test_figure_of_an_unproven_configuration_is_refused(root, tokens):
    row = run(root, Meter(1), Tokens(tokens, name="t")).row(
        figure(checked="t", reach=Reach(">= 0")))
    assert (row.value, row.reached) == (None, False)
    assert row.reason == "t: not one token was as the integer model's"
    proven = Tokens({"bit_exact": True, "checked_tokens": 1}, name="p")
    assert run(root, Meter(1), proven).row(figure(checked="p")).value == 1


def test_later_run_takes_what_an_earlier_one_measured(root):
    meter = Meter(1, 2)
    first = run(root, meter)
    assert first.row(figure()).value == 1
    later = run(root, meter)
    assert later.row(figure()).value == 1
    assert (meter.calls, later.taken, later.seconds) == (1, set(), first.seconds)
    assert first.taken == {"m"}


def test_stopped_run_is_resumed(root):
    done, stopped = Meter(1, name="a"), Meter(KeyboardInterrupt(), 2, name="b")
    both = run(root, done, stopped)
    both.row(figure("a"))
    with pytest.raises(KeyboardInterrupt):
        both.row(figure("b"))
    again = run(root, done, stopped)
    assert [again.row(figure("a")).value, again.row(figure("b")).value] == [1, 2]
    assert (done.calls, stopped.calls) == (1, 2)


def test_failure_is_not_kept(root):
    meter = Meter(RuntimeError("disk full"), 2)
    assert run(root, meter).row(figure()).value is None
    assert run(root, meter).row(figure()).value == 2


def test_changed_source_is_measured_again(root):
    meter = Meter(1, 2, 3)
    run(root, meter).row(figure())
    (root / "source" / "a.py").write_text("second")
    assert run(root, meter).row(figure()).value == 2
    (root / "source" / "__pycache__").mkdir()
    (root / "source" / "__pycache__" / "a.pyc").write_text("compiled")
    assert run(root, meter).row(figure()).value == 2
    (root / "source" / "a.py").rename(root / "source" / "b.py")
    assert run(root, meter).row(figure()).value == 3


def test_source_that_changes_during_a_run_is_not_taken_for_what_was_measured(root):
    meter = Meter(1, 2)
    loaded = run(root, meter)
    (root / "source" / "a.py").write_text("edited")
    assert loaded.row(figure()).value == 1
    assert run(root, meter).row(figure()).value == 2


def test_seeds_count_where_they_are_used(root):
    plain, seeded = Meter(1, 2), Meter(1, 2, name="s", seeded=True)
    for seeds in ((1,), (1, 2)):
        found = run(root, plain, seeded, seeds=seeds)
        found.row(figure("m", "s"))
    assert (plain.calls, seeded.calls) == (1, 2)
    assert found.data["s"]["seeds"] == [1, 2]


def test_speeds_are_never_kept_and_fresh_runs_measure_all(root):
    speed, kept = Meter(1, 2, 3, kept=False), Meter(1, 2, 3, name="k")
    for fresh in (False, False, True):
        found = run(root, speed, kept, fresh=fresh)
        found.row(figure("m", "k"))
    assert (speed.calls, kept.calls) == (3, 2)
    assert run(root, kept).row(figure("k")).value == 2


def test_measurement_must_depend_on_something(root):
    entry = Measurement(name="m", run=Meter(1), depends=("no-such",))
    with pytest.raises(ValueError, match=r"^a measurement must depend on files that exist, not "
                                         r"'no-such'$"):
        measurement_keys([entry], [1], root)


def test_several_are_measured_side_by_side_and_speeds_are_not(root):
    # Spawned processes find what they run by its name, so nothing of this file.
    runs: dict[str, Any] = {"q": partial(dict, value=5), "b": partial(int, base=2)}
    quick, broken = (Measurement(name=name, run=run, depends=("source",))
                     for name, run in runs.items())
    speed = Meter(7, name="s", kept=False)
    told = []
    for fresh in (False, False, True):
        both = Run([quick, broken, speed.entry], root=root, seeds=(), progress=told.append,
                   fresh=fresh)
        both.measure_side_by_side(["q", "b", "q", "s"], 2)
        assert speed.calls == 0
        assert both.measure("q") == {"value": 5}
        assert both.measure("b") is None
        assert both.errors["b"].startswith("TypeError: ")
    assert sorted(told) == ["b", "b", "b", "q", "q"]
