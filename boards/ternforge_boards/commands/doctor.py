"""``ternforge doctor``."""

from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ternforge.cli import command
from ternforge.output import print_json
from ternforge_boards.tools import check

__all__ = ["doctor"]

STYLES = {"ok": "green", "old": "red", "missing": "red"}


@command(example="ternforge doctor\nternforge doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every tool of the flow, and say how to install what is missing."""
    findings = check()
    healthy = all(finding.fine for finding in findings)
    if as_json:
        print_json({"ok": healthy, "tools": findings})
        raise typer.Exit(0 if healthy else 1)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("tool", "found", "tested", "status", "what for"):
        table.add_column(heading, no_wrap=heading != "what for")
    for finding in findings:
        optional = finding.status == "missing" and not finding.required
        table.add_row(
            finding.name, finding.version or "-",
            "same" if finding.version == finding.tested else finding.tested,
            Text("optional" if optional else finding.status,
                 style="yellow" if optional else STYLES[finding.status]), finding.purpose,
        )
    console = Console()
    console.print(table)
    for finding in findings:
        if finding.install is not None:
            console.print(Text(f"{finding.name}: {finding.install}"), soft_wrap=True)
    console.print("all required tools are there" if healthy
                  else "required tools are missing or old: run the commands above",
                  style="green" if healthy else "red")
    raise typer.Exit(0 if healthy else 1)
