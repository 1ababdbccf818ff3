"""Whether left-out observations lie where they should."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import beta

from popk.plots.goodness_of_fit import draw_trend
from popk.plots.panels import check_kind
from popk.plots.points import draw_observations, names_of
from popk.plots.style import BLUE, GREY, INK, Drawing, bare, label, mark_not_converged

__all__ = ["plot_loo_pit"]

_BAND = 0.95


def plot_loo_pit(table: xr.Dataset) -> Figure:
    """LOO-PIT against time after dose, and their cumulative distribution less the uniform one.

    The band holds each point of the curve with 95 % probability if the model is right. A curve
    above it on the left says that observations are lower than predicted; one like an S, that
    predictions are too certain or too uncertain.

    Parameters
    ----------
    table
        From `popk.loo_pit`.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "loo pit", "popk.loo_pit")
    figure = Drawing(figsize=(7.4, 3.1), layout="constrained")
    left, right = (bare(ax) for ax in figure.subplots(1, 2))
    x, pit = table["TAD"].values, table["pit"].values
    left.axhline(0.5, color=INK, lw=0.9, zorder=1)
    draw_observations(left, table, x, pit, names_of(table))
    known = np.isfinite(x) & np.isfinite(pit)
    draw_trend(left, x[known], pit[known])
    left.set_ylim(-0.03, 1.03)
    left.set_xlabel(label("Time after dose", table["TAD"].attrs["units"]))
    left.set_ylabel("LOO-PIT")
    known = np.sort(pit[np.isfinite(pit)])
    n, at = len(known), np.linspace(0, 1, 201)
    share = np.searchsorted(known, at, side="right") / max(n, 1)
    counts = np.arange(1, n + 1)
    # Where the k-th smallest of n uniform numbers lies, point by point.
    tail = (1 - _BAND) / 2
    low, high = beta.ppf(tail, counts, n - counts + 1), beta.ppf(1 - tail, counts, n - counts + 1)
    upper = np.interp(at, low, counts / n) - at
    lower = np.interp(at, high, counts / n) - at
    right.fill_between(at, lower, upper, color=GREY, alpha=0.3, lw=0, label="95 %, point by point")
    right.plot(at, share - at, color=BLUE, lw=1.5, label="LOO-PIT")
    right.axhline(0, color=INK, lw=0.9)
    right.set_xlabel("LOO-PIT")
    right.set_ylabel("ECDF - uniform")
    right.legend(
        fontsize=7.5, frameon=False, loc="upper right", bbox_to_anchor=(1.02, 1.12), ncols=2
    )
    mark_not_converged(left, table)
    return figure
