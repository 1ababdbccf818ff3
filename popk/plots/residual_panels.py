"""Residuals and prediction distribution errors against what they should not depend on."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from popk.plots.goodness_of_fit import draw_trend
from popk.plots.points import KINDS, Names, draw_observations, draw_points, names_of
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    Drawing,
    bare,
    label,
    log_scale,
    mark_not_converged,
)

__all__ = ["plot_npde", "plot_residuals"]

type Floats = NDArray[np.float64]

_SIZE = (8.2, 5.6)
_TWO_SIDED = float(ndtri(0.975))
_BARS = 24


def plot_residuals(residuals: xr.Dataset) -> Figure:
    """IWRES and PWRES against predictions and time, with a smooth trend.

    Lines are at 0 and at -1.96 and 1.96, between which 95 % of PWRES lie where the model holds.

    Parameters
    ----------
    residuals
        From `popk.residuals`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    names = names_of(residuals)
    figure = Drawing(figsize=_SIZE, layout="constrained")
    pairs = (("IWRES", "IPRED"), ("IWRES", "TAD"), ("PWRES", "PRED"), ("PWRES", "TIME"))
    for ax, (y, x) in zip(figure.subplots(2, 2).ravel().tolist(), pairs, strict=True):
        _scatter(bare(ax), residuals, x, y, names)
    mark_not_converged(figure, residuals)
    return figure


def plot_npde(npde: xr.Dataset) -> Figure:
    """NPDE against PRED and time, their quantiles against the normal ones, and a histogram.

    Parameters
    ----------
    npde
        From `popk.npde`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    names = names_of(npde)
    figure = Drawing(figsize=_SIZE, layout="constrained")
    panels = [bare(ax) for ax in figure.subplots(2, 2).ravel().tolist()]
    for ax, x in zip(panels, ("PRED", "TIME"), strict=False):
        _scatter(ax, npde, x, "NPDE", names)
    _quantiles(panels[2], npde["NPDE"].values, names)
    _histogram(panels[3], npde["NPDE"].values)
    mark_not_converged(figure, npde)
    return figure


def _scatter(ax: Axes, table: xr.Dataset, x: str, y: str, names: Names) -> None:
    values, heights = table[x].values, table[y].values
    log = x in ("PRED", "IPRED") and bool((values > 0).all() and values.max() > 10 * values.min())
    log_scale(ax, x=log)
    draw_observations(ax, table, values, heights, names)
    for at, style in ((0.0, "-"), (-_TWO_SIDED, ":"), (_TWO_SIDED, ":")):
        ax.axhline(at, color=GREY, lw=1, ls=style, zorder=1)
    known = np.isfinite(values) & np.isfinite(heights)
    draw_trend(ax, values[known], heights[known], log_x=log)
    unit = str(table[x].attrs.get("units", ""))
    what = {"TAD": "Time after dose", "TIME": "Time"}.get(x, x)
    ax.set_xlabel(label(what, "" if unit.startswith("{") else unit))
    ax.set_ylabel(y)
    reach = max(3.0, 1.08 * float(np.abs(heights[known]).max())) if known.any() else 3.0
    ax.set_ylim(-reach, reach)


def _quantiles(ax: Axes, errors: Floats, names: Names) -> None:
    order = np.argsort(errors)
    n = len(errors)
    expected = ndtri((np.arange(n) + 0.5) / n)
    own = Names([names.subjects[k] for k in order], [names.words[k] for k in order])
    reach = max(3.0, float(np.abs(errors).max()))
    ax.plot([-reach, reach], [-reach, reach], color=GREY, lw=1, ls=(0, (5, 3)), zorder=1)
    draw_points(ax, expected, errors[order], own, **KINDS[0].style)
    ax.set_xlabel("Quantile of the standard normal")
    ax.set_ylabel("NPDE")


def _histogram(ax: Axes, errors: Floats) -> None:
    reach = max(3.5, float(np.abs(errors).max()))
    edges = np.linspace(-reach, reach, min(_BARS, max(7, int(np.sqrt(len(errors))))) + 1)
    ax.hist(
        errors, bins=edges.tolist(), density=True, color=BLUE, alpha=0.35, ec=BLUE, lw=0.7,
        label="NPDE",
    )  # fmt: skip
    x = np.linspace(-reach, reach, 121)
    ax.plot(x, np.exp(-x * x / 2) / np.sqrt(2 * np.pi), color=INK, lw=1.5, label="standard normal")
    ax.set_yticks([])
    ax.set_xlabel("NPDE")
    ax.set_ylabel("Density")
    ax.legend(fontsize=7.5, frameon=False, loc="upper left")
