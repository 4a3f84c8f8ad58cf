"""Coefficients of the UP5K's core from the published currents, by least squares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .gates import Delays
from .published import POINTS, Point

__all__ = ["TERMS", "Fit", "FittedPoint", "fit_points", "fit_published", "solve"]

#: The parameters.
TERMS = ("static", "high_oscillator", "low_oscillator", "clock", "flip_flop_clock", "sink", "dsp",
         "pll")


@dataclass(frozen=True, kw_only=True)
class FittedPoint:
    """What the model says of a measurement."""

    name: str
    measured: float
    model: float
    #: what the fit to all other points says of it; None where no other has one of its terms
    left_out: float | None

    @property
    def error(self) -> float:
        """Relative."""
        return self.model / self.measured - 1

    @property
    def left_out_error(self) -> float | None:
        """Relative."""
        return None if self.left_out is None else self.left_out / self.measured - 1


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients in uA per unit of each term, and how well they do."""

    values: dict[str, float]
    points: tuple[FittedPoint, ...]

    @property
    def worst(self) -> float:
        """Largest relative error."""
        return max(abs(point.error) for point in self.points)


def solve(rows: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Coefficients that make the sum of squared relative errors smallest.

    Parameters
    ----------
    rows : ndarray
        Terms of each measurement, float ``[measurements, terms]``.
    measured : ndarray
        float ``[measurements]``, none of them zero.
    """
    scaled = rows / measured[:, None]
    size = np.abs(scaled).max(axis=0)
    size[size == 0] = 1
    return np.linalg.lstsq(scaled / size, np.ones(len(rows)), rcond=None)[0] / size


def fit_points(names: Sequence[str], rows: np.ndarray, measured: np.ndarray,
               terms: Sequence[str]) -> Fit:
    """Fit, with what the fit to all points but one says of that one."""
    values = solve(rows, measured)
    rank = np.linalg.matrix_rank(rows)
    points = []
    for k, name in enumerate(names):
        rest = np.arange(len(names)) != k
        without = None
        if np.linalg.matrix_rank(rows[rest]) == rank:
            without = float(rows[k] @ solve(rows[rest], measured[rest]))
        points.append(FittedPoint(name=name, measured=float(measured[k]),
                                  model=float(rows[k] @ values), left_out=without))
    return Fit(values=dict(zip(terms, values.tolist(), strict=True)), points=tuple(points))


def fit_published(delays: Delays | None = None,
                  progress: Callable[[Point], object] | None = None) -> Fit:
    """Fit to :data:`~.published.POINTS`; synthesises and simulates each design once."""
    rows = []
    for point in POINTS:
        if progress:
            progress(point)
        terms = point.terms(delays)
        rows.append([terms.get(name, 0.0) for name in TERMS])
    return fit_points([point.name for point in POINTS], np.array(rows),
                      np.array([point.microamps for point in POINTS]), TERMS)
