"""The figure of a cohort's troughs: over time, against weight, against weeks since the dose."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    Drawing,
    PlotError,
    bare,
    label,
    log_scale,
    mark_not_converged,
)

__all__ = ["plot_description"]

_SIZE = (11.0, 3.6)  # inches
_KIND = "popk description"


def plot_description(result: xr.DataTree, *, covariate: str = "WT") -> Figure:
    """Every trough over time, each patient's level against a covariate, and against the interval.

    Over time the troughs of a patient are joined by a line. Against the covariate stand the
    patients' own median troughs with their 90 % intervals; it is left out where the data have none
    of that name. Triangles are BLQ, drawn at their LLOQ; dotted lines are the targets.

    Parameters
    ----------
    result
        From `popk.describe`.
    covariate
        Name of a covariate of the data.

    Raises
    ------
    PlotError
        When it is no such result.
    """
    if result.attrs.get("kind") != _KIND:
        raise PlotError("This is not the result of popk.describe; give what it returned.")
    has = covariate in result["patients"]
    figure = Drawing(figsize=_SIZE if has else (_SIZE[0] * 0.7, _SIZE[1]), layout="constrained")
    axes = [bare(ax) for ax in np.ravel(figure.subplots(1, 2 + has, sharey=True))]
    table = result["troughs"].to_dataset().to_dataframe()
    unit = json.loads(result.attrs["units"])["concentration"]
    _over_time(axes[0], table)
    _against_weeks(axes[-1], table)
    if has:
        _against(axes[1], result, covariate)
    for ax in axes:
        for target in np.ravel(result.attrs["targets"]).tolist():
            ax.axhline(target, color=INK, lw=0.8, ls=":")
        log_scale(ax, y=True)
    axes[0].set_ylabel(f"Trough ({unit})")
    mark_not_converged(axes[0], result)
    return figure


def _over_time(ax: Axes, table: pd.DataFrame) -> None:
    for _, own in table.groupby("ID", sort=False):
        ax.plot(own["years"], own["DV"], color=GREY, lw=0.7, alpha=0.7)
    _points(ax, table, "years")
    ax.set_xlabel("Since the first dose (a)")


def _against_weeks(ax: Axes, table: pd.DataFrame) -> None:
    _points(ax, table, "weeks")
    ax.set_xlabel("Since the last dose (wk)")


def _points(ax: Axes, table: pd.DataFrame, x: str) -> None:
    """Quantified troughs, and those below the limit."""
    low = table["CENS"] == 1
    ax.plot(table.loc[~low, x], table.loc[~low, "DV"], "o", ms=2.6, color=BLUE, alpha=0.7)
    ax.plot(table.loc[low, x], table.loc[low, "DV"], "v", ms=4, color=RED, label="BLQ")
    if low.any():
        ax.legend(loc="lower left", fontsize=8, frameon=False)


def _against(ax: Axes, result: xr.DataTree, covariate: str) -> None:
    """Each patient's own level."""
    own = result["patients"].to_dataset()
    at = own[covariate].values
    ax.vlines(at, own["low"], own["high"], color=BLUE, lw=0.9, alpha=0.5)
    ax.plot(at, own["level"], "o", ms=3, color=BLUE)
    ax.set_xlabel(label(covariate, own[covariate].attrs["units"]))
    ax.set_title("Patients' own median troughs", fontsize=9, loc="left")
