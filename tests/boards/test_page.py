import base64
import hashlib
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import BaseModel

from ternforge.errors import UserError
from ternforge_boards.page import render_page, write_page
from ternforge_boards.page.charts.cycles import cycle_bars
from ternforge_boards.page.charts.roofline import roof
from ternforge_boards.page.charts.timing import path_bars
from ternforge_boards.page.charts.treemap import treemap
from ternforge_boards.page.scale import linear, logarithmic
from ternforge_boards.page.screenshot import screenshots
from ternforge_boards.page.sections.comparison import comparison_table
from ternforge_boards.page.svg import tag
from ternforge_boards.report.compare import Comparison, Row
from ternforge_boards.report.schema import Area, Report
from ternforge_boards.report.text import figure, number, percent, span
from ternforge_boards.report.value import Status, Value
from tests.boards.report_fixture import (
    HOSTILE,
    comparison,
    ecp5_report,
    hostile_report,
    ice40_report,
    points,
)

LARGEST = 5 << 20  #: bytes of a page


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text outside of style and script."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.open.remove(tag)

    def handle_data(self, data):
        if not self.open:
            self.text += data


@pytest.fixture(scope="module")
def page():
    builds = [ice40_report(), ecp5_report()]
    return render_page(builds, comparison=comparison(*builds), points=points(), title="two boards")


def test_page_is_one_file_below_its_limit(tmp_path, page):
    many = [ice40_report(), ecp5_report()] * 6
    path = write_page(tmp_path / "new" / "page.html", many, comparison=comparison(*many),
                      points=points() * 20)
    assert len(page.encode()) < path.stat().st_size < LARGEST
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]


def test_page_asks_for_no_other_file(page):
    elements = Elements(page).found
    assert not [tag for tag, _ in elements if tag in
                ("link", "img", "iframe", "object", "embed", "base", "audio", "video", "image")]
    assert not [attributes for tag, attributes in elements if "src" in attributes]
    outside = {value for tag, attributes in elements for name, value in attributes.items()
               if name in ("href", "xlink:href", "action", "data") and value
               and not value.startswith("#")}
    assert outside == {"https://example.org/paper"}, "only citations lead out of the page"
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert not re.search(r"url\(|@import", style[1])
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    assert not re.search(r"fetch|XMLHttpRequest|import|innerHTML|eval", script[1])


def test_every_section_is_there_and_named(page):
    found = Elements(page).found
    sections = [attributes for tag, attributes in found if tag == "section"]
    ids = [attributes["id"] for attributes in sections]
    assert ids == ["summary", "comparison", "cycles", "roofline", "area", "timing", "power",
                   "sweep", "provenance"]
    every = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(every) == len(set(every))
    assert all(attributes["aria-labelledby"] in every for attributes in sections)
    charts = [attributes for tag, attributes in found
              if tag == "svg" and "chart" in (attributes.get("class") or "")]
    assert charts
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    tables = [tag for tag, _ in found if tag == "table"]
    assert len(tables) == len([tag for tag, _ in found if tag == "caption"])


def test_sections_without_data_are_left_out():
    ids = [attributes["id"] for tag, attributes in Elements(render_page([], points=points())).found
           if tag == "section"]
    assert ids == ["sweep"]
    bare = ice40_report(power=None, clocks=())
    ids = [attributes["id"] for tag, attributes in Elements(render_page([bare])).found
           if tag == "section"]
    assert ids == ["summary", "cycles", "roofline", "area", "provenance"]


def test_an_empty_page_is_refused():
    with pytest.raises(UserError, match=r"^a page must show at least one report, a comparison or "
                                        r"a sweep$"):
        render_page([])


def test_names_from_files_cannot_become_elements():
    row = Row(name=HOSTILE, cells=(HOSTILE,), marks=(HOSTILE,), citation=HOSTILE,
                      href="javascript:alert(1)")
    hostile = [point.__class__(name=HOSTILE, group=HOSTILE, reason=HOSTILE) for point in points()]
    page = render_page([hostile_report()], comparison=Comparison(columns=(HOSTILE,), rows=(row,)),
                       points=hostile, title=HOSTILE)
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert not [tag for tag, _ in elements.found if tag == "img"]
    assert not [attributes for _, attributes in elements.found if "onerror" in attributes]
    assert "javascript:" not in page
    assert elements.text.count(HOSTILE) > 30
    assert "49" not in re.findall(r"\{?49\}?", elements.text)


def test_the_script_is_the_one_that_the_policy_allows(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in (
        page.replace("&#39;", "'"))


def test_ranges_and_refusals_are_shown(page):
    text = Elements(page).text
    assert "6.98 μJ" in text
    assert "5.67 to 8.60 μJ" in text
    assert "not given: regulators and USB bridge are not known; measure the idle board" in text
    assert "needs 6,900 LUT4; the iCE40UP5K has 5,280" in text
    assert "misses 62.5 MHz" in text


def test_a_comparison_keeps_what_is_not_like_for_like():
    table = comparison_table(comparison(ice40_report()))
    assert table is not None
    assert [column.title for column in table.columns] == [
        "system", "tok/s of a stream", "tok/s summed", "power"]
    by_name = {row[0].text: row for row in table.rows}
    published = by_name["a published system"]
    [note] = [table.notes[n - 1] for n in published[0].marks]
    assert note.text == "embedding and head run on the host; summed over 48 streams"
    assert published[0].status is Status.PUBLISHED
    assert [cell.text for cell in published[1:]] == ["77.3", "3,712", "53 W"]
    mixed = by_name["shakespeare-up5k on icebreaker"]
    assert [cell.status for cell in mixed] == [
        None, Status.SIMULATED, Status.SIMULATED, Status.ESTIMATED]


def test_a_refused_figure_of_a_comparison_is_in_the_note():
    unknown = Value(value=None, unit="W", status=Status.PUBLISHED, source="not in the abstract")
    table = comparison_table(Comparison(columns=("power", "of"), rows=(
        Row(name="x", cells=(unknown, "")),)))
    assert table is not None
    assert table.rows[0][1].text == "not given"
    assert [note.text for note in table.notes] == ["power: not in the abstract"]


@pytest.mark.parametrize(("value", "unit", "text"), [
    (24_187.4, "tok/s", "24,187 tok/s"), (91.823, "MHz", "91.8 MHz"), (6.1e-6, "J", "6.10 μJ"),
    (9.9996e-4, "W", "1.00 mW"), (999.6e-6, "W", "1.00 mW"), (0, "W", "0 W"),
    (5.3e9, "MAC/s", "5.30 GMAC/s"), (250e6, "B/s", "250 MB/s"),
    (18_689, "cycles", "18,689 cycles"), (0.8333, "1", "83.3 %"), (1, "1", "100 %"),
    (6.6e-11, "J", "66 pJ"), (9.996, "MHz", "10.0 MHz")])
def test_figures(value, unit, text):
    assert figure(value, unit) == text


def test_ranges_share_a_prefix():
    value = Value(value=2e-3, low=0.9e-3, high=1.2, unit="W", status=Status.ESTIMATED, source="x")
    assert span(value) == "0.900 to 1,200 mW"
    assert span(Value(value=1, unit="W", status=Status.ESTIMATED, source="x")) == ""
    assert number(176_398, rough=True) == "176,000"
    assert percent(0.118) == "11.8 %"


def test_scales_hold_their_values():
    for values in ([3], [0.1, 7.3], [1e-12, 5e9], [5, 5], [0.2, 1]):
        for scale in (linear(values, 10, 110), logarithmic(values, 10, 110)):
            assert all(10 <= scale(value) <= 110 for value in values)
            assert scale.low <= min(values) <= max(values) <= scale.high
            assert 2 <= len(scale.ticks) <= 24
    assert linear([8.3], 0, 1).ticks == (0, 2, 4, 6, 8, 10)
    assert logarithmic([0.3, 40], 0, 1)(40) > logarithmic([0.3, 40], 0, 1)(0.3)


def test_attributes_are_escaped():
    assert tag("text", "<b>", aria_label='"x"', rx=2.50, fill=None) == (
        '<text aria-label="&#34;x&#34;" rx="2.5">&lt;b&gt;</text>')


def rectangles(drawing: str, name: str) -> list[tuple[float, float]]:
    """Widths and heights of the rectangles whose class begins with ``name``."""
    found = []
    for element in re.findall(r"<rect [^>]*>", drawing):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', element))
        if attributes.get("class", "").startswith(name):
            found.append((float(attributes["width"]), float(attributes["height"])))
    return found


def test_treemap_areas_are_the_shares_of_the_units():
    area = ice40_report().area
    drawing = treemap(area, "lut", name="x")
    assert drawing is not None
    sizes = sorted(unit.area.lut for unit in area.units if unit.area.lut)
    drawn = sorted((w + 2) * (h + 2) for w, h in rectangles(drawing, "shade"))
    assert len(drawn) == len(sizes)
    whole = 500 * 300 / sum(sizes)
    assert drawn[3:] == pytest.approx([size * whole for size in sizes][3:], rel=0.02)
    assert treemap(area, "spram", name="x") is None


def test_cycle_segments_add_up_to_the_bar():
    report = ecp5_report()
    drawing = cycle_bars([report], ["A"])
    widths = [width for width, _ in rectangles(drawing, "s")]
    cycles = [cause.cycles for cause in report.throughput.causes]
    assert widths == pytest.approx([844 * n / sum(cycles) for n in cycles], abs=0.02)
    assert "253,610 cycles" in drawing


def test_critical_path_has_a_bar_for_each_hop_and_a_row_for_each_unit():
    clock = ice40_report().clocks[0]
    drawing = path_bars(clock, name="x")
    widths = [width for width, _ in rectangles(drawing, "s")]
    total = sum(step.delay_ns for step in clock.path)
    assert len(widths) == len(clock.path)
    assert sum(widths) == pytest.approx(760 * total / 35, abs=0.1)  # the axis ends at 35 ns
    assert re.findall(r'class="unit">([^<]*)', drawing) == [
        "core.vector_ram", "core.quantiser", "core.scale_unit", "core.epilogue"]


def test_roofline_figures():
    found = roof(ice40_report(), "A")
    assert found is not None
    assert found.bytes_per_token == 15_577 * 8
    assert found.intensity == pytest.approx(610_000 / (15_577 * 8))
    assert found.compute == 5 * 8 * 30e6
    assert found.macs == pytest.approx(610_000 * 30e6 / 18_689)
    assert found.bound == "memory"
    assert found.macs / found.limit == pytest.approx(15_577 / 18_689)


def test_roofline_of_many_streams_is_bound_by_the_lanes():
    report = ice40_report()
    speed = report.throughput
    rate = speed.tokens_per_second.scaled(3, "tok/s", "summed")
    slow = report.design.model_copy(update={"core": {"lanes": 2}})
    found = roof(report.model_copy(update={"design": slow, "throughput": speed.model_copy(
        update={"streams": 4, "tokens_per_second_summed": rate})}), "A")
    assert found is not None
    assert found.bound == "lanes"
    assert found.limit == 5 * 2 * 4 * 30e6
    unknown = report.design.model_copy(update={"core": {"lanes": "many"}})
    assert (bare := roof(report.model_copy(update={"design": unknown}), "A")) is not None
    assert bare.compute is None


def test_pictures_want_a_page_and_a_browser(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    with pytest.raises(UserError, match=r"^there is no page '.*page\.html'; write one with "):
        screenshots(page, tmp_path)
    page.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^Chromium and ChromeDriver are not on the PATH: install "
                                        r"Debian's packages with `apt-get install chromium "
                                        r"chromium-driver`$"):
        screenshots(page, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_what_installs_chromium_says_what_to_do_without_apt(tmp_path):
    script = Path(__file__).with_name("install-chromium")
    done = subprocess.run(["/bin/sh", script], env={"PATH": str(tmp_path)}, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1
    assert "As root, on Debian: apt-get install chromium chromium-driver" in done.stderr


def test_a_missed_clock_is_told_in_words():
    page = render_page([ecp5_report()])
    assert '<span class="detail bad">misses 62.5 MHz</span>' in page
    assert '<span class="detail bad">missed</span>' in page
    assert 'class="detail bad"' not in render_page([ice40_report()])


def test_a_design_that_was_only_synthesised_says_so():
    plain = ice40_report()
    page = render_page([ice40_report(
        clocks=(), seeds=(), area=plain.area.model_copy(update={"units": ()}),
        evidence=plain.evidence.model_copy(update={"checked_tokens": 0, "bit_exact": False}))])
    elements = Elements(page)
    for text in ("not placed", "not checked"):
        assert text in elements.text
    assert "measured" not in re.findall(r'class="badge (\w+)"', page.split('class="legend"')[0])
    assert "not bit-exact" not in elements.text
    assert not [tag for tag, _ in elements.found if tag == "fieldset"]
    assert re.findall(r'badge (\w+)', render_page([plain])).count("measured") >= 3


def refused(part: BaseModel) -> BaseModel:
    """The same with every figure taken away, for a reason."""
    changes = {}
    for name in type(part).model_fields:
        found = getattr(part, name)
        if isinstance(found, Value):
            changes[name] = Value(value=None, unit=found.unit, status=found.status,
                                  source="nobody knows")
        elif isinstance(found, BaseModel):
            changes[name] = refused(found)
        elif isinstance(found, tuple):
            changes[name] = tuple(refused(item) for item in found)
    return part.model_copy(update=changes)


def test_a_report_that_refuses_every_figure_gives_the_reason_everywhere():
    report = refused(ecp5_report())
    assert isinstance(report, Report)
    page = render_page([report, ice40_report()], comparison=comparison(report))
    text = Elements(page).text
    assert text.count("not given: nobody knows") == 3 + len(report.power.lines if report.power
                                                            else ())
    assert text.count("nobody knows") > 30
    empty = report.model_copy(update={
        "throughput": report.throughput.model_copy(update={"causes": ()}),
        "area": report.area.model_copy(update={
            "units": (), "total": Area(lut=0, ff=0, block_ram=0, dsp=0),
            "available": Area(lut=0, ff=0, block_ram=0, dsp=0)})})
    found = [attributes["id"] for tag, attributes in Elements(render_page([empty])).found
             if tag == "section"]
    assert found == ["summary", "area", "timing", "power", "provenance"]
