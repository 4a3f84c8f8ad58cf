"""Size of a page and time to open it, and of one with as many charts that plotly draws.

    python bench/page.py PAGE

See docs/decisions/0015-charts-are-drawn-before-the-page-opens.md.
"""

import base64
import gzip
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command, run_function
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge_boards.page.browser import browser

DRAWN = "performance.mark('drawn')"

#: Unpacks the script that lies in the page, and runs it.
UNPACK = """
(async () => {
  const packed = document.getElementById("packed").textContent;
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(plain).text();
  document.head.append(script);
  CALLS
})();
"""

#: Milliseconds until the page is loaded and all charts are drawn; null until then.
READY = """
const [entry] = performance.getEntriesByType("navigation");
const drawn = performance.getEntriesByName("drawn")[0];
if (!entry.loadEventEnd || (arguments[0] && !drawn)) return null;
return Math.max(entry.loadEventEnd, drawn ? drawn.startTime : 0);
"""


def figure(kind: str) -> Any:
    """A chart of about as many marks as one of ours."""
    import plotly.graph_objects as go
    if kind == "treemap":
        return go.Figure(go.Treemap(labels=[f"unit {n}" for n in range(14)], parents=[""] * 14,
                                    values=[1100 - 75 * n for n in range(14)]))
    if kind in ("cycles", "path"):
        return go.Figure([go.Bar(x=[n + 1.0], y=["x"], orientation="h") for n in range(10)],
                         layout={"barmode": "stack"})
    if kind == "power":
        return go.Figure(go.Scatter(x=[0.1 * n for n in range(1, 8)], y=[str(n) for n in range(7)],
                                    error_x={"array": [0.1] * 7}, mode="markers"))
    return go.Figure(go.Scatter(x=list(range(1, 14)), y=[n * n for n in range(1, 14)]),
                     layout={"xaxis": {"type": "log"}, "yaxis": {"type": "log"}})


def with_plotly(kinds: Counter[str], *, packed: bool) -> str:
    """A page with a chart for each of ``kinds``; plotly's script inside, as it is or packed."""
    import plotly.offline
    script = plotly.offline.get_plotlyjs()
    charts = [figure(kind) for kind in kinds.elements()]
    boxes = "".join(f'<div id="c{n}" style="height:360px"></div>' for n in range(len(charts)))
    calls = "".join(f"Plotly.newPlot('c{n}', {chart.to_json()});"
                    for n, chart in enumerate(charts)) + DRAWN
    head = f"<!doctype html><meta charset=utf-8>{boxes}"
    if not packed:
        return f"{head}<script>{script}</script><script>{calls}</script>"
    small = base64.b64encode(gzip.compress(script.encode(), 9)).decode()
    return (f'{head}<script type="text/plain" id="packed">{small}</script>'
            f"<script>{UNPACK.replace('CALLS', calls)}</script>")


def opening(driver: Any, path: Path, *, drawn: bool) -> float:
    """Milliseconds until ``path`` is loaded and drawn."""
    from selenium.webdriver.support.ui import WebDriverWait
    driver.get(path.resolve().as_uri())
    return WebDriverWait(driver, 60, 0.05).until(
        lambda driver: driver.execute_script(READY, drawn))


@command(example="python bench/page.py page.html")
def bench(page: Annotated[Path, typer.Argument(metavar="PAGE", help="that `ternforge` wrote")],
          times: Annotated[int, typer.Option(min=1, help="open each so often")] = 7,
          as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Time to open a page, and one with as many charts of plotly's, in Chromium."""
    if not page.is_file():
        raise UserError(f"there is no page {str(page)!r}")
    found = []
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        driver.get(page.resolve().as_uri())
        kinds = Counter(name.split()[1] for name in driver.execute_script(
            "return [...document.querySelectorAll('svg.chart')].map((c) => c.className.baseVal)"))
        pages = {"ours": page}
        for name, packed in (("plotly, as it is", False), ("plotly, packed", True)):
            pages[name] = Path(folder) / f"{name}.html"
            pages[name].write_text(with_plotly(kinds, packed=packed))
        for name, path in pages.items():
            taken = [opening(driver, path, drawn=name != "ours") for _ in range(times)]
            found.append({"page": name, "bytes": path.stat().st_size,
                          "charts": kinds.total(), "median_ms": statistics.median(taken),
                          "slowest_ms": max(taken)})
    if as_json:
        print_json(found)
        return
    table = Table(title=f"{kinds.total()} charts, opened {times} times")
    for title in ("page", "bytes", "median ms", "slowest ms"):
        table.add_column(title, justify="left" if title == "page" else "right")
    for row in found:
        table.add_row(row["page"], f"{row['bytes']:,}", f"{row['median_ms']:.0f}",
                      f"{row['slowest_ms']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(run_function(bench, "python bench/page.py"))
