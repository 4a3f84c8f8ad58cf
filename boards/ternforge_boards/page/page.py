"""Puts the parts of the page together, with its style and script inside."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from ternforge.errors import UserError
from ternforge.output import write_text
from ternforge_boards.report.compare import Comparison
from ternforge_boards.report.schema import Report
from ternforge_boards.report.text import figure, number, percent, span
from ternforge_boards.report.value import Status

from .charts.cycles import causes
from .data import SweepPoint
from .sections.area import area_section
from .sections.comparison import comparison_table
from .sections.cycles import cycle_section
from .sections.power import power_section
from .sections.provenance import provenance_section
from .sections.roofline import roofline_section
from .sections.summary import summary_section
from .sections.sweep import sweep_section
from .sections.timing import timing_section
from .svg import PATTERNS

__all__ = ["render_page", "write_page"]

#: What each kind of figure means, for the legend.
MEANINGS = {
    Status.MEASURED: "counted in the routed design, or read from an instrument",
    Status.SIMULATED: "counted in a run of the generated Verilog",
    Status.ESTIMATED: "from a model",
    Status.PUBLISHED: "taken from a publication",
}


def write_page(path: str | Path, reports: Sequence[Report], *, comparison: Comparison | None = None,
               points: Sequence[SweepPoint] = (), title: str = "ternforge report") -> Path:
    """Write the page as one file that needs no other; see :func:`render_page`.

    Returns
    -------
    Path
        ``path``; it is written whole or not at all.
    """
    return write_text(path, render_page(reports, comparison=comparison, points=points,
                                        title=title))


def render_page(reports: Sequence[Report], *, comparison: Comparison | None = None,
                points: Sequence[SweepPoint] = (), title: str = "ternforge report") -> str:
    """The page as HTML.

    Parameters
    ----------
    reports : sequence of Report
        Builds; each gets a letter that stands for it in the charts.
    comparison : Comparison, optional
        Builds and published systems beside each other.
    points : sequence of SweepPoint, optional
        Points of a sweep, failed ones too.
    title : str
        Heading, and what a browser calls the page.

    Raises
    ------
    UserError
        If there is nothing to show.
    """
    if not reports and comparison is None and not points:
        raise UserError("a page must show at least one report, a comparison or a sweep")
    keys = [_key(n) for n in range(len(reports))]
    builds = list(zip(keys, reports, strict=True))
    script = _file("page.js")
    return _templates().get_template("page.html.j2").render(
        title=title, version=metadata.version("ternforge"), statuses=MEANINGS,
        style=Markup(_file("page.css")), script=Markup(script), script_hash=_hash(script),
        patterns=range(PATTERNS), causes=causes(reports), builds=builds,
        summary=summary_section(builds), comparison=comparison_table(comparison),
        cycles=cycle_section(builds), roofline=roofline_section(builds),
        area=area_section(builds), timing=timing_section(builds), power=power_section(builds),
        sweep=sweep_section(points), provenance=provenance_section(builds))


def _key(n: int) -> str:
    """A letter; after Z a number."""
    return chr(ord("A") + n) if n < 26 else str(n + 1)


def _hash(script: str) -> str:
    """What the page's policy names the one script by that may run in it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _file(name: str) -> str:
    return (resources.files("ternforge_boards.page") / "templates" / name).read_text("utf-8")


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ternforge_boards.page"), undefined=jinja2.StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, percent=percent, figure=figure, span=span)
    return environment
