"""Pictures of a page, light and dark.

``python -m ternforge_boards.page.screenshot PAGE -o DIR``
"""

import base64
from pathlib import Path
from typing import Annotated

import typer

from ternforge.cli import command, run_function
from ternforge.errors import UserError
from ternforge.output import write_bytes

from .browser import browser

__all__ = ["screenshots"]

#: Sections that get a picture of their own, in light and in dark.
SECTIONS = ("summary", "comparison", "cycles", "roofline", "area", "timing", "power", "sweep")


def screenshots(page: Path, folder: Path, *, width: int = 1120,
                whole: bool = False) -> list[Path]:
    """Write ``SECTION-light.png`` and ``SECTION-dark.png`` for each section that ``page`` has.

    Parameters
    ----------
    page : Path
        File that :func:`~ternforge_boards.page.write_page` wrote.
    folder : Path
        Where the pictures go; it is made when missing.
    width : int
        Of the window, in CSS pixels.
    whole : bool
        One picture of the whole page, ``page-light.png``, in place of one per section.

    Raises
    ------
    UserError
        If there is no such file, or no browser.
    """
    if not page.is_file():
        raise UserError(f"there is no page {str(page)!r}; write one with `ternforge compare "
                        "A.json B.json --html PAGE`")
    written = []
    with browser(width=width) as driver:
        for scheme in ("light", "dark"):
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
                "features": [{"name": "prefers-color-scheme", "value": scheme}]})
            driver.get(page.resolve().as_uri())
            for name in ("page",) if whole else SECTIONS:
                box = driver.execute_script(_BOX, "body" if whole else f"#{name}")
                if box is None:
                    continue
                shot = driver.execute_cdp_cmd("Page.captureScreenshot", {
                    "captureBeyondViewport": True, "clip": {**box, "scale": 1}})
                written.append(write_bytes(folder / f"{name}-{scheme}.png",
                                           base64.b64decode(shot["data"])))
    return written


#: Box of an element, with a margin, in CSS pixels of the whole page.
_BOX = """
const part = document.querySelector(arguments[0]);
if (!part) return null;
const box = part.getBoundingClientRect();
return {x: Math.max(0, box.x + scrollX - 24), y: Math.max(0, box.y + scrollY - 12),
        width: box.width + 48, height: box.height + 24};
"""


@command(example="python -m ternforge_boards.page.screenshot PAGE -o docs/reports")
def main(page: Annotated[Path, typer.Argument(help="the HTML page", metavar="PAGE")],
         output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR",
                                              help="folder of the pictures")],
         whole: Annotated[bool, typer.Option(
             "--whole", help="one picture of the whole page")] = False) -> None:
    """Take pictures of a page, light and dark, with Chromium."""
    for path in screenshots(page, output, whole=whole):
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    raise SystemExit(run_function(main, "python -m ternforge_boards.page.screenshot"))
