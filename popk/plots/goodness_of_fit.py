"""Observations against predictions, and over the time after dose."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from popk.diagnostics import trend
from popk.plots.points import Names, draw_observations, names_of, outputs_of
from popk.plots.style import (
    GREY,
    INK,
    Drawing,
    bare,
    label,
    log_scale,
    mark_not_converged,
)

__all__ = ["draw_trend", "plot_goodness_of_fit", "plot_observations"]

type Floats = NDArray[np.float64]

_DECADES = 500.0  # ratio from which only powers of ten have ticks
_WIDE = 10.0  # ratio of the largest to the smallest value from which the axes are logarithmic


def plot_goodness_of_fit(residuals: xr.Dataset) -> Figure:
    """DV against PRED and against IPRED, with the line of identity and a smooth trend.

    Several outputs have a row each, in their own units. PRED is the mean over new patients,
    parameters and residual errors, so that DV should scatter around it without a trend of its own;
    IPRED is the posterior mean of the patient's own true concentration. Observations beyond a
    limit stand at it.

    Parameters
    ----------
    residuals
        From `popk.residuals`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    names, outputs = names_of(residuals), outputs_of(residuals)
    rows = len(outputs)
    figure = Drawing(figsize=(8.2, 0.5 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False, sharey="row")
    for row, (output, unit, own) in zip(panels, outputs, strict=True):
        part, whose = residuals.isel(observation=np.flatnonzero(own)), names.taken(own)
        for ax, name in zip(row, ("PRED", "IPRED"), strict=True):
            _against(bare(ax), part, name, whose)
            ax.set_xlabel(label(f"{output} {name}".strip(), unit))
        row[0].set_ylabel(label(f"{output} DV".strip(), unit))
        row[0].legend(fontsize=7.5, frameon=False, loc="upper left")
    mark_not_converged(figure, residuals)
    return figure


def _against(ax: Axes, part: xr.Dataset, name: str, names: Names) -> None:
    """DV of one output against one kind of prediction."""
    x, dv = part[name].values, part["DV"].values
    log = _is_wide(dv)
    log_scale(ax, x=log, y=log)
    draw_observations(ax, part, x, dv, names)
    shown = np.isfinite(x) & ((x > 0) & (dv > 0) | (not log))
    if not shown.any():
        return
    ends = np.array([min(x[shown].min(), dv[shown].min()), max(x[shown].max(), dv[shown].max())])
    ax.plot(ends, ends, color=GREY, lw=1, ls=(0, (5, 3)), zorder=1, label="identity")
    if log and ends[1] > _DECADES * ends[0]:  # ticks at 2 and 5 would run into each other
        ax.xaxis.set_major_locator(LogLocator())
    known = shown & (part["CENS"].values == 0)
    # Of DV over predictions as they are: the mean of the one is the other, whatever the axes.
    draw_trend(ax, x[known], dv[known])


def plot_observations(residuals: xr.Dataset) -> Figure:
    """The observations over the time after dose; those beyond a limit stand at it.

    Several outputs have a panel each, in their own units.

    Parameters
    ----------
    residuals
        From `popk.residuals`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    names, outputs = names_of(residuals), outputs_of(residuals)
    figure = Drawing(figsize=(8.2, 0.4 + 2.7 * len(outputs)), layout="constrained")
    panels = figure.subplots(len(outputs), 1, squeeze=False, sharex=True).ravel().tolist()
    clock = "TAD" if np.isfinite(residuals["TAD"].values).any() else "TIME"
    for ax, (output, unit, own) in zip(panels, outputs, strict=True):
        part = residuals.isel(observation=np.flatnonzero(own))
        dv = part["DV"].values
        log_scale(bare(ax), y=_is_wide(dv))
        draw_observations(ax, part, part[clock].values, dv, names.taken(own))
        ax.set_ylabel(label(f"{output} DV".strip(), unit))
    panels[0].legend(fontsize=7.5, frameon=False, loc="upper right")
    what = {"TAD": "Time after dose", "TIME": "Time"}[clock]
    panels[-1].set_xlabel(label(what, residuals["TIME"].attrs.get("units", "")))
    return figure


def draw_trend(ax: Axes, x: Floats, y: Floats, *, log_x: bool = False) -> None:
    """A smooth line through points, drawn where there are enough of them.

    It is the mean of y, as predictions are, also where the axis of y is logarithmic.
    """
    at, height = trend(np.log(x) if log_x else x, y)
    if len(at):
        at = np.exp(at) if log_x else at
        height = np.where(height > 0, height, np.nan) if ax.get_yscale() == "log" else height
        ax.plot(at, height, color=INK, lw=1.5, label="trend")


def _is_wide(dv: Floats) -> bool:
    return bool((dv > 0).all() and dv.max() > _WIDE * dv.min())
