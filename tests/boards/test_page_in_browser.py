"""The page in Debian's Chromium, opened from its file. Skipped without one, unless asked not to."""

import base64
import os

import pypdfium2
import pytest

from ternforge_boards.page import write_page
from ternforge_boards.page.browser import INSTALL, browser, find_browser
from ternforge_boards.page.screenshot import screenshots
from tests.boards.report_fixture import (
    comparison,
    ecp5_report,
    hostile_report,
    ice40_report,
    points,
)

#: Set by `.ci/run`, where a skip would go unseen.
MUST_RUN = "TERNFORGE_NEED_CHROMIUM"

pytestmark = [
    pytest.mark.xdist_group("chromium"),  # one browser at a time
    pytest.mark.skipif(find_browser() is None and not os.environ.get(MUST_RUN),
                       reason=f"Chromium is not installed: {INSTALL}"),
]

OPENED = """
const [entry] = performance.getEntriesByType("navigation");
return {complete: document.readyState, loaded: entry.loadEventEnd};
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two builds with everything that a page can have."""
    builds = [ice40_report(), ecp5_report()]
    return write_page(tmp_path_factory.mktemp("page") / "two boards.html", builds,
                      comparison=comparison(*builds), points=points(), title="two boards")


@pytest.fixture(scope="module")
def started():
    with browser() as driver:
        yield driver


@pytest.fixture
def opened(started, page):
    """A window with the page, light, on a screen; nothing may be complained about."""
    started.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": [
        {"name": "prefers-color-scheme", "value": "light"}]})
    started.get(page.as_uri())
    yield started
    assert started.get_log("browser") == []


def test_opens_from_its_file_within_two_seconds(started, page):
    times = []
    for _ in range(3):  # a busy machine may disturb one
        started.get(page.as_uri())
        result = started.execute_script(OPENED)
        assert result["complete"] == "complete"
        times.append(result["loaded"])
    assert 0 < min(times) < 2000, times
    assert started.title == "two boards"


def test_hostile_names_run_nothing(started, tmp_path):
    hostile = write_page(tmp_path / "page.html", [hostile_report()])
    started.get(hostile.as_uri())
    assert started.get_log("browser") == []
    assert started.execute_script("return document.scripts.length") == 1
    assert started.execute_script("return document.images.length") == 0


def test_the_policy_stops_other_scripts_and_requests(started, page):
    started.get(page.as_uri())
    started.execute_script("""
        const other = document.createElement("script");
        other.textContent = "window.ran = true";
        document.body.append(other);
        const image = document.createElement("img");
        image.src = "http://localhost:9/x.png";
        document.body.append(image);
    """)
    assert started.execute_script("return window.ran") is None
    complaints = [entry["message"] for entry in started.get_log("browser")]
    assert len([text for text in complaints if "Content Security Policy" in text]) == 2


def test_charts_are_drawn_with_a_mark_for_each_datum(opened):
    marks = opened.execute_script("""
        const count = {};
        for (const chart of document.querySelectorAll("svg.chart")) {
          const box = chart.getBoundingClientRect();
          const small = box.width < 300 || box.height < 40;
          if (chart.checkVisibility() && small) return chart.outerHTML;
          const kind = chart.getAttribute("class").split(" ").slice(1).join(" ");
          const seen = [...chart.querySelectorAll(".mark")].filter((mark) => {
            const inside = mark.getBoundingClientRect();
            return !chart.checkVisibility() || inside.width > 0 || inside.height > 0;
          });
          (count[kind] ??= []).push(seen.length);
        }
        return count;
    """)
    builds = [ice40_report(), ecp5_report()]
    known = [point for point in points() if point.speed]
    assert marks == {
        "cycles": [sum(len(b.throughput.causes) for b in builds)],
        "roofline": [4],  # a roof and a point for each build
        "path": [len(b.clocks[0].path) for b in builds],
        "power": [sum(line.power.value is not None for line in b.power.lines)
                  + sum(rail.value is not None for rail in (b.power.core, b.power.memory))
                  for b in builds if b.power],
        "pareto lut": [len(known)],
        "pareto power": [sum(point.power is not None for point in known)],
        **{f"treemap {field.replace('_', '')}": [
            n for b in builds if (n := sum(getattr(unit.area, field) > 0
                                           for unit in b.area.units))]
           for field in ("lut", "ff", "block_ram", "dsp")},
    }


def test_marks_stay_inside_their_charts(opened):
    outside = opened.execute_script("""
        const out = [];
        for (const chart of document.querySelectorAll("svg.chart")) {
          if (!chart.checkVisibility()) continue;
          const frame = chart.getBoundingClientRect();
          for (const part of chart.querySelectorAll("text, rect, circle, path, line")) {
            const box = part.getBoundingClientRect();
            if (box.left < frame.left - 1 || box.right > frame.right + 1
                || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
              out.push(part.outerHTML);
          }
        }
        return out;
    """)
    assert outside == []


def test_a_resource_is_chosen_for_the_treemaps(opened):
    shown = """return [...document.querySelectorAll(".map")].filter((map) => map.checkVisibility())
                      .map((map) => map.className)"""
    assert opened.execute_script(shown) == ["map map-lut"] * 2
    opened.find_element("id", "resource-dsp").click()
    assert opened.execute_script(shown) == ["map map-dsp"] * 2


def column(driver, table: str, index: int) -> list[str]:
    return driver.execute_script("""
        return [...document.querySelectorAll(`table.${arguments[0]} tbody tr`)]
            .map((row) => row.cells[arguments[1]].firstChild.textContent.trim());
    """, table, index)


def heading(driver, table: str, index: int):
    return driver.find_elements("css selector", f"table.{table} thead th")[index]


def test_tables_sort_by_click(opened):
    speed = heading(opened, "sweep", 3)
    assert speed.get_attribute("aria-sort") == "none"
    speed.find_element("tag name", "button").click()
    rising = column(opened, "sweep", 3)
    numbers = [float(text.replace(",", "")) for text in rising[:-1]]
    assert len(numbers) == 12
    assert numbers == sorted(numbers)
    assert numbers != sorted(numbers, key=str)
    assert rising[-1] == "\N{EN DASH}"
    assert speed.get_attribute("aria-sort") == "ascending"
    speed.find_element("tag name", "button").click()
    falling = column(opened, "sweep", 3)
    assert falling[:-1] == rising[-2::-1]
    assert falling[-1] == "\N{EN DASH}", "what is not known stays last"
    assert speed.get_attribute("aria-sort") == "descending"
    heading(opened, "sweep", 1).find_element("tag name", "button").click()
    assert speed.get_attribute("aria-sort") == "none"


@pytest.mark.parametrize("key", ["\ue007", " "], ids=["enter", "space"])
def test_tables_sort_by_keyboard(opened, key):
    button = heading(opened, "comparison", 2).find_element("tag name", "button")
    opened.execute_script("arguments[0].focus()", button)
    opened.switch_to.active_element.send_keys(key)
    assert column(opened, "comparison", 2) == ["25", "246", "1,605", "3,712"]
    said = opened.find_element("id", "said").get_attribute("textContent")
    assert said == "Builds and published systems: sorted by tok/s summed, ascending"


def test_headings_are_reached_by_tab(opened):
    opened.execute_script("document.querySelector('table.summary').closest('.scroll').focus()")
    opened.switch_to.active_element.send_keys("\ue004")
    assert opened.switch_to.active_element.text.startswith("build")
    assert opened.switch_to.active_element.tag_name == "button"


def test_marks_say_what_they_stand_for(opened):
    from selenium.webdriver import ActionChains
    part = opened.find_element("css selector", ".cycles .mark")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", part)
    ActionChains(opened).move_to_element(part).perform()
    tip = opened.find_element("id", "tip")
    assert tip.is_displayed()
    assert tip.text == "shakespeare-up5k on icebreaker: weights, 15,577 cycles, 83.3 %"
    assert opened.execute_script("return document.querySelectorAll('.card.dim').length") == 1


LUMINANCE = """
const parts = [...document.querySelectorAll(
    "h1, h2, td, th, dd, dt, figcaption, summary, .badge, svg.chart text")]
    .filter((p) => p.checkVisibility());
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
};
const back = luminance(getComputedStyle(document.body).backgroundColor);
const contrast = (p) => {
  const style = getComputedStyle(p);
  const ink = luminance(p.closest("svg") ? style.fill : style.color);
  return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
};
return {back, least: Math.min(...parts.map(contrast)), count: parts.length};
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(opened, scheme):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    seen = opened.execute_script(LUMINANCE)
    assert (seen["back"] > 0.9) == (scheme == "light")
    assert seen["count"] > 300
    assert seen["least"] >= 4.5, "WCAG 2.1, 1.4.3"


def test_nothing_is_told_by_colour_alone(opened):
    """Segments of a bar differ in pattern, and marks of a plot in shape."""
    patterns = opened.execute_script("""
        return [...document.querySelectorAll("svg.cycles .mark rect[fill]")]
            .map((rect) => rect.getAttribute("fill"));
    """)
    causes = [len(b.throughput.causes) for b in (ice40_report(), ecp5_report())]
    assert len(set(patterns[:causes[0]])) == causes[0]
    assert len(set(patterns[causes[0]:])) == causes[1]
    shapes = opened.execute_script("""
        return [...new Set([...document.querySelectorAll("svg.pareto .point")]
            .map((point) => point.getAttribute("d")))];
    """)
    assert len(shapes) == 2


@pytest.mark.parametrize("width", [1200, 800, 390])
def test_the_page_itself_never_scrolls_sideways(opened, width):
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    try:
        assert opened.execute_script(
            "return document.documentElement.scrollWidth - innerWidth") <= 0
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_tables_fit_a_wide_window(opened):
    cut = opened.execute_script("""
        return [...document.querySelectorAll(".scroll")].filter((part) => part.checkVisibility()
            && part.scrollWidth > part.clientWidth).map((part) => part.ariaLabel);
    """)
    assert cut == []


def test_print_cuts_no_table_and_repeats_headings(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    result = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    document = pypdfium2.PdfDocument(base64.b64decode(result["data"]))
    pages = [page.get_textpage() for page in document]
    assert 3 <= len(pages) <= 12
    texts = [text.get_text_range() for text in pages]
    for page, text in zip(document, pages, strict=True):
        width, height = page.get_size()
        assert (round(width), round(height)) == (595, 842)
        for n in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(n)
            if right > left:
                assert 30 < left < right < width - 30, "within the margins"
                assert 30 < bottom < top < height - 30
    whole = " ".join(texts).replace("\r\n", " ")
    for row in ("needs 6,900 LUT4; the iCE40UP5K has 5,280", "tok/s summed", "1,605", "3,712"):
        assert row in whole
    with_points = [text for text in texts if "lanes=" in text]
    assert len(with_points) > 1, "the table of points goes over a page"
    assert all("clocks" in text and "front" in text for text in with_points)
    document.close()


def test_screenshots_are_small(page, tmp_path):
    written = screenshots(page, tmp_path / "pictures")
    assert [path.name for path in written] == [
        f"{name}-{scheme}.png" for scheme in ("light", "dark")
        for name in ("summary", "comparison", "cycles", "roofline", "area", "timing", "power",
                     "sweep")]
    assert all(2_000 < path.stat().st_size <= 300_000 for path in written)
    assert len({path.read_bytes() for path in written}) == len(written)
