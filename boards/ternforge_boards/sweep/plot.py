"""Plot of tokens per second against area, and against power where it is known."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from ternforge.errors import UserError
from ternforge.output import write_bytes
from ternforge_model.errorplot import check_plot

from .pareto import Candidate

__all__ = ["plot_pareto"]

#: Field of the cost, its axis, and whether a candidate is on the front.
_PANELS: tuple[tuple[str, str, Callable[[Candidate], bool]], ...] = (
    ("lut", "LUT4", lambda one: one.area_front),
    ("watts", "W, core of the FPGA", lambda one: one.power_front))
_MARKERS = "osD^vP*X"


def plot_pareto(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write the plot: a panel per cost, a marker per board and model, a line along each front.

    Hollow markers miss a clock. The same points give the same bytes.

    Raises
    ------
    UserError
        If no point has an area or a power.
    """
    kind = check_plot(path)
    panels = [(field, label, on) for field, label, on in _PANELS
              if any(getattr(one, field) is not None for one in candidates)]
    if not panels:
        raise UserError("there is nothing to plot: no point has an area; use --depth synth or "
                        "route")
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "ternforge", "svg.fonttype": "none"}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.5 * len(panels), 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        groups = list(dict.fromkeys((one.board, one.model) for one in candidates))
        colours = matplotlib.colormaps["tab10"]
        for axes, (field, label, on_front) in zip(
                figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for n, (board, model) in enumerate(groups):
                for met in (True, False):
                    chosen = [one for one in candidates if (one.board, one.model) == (board, model)
                              and (one.met is not False) == met
                              and getattr(one, field) is not None]
                    axes.plot([getattr(one, field) for one in chosen],
                              [one.tokens_per_second for one in chosen],
                              _MARKERS[n % len(_MARKERS)], color=colours(n % 10),
                              fillstyle="full" if met else "none",
                              label=f"{board}, {model}" if met else None)
            for model in dict.fromkeys(one.model for one in candidates):
                line = sorted((getattr(one, field), one.tokens_per_second) for one in candidates
                              if one.model == model and on_front(one))
                axes.plot([cost for cost, _ in line], [gain for _, gain in line], color="black",
                          linewidth=0.8, linestyle=":", drawstyle="steps-post")
            axes.set(xscale="log", yscale="log", xlabel=label, ylabel="tokens/s")
            axes.grid(visible=True, linewidth=0.3)
            axes.legend(fontsize="small")
        buffer = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=120)
    write_bytes(path, buffer.getvalue())
