"""Rules, the registry, and the registered figures themselves."""

import pytest

from bench.catalogue import FIGURES, MEASUREMENTS
from bench.engine import ROOT, measurement_keys
from bench.figures import Figure, Measurement, Reach, check_registry
from ternforge.errors import UserError


@pytest.mark.parametrize(("rule", "value", "reached"), [
    (">= 97", 97, True), (">= 97", 96.999, False), ("<= 12.5", 12.5, True),
    ("<= 12.5", 12.51, False), (">= -2", -1, True), (">= 97", None, False), ("", 5, None),
    ("", None, None),
])
def test_reach(rule, value, reached):
    assert Reach(rule).reached(value) is reached


@pytest.mark.parametrize("rule", ["97", "> 97", ">=97", ">= x", "<= 12.5 LUT", ">= 1e3", " >= 97"])
def test_other_rules_are_refused(rule):
    with pytest.raises(ValueError, match=r"^a figure's reach must be '>= NUMBER', '<= NUMBER' or "
                                         rf"'', not {rule!r}$"):
        Reach(rule)


def test_share_of_the_limit_is_larger_where_it_is_better():
    assert Reach(">= 50").share(100) == 2
    assert Reach("<= 50").share(100) == 0.5
    assert Reach("<= 50").share(0) is None
    assert Reach().share(3) is None


def measurement(name: str) -> Measurement:
    return Measurement(name=name, run=lambda seeds: {}, depends=("README.md",))


def figure(name: str, *of: str, checked: str = "") -> Figure:
    return Figure(name=name, title="", unit="", of=of, value=lambda *data: 0, checked=checked)


@pytest.mark.parametrize(("measurements", "figures", "message"), [
    ("aa", [], "the measurement 'a' is registered twice"),
    ("a", [figure("x", "a"), figure("x", "a")], "the figure 'x' is registered twice"),
    ("a", [figure("x y", "a")],
     "the name of a figure must be letters, digits, '-' and '.', not 'x y'"),
    ("a", [figure("x", "a", "b")], "the figure 'x' is of 'b', which is no measurement"),
    ("a", [figure("x", "a", checked="b")], "the figure 'x' is of 'b', which is no measurement"),
])
def test_registry_is_checked(measurements, figures, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        check_registry([measurement(name) for name in measurements], figures)


def test_measurements_depend_on_files_and_on_themselves():
    assert len(set(measurement_keys(MEASUREMENTS, [1]).values())) == len(MEASUREMENTS)
    for entry in MEASUREMENTS:
        module = getattr(entry.run, "func", entry.run).__module__
        source = f"{module.replace('.', '/')}.py"
        assert any(source.startswith(name) for name in entry.depends), entry.name
        assert (ROOT / source).is_file()


def test_each_measurement_has_a_figure():
    used = {name for entry in FIGURES for name in (*entry.of, entry.checked)}
    assert {entry.name for entry in MEASUREMENTS} <= used


def test_configurations_are_those_of_checked_tokens():
    """Whatever is not a peer replays tokens in the same run; an upload has none."""
    assert {entry.name for entry in FIGURES if not entry.checked} == {
        entry.name for entry in FIGURES if entry.group in ("peer", "upload")
        and not entry.name.endswith("token-speed-up")}
