"""Text that streams to the terminal while a model runs, with a line of progress below."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

__all__ = ["TextDisplay", "saturations_text"]

#: Seconds between two progress lines where the output is not a terminal.
PLAIN_INTERVAL = 5.0


def saturations_text(saturations: Mapping[str, int]) -> str:
    """Saturations by site in one line, those that are none left out."""
    return ", ".join(f"{site} {count}" for site, count in saturations.items() if count) or "none"


class TextDisplay:
    """Shows the prompt, the text as it grows, and a line of progress.

    On a terminal the progress line stays below the text. Elsewhere the text goes to standard
    output as it comes, and a progress line to standard error every few seconds.

    Parameters
    ----------
    prompt : str
        Shown first.
    quiet : bool
        Show nothing.
    """

    def __init__(self, prompt: str, *, quiet: bool = False):
        self.prompt, self.quiet = prompt, quiet
        self.text = ""
        self._console = Console()
        self._live = None if quiet or not self._console.is_terminal else Live(
            console=self._console, refresh_per_second=10, transient=True)
        self._told = time.monotonic()

    def __enter__(self) -> "TextDisplay":
        if self._live is not None:
            self._live.start()
        elif not self.quiet:
            sys.stdout.write(self.prompt)
            sys.stdout.flush()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._console.print(self._written())
        elif not self.quiet:
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _written(self) -> Text:
        return Text.assemble((self.prompt, "bold"), self.text)

    def add(self, text: str) -> None:
        """Append generated text."""
        self.text += text
        if self._live is None and not self.quiet:
            sys.stdout.write(text)
            sys.stdout.flush()

    def update(self, status: str) -> None:
        """Show how far the run is, in one line."""
        if self._live is not None:
            tail = "\n".join(self._written().plain.splitlines()[-self._console.height + 4:])
            self._live.update(Group(Text(tail), Text(status, style="dim")))
        elif not self.quiet and time.monotonic() - self._told > PLAIN_INTERVAL:
            self._told = time.monotonic()
            sys.stderr.write(f"\n[{status}]\n")
