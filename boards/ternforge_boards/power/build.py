"""Power of a build, from its report, its design and its netlist."""

from collections.abc import Callable
from pathlib import Path

from ternforge_boards.handoff import Design
from ternforge_boards.pll import pll_settings
from ternforge_boards.report.schema import Power, Report
from ternforge_boards.yosys import Netlist

from .activity import Activity, counted_activity, typical_activity
from .coefficients import coefficients_of
from .dram import DramRates, chip_of, dram_lines, simulate_rates
from .estimate import core_lines, make_power, pin_line
from .token import COUNTED_TOKENS, WARM_TOKENS, token_counts

__all__ = ["activity_of", "estimate_power", "with_power"]


def activity_of(report: Report, design: Design, netlist: Netlist | None,
                progress: Callable[[str], object] | None = None) -> Activity:
    """What moves: counted in the gates of an iCE40 design, else from its size.

    Parameters
    ----------
    report : Report
        Of the build.
    design : Design
        What was built.
    netlist : Netlist, optional
        As it was synthesised; without it, its gates cannot be simulated.
    progress : callable, optional
        Called with a short text as a long step starts.
    """
    if netlist is None or design.board.family != "ice40":
        return typical_activity(report)
    found = token_counts(netlist, design, progress=progress)
    return counted_activity(
        found.counts, found.ff,
        f"{COUNTED_TOKENS} tokens of {design.image.model} after {WARM_TOKENS} others, through the "
        "synthesised netlist with unequal delays, bit-exact; glitches counted, wires not placed")


def estimate_power(report: Report, design: Design, netlist: Netlist | None = None, *,
                   coefficients: Path | None = None, idle_watts: float | None = None,
                   rates: DramRates | None = None,
                   progress: Callable[[str], object] | None = None) -> Power:
    """Power and energy while tokens are made, as ranges.

    Parameters
    ----------
    report : Report
        Of the build.
    design : Design
        What was built.
    netlist : Netlist, optional
        See :func:`activity_of`.
    coefficients : Path, optional
        A file that ``ternforge power calibrate`` wrote, instead of the family's.
    idle_watts : float, optional
        Measured power of the idle board.
    rates : DramRates, optional
        Commands to the memory chip, if there is one; simulated unless given.
    progress : callable, optional
        Called with a short text as a long step starts.

    Raises
    ------
    UserError
        If the coefficients are wrong.
    """
    given = coefficients_of(design.board, coefficients)
    activity = activity_of(report, design, netlist, progress)
    clock_hz = design.core_mhz * 1e6
    pll = pll_settings(design.board, design.core_mhz)
    lines = [*core_lines(activity, given, design.board.device, clock_hz, pll.vco_mhz * 1e6,
                         pll.memory_mhz * 1e6)]
    if design.dram is not None:
        if rates is None:
            if progress:
                progress("simulating the memory chip")
            rates = simulate_rates(design.core, design.dram, design.image, clock_hz)
        lines += dram_lines(rates, design.dram, chip_of(design.dram))
    lines.append(pin_line(activity, given, clock_hz))
    return make_power(report, activity, given, lines, idle_watts)


def with_power(report: Report, power: Power) -> Report:
    """The report with an estimate in it."""
    return report.model_copy(update={"power": power})
