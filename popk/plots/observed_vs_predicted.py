"""Observations against the individual predictions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import (
    BLUE,
    GREY,
    INTERVAL,
    RED,
    axes_for,
    interval,
    label,
    log_scale,
    mark_not_converged,
    units_of,
)

__all__ = ["plot_observed_vs_predicted"]

_WHISKERS_UP_TO = 400  # beyond this many observations the whiskers hide the points


def plot_observed_vs_predicted(fit: xr.DataTree, *, ax: Axes | None = None) -> Figure:
    """DV against the posterior median of IPRED on logarithmic axes, with the identity line.

    An observation below the LLOQ is an open triangle at its LLOQ, one above the ULOQ there.
    Thin whiskers are the 90 % interval of IPRED; they are left out above 400 observations. A
    quantified DV of 0 has no place on a logarithmic axis; the legend counts such observations.

    Parameters
    ----------
    fit
        A fit of popk, with `observed_data` and `posterior_predictive`.
    ax
        Where to draw; a new figure without it.
    """
    figure, ax = axes_for(ax, size=(4.6, 4.4))
    unit = units_of(fit)["concentration"]
    observed = fit["observed_data"].to_dataset()
    dv, cens = observed["DV"].values, observed["cens"].values
    median, low, high = interval(fit["posterior_predictive"].to_dataset()["IPRED"])
    shown = (dv > 0) & (median > 0)
    if shown.sum() <= _WHISKERS_UP_TO:
        ax.hlines(dv[shown], low[shown], high[shown], color=BLUE, alpha=0.25, linewidth=0.7)
    plain = shown & (cens == 0)
    ax.scatter(median[plain], dv[plain], s=14, color=BLUE, alpha=0.75, lw=0, label="quantified")
    for code, marker, text in ((1, "v", "BLQ, drawn at the LLOQ"), (-1, "^", "drawn at the ULOQ")):
        beyond = shown & (cens == code)
        if beyond.any():
            ax.scatter(
                median[beyond],
                dv[beyond],
                s=24,
                marker=marker,
                facecolors="none",
                edgecolors=RED,
                linewidths=0.9,
                label=text,
            )
    if (~shown).any():
        ax.plot([], [], " ", label=f"{int((~shown).sum())} not shown (0 on a log axis)")
    log_scale(ax, x=True, y=True)
    if shown.any():
        ends = np.array([min(median[shown].min(), dv[shown].min()), max(median.max(), dv.max())])
        ax.plot(ends, ends, color=GREY, linewidth=1, zorder=1, label="identity")
    ax.set_xlabel(label(f"IPRED, median and {100 * INTERVAL:.0f} % interval", unit))
    ax.set_ylabel(label("DV", unit))
    ax.legend(fontsize=7.5, frameon=False, loc="upper left")
    mark_not_converged(ax, fit)
    return figure
