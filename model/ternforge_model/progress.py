"""What a training run shows, and how it is stopped."""

import math
import signal
import time
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .recipe import Recipe

__all__ = ["Report", "Stop"]

#: Steps between two lines of the log when no terminal is attached.
LOG_EVERY = 20


class Report:
    """Progress bar on a terminal, one line now and then elsewhere."""

    def __init__(self, console: Console, recipe: Recipe, start: int):
        self.console = console
        self.recipe = recipe
        self.start = start
        self.began = time.monotonic()
        self.bar = Progress(
            TextColumn(recipe.name), BarColumn(), TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]:.3f}"), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("train", total=recipe.steps, completed=start, loss=math.nan)

    def __enter__(self) -> "Report":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: int, loss: float, mean: float) -> None:
        """Show that ``step`` steps are done, with the last loss and the mean of the latest."""
        self.bar.update(self.task, completed=step, loss=mean)
        if not self.console.is_terminal and step % LOG_EVERY == 0:
            spent = time.monotonic() - self.began
            rate = (step - self.start) / spent
            size = self.recipe.batch * self.recipe.window
            left = (self.recipe.steps - step) / rate
            self.say(f"step {step}/{self.recipe.steps} loss {loss:.4f} mean {mean:.4f} "
                     f"{rate * size:.0f} tokens/s {left:.0f} s left")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, highlight=False)


class Stop:
    """Ctrl-C or SIGTERM, in a ``with`` block.

    It interrupts at once while there is nothing to save (the first step of a session may compile
    for a minute), and later sets a flag; a second Ctrl-C always interrupts.
    """

    def __init__(self):
        self.seen = False
        self.gentle = False  #: set the flag instead of interrupting
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        with suppress(ValueError):  # not the main thread: nothing to catch
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        if self.seen or not self.gentle:
            raise KeyboardInterrupt
        self.seen = True
