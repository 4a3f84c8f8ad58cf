"""Waveforms that ``simulate`` writes: which cycles, to which file, in which format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ternforge.errors import UserError
from ternforge.output import atomic_file

from .simulate import Simulation, Wave
from .verilator import fst_available

__all__ = ["MARGIN", "WaveRequest", "parse_window"]

#: Cycles that a waveform shows before and after a first divergence.
MARGIN = 200


def parse_window(text: str) -> tuple[int, int]:
    """First and last cycle from ``FIRST:LAST``.

    Raises
    ------
    UserError
        If it is anything else.
    """
    first, colon, last = text.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise UserError("--window must be FIRST:LAST in clock cycles, such as 12000:12400, "
                        f"not {text!r}")
    return int(first), int(last)


@dataclass(frozen=True)
class WaveRequest:
    """What the command line asks for.

    Raises
    ------
    UserError
        If the file cannot be written in the format that its name asks for.
    """

    path: Path | None  #: None for a name made up when it is needed
    window: str | None  #: ``FIRST:LAST``, or None for the start of the first token

    def __post_init__(self):
        if self.window is not None:
            parse_window(self.window)
        if self.path is None:
            return
        if self.path.suffix not in (".fst", ".vcd"):
            raise UserError(f"--fst must name a file that ends in .fst or .vcd, not "
                            f"{str(self.path)!r}")
        if self.path.is_dir():
            raise UserError(f"--fst must name a file, not the folder {str(self.path)!r}")
        if self.path.suffix == ".fst" and not fst_available():
            raise UserError("writing FST needs the headers of lz4 and zlib (on Debian: apt-get "
                            "install liblz4-dev zlib1g-dev): install them, or name a .vcd file")

    def write(self, name: str, found: Simulation,
              again: Callable[[Wave], Simulation]) -> tuple[Path, int, int] | None:
        """Write what is due after the run ``found``: around its first divergence, else on request.

        Parameters
        ----------
        name : str
            Of what runs, for the file's name.
        found : Simulation
            The run without waveform.
        again : callable
            Repeats the run with one.

        Returns
        -------
        tuple or None
            File, first and last cycle; None if nothing is due.
        """
        divergence = found.first_divergence
        if divergence is None and self.path is None and self.window is None:
            return None
        suffix = ".fst" if fst_available() else ".vcd"
        what = "waveform" if divergence is None else "divergence"
        path = self.path or Path(f"{name}-{what}{suffix}")
        first, last = parse_window(self.window) if self.window else (None, None)
        if divergence is not None:
            first, last = max(0, divergence.cycle - MARGIN), divergence.cycle + MARGIN
        with atomic_file(path) as staged:
            recorded = again(Wave(staged, first, last)).wave
        assert recorded is not None
        return path, *recorded
