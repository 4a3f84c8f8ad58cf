"""Plot and table of the errors per layer."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.table import Table

from ternforge.errors import UserError
from ternforge.output import write_bytes

from .layererror import Outlier

__all__ = ["PLOT_FORMATS", "check_plot", "error_table", "plot_errors", "sparkline"]

#: What a plot can be written as, by suffix.
PLOT_FORMATS = ("png", "svg", "pdf")
_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One character per value, from zero to the largest."""
    top = max(values, default=0.0)
    return "".join(_BARS[round(value / top * (len(_BARS) - 1)) if top else 0] for value in values)


def error_table(table: Mapping[str, Sequence[float]], head: Mapping[str, float]) -> Table:
    """A row per tensor: median, largest and its layer, and a bar per layer."""
    shown = Table(title="relative error of each layer, given the float model's input, in %")
    for title in ("tensor", "median", "largest", "in layer", "by layer"):
        shown.add_column(title, justify="left" if title in ("tensor", "by layer") else "right")
    for tensor, errors in table.items():
        worst = max(range(len(errors)), key=errors.__getitem__)
        shown.add_row(tensor, f"{100 * median(errors):.3f}", f"{100 * errors[worst]:.3f}",
                      str(worst), sparkline(errors))
    for tensor, error in head.items():
        shown.add_row(tensor, "", f"{100 * error:.3f}", "head", "")
    return shown


def check_plot(path: Path) -> str:
    """Format of a plot, from the suffix of its file.

    Raises
    ------
    UserError
        The suffix is none of PLOT_FORMATS.
    ModuleNotFoundError
        matplotlib is not installed: better known before a long run than after.
    """
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in PLOT_FORMATS:
        raise UserError(f"--plot must end in one of {', '.join(f'.{k}' for k in PLOT_FORMATS)}, "
                        f"not {path.name!r}")
    import matplotlib  # noqa: F401

    return suffix


def plot_errors(
    path: Path, title: str, table: Mapping[str, Sequence[float]], outlier: Outlier | None = None
) -> None:
    """Write a plot: a line per tensor over the layers, logarithmic; the outlier is marked.

    The same errors give the same bytes.
    """
    kind = check_plot(path)
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "ternforge", "svg.fonttype": "none"}):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        colours = matplotlib.colormaps["tab20"]
        for n, (tensor, errors) in enumerate(table.items()):
            percent = [100 * error if error else float("nan") for error in errors]
            axes.plot(range(len(errors)), percent, marker="o", markersize=3, linewidth=1,
                      color=colours(n), label=tensor)
        if outlier is not None:
            axes.plot(outlier.layer, 100 * outlier.error, "o", markersize=12, fillstyle="none",
                      color="black", label=f"stands out: {outlier.tensor}")
        axes.set(yscale="log", xlabel="layer", ylabel="relative root mean square error, %",
                 title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, linewidth=0.3)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        buffer = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=120)
    write_bytes(path, buffer.getvalue())
