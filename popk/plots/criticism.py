"""The checks of a model, and which of them flag it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.panels import check_kind
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    axes_for,
    legend_above,
    mark_not_converged,
)

__all__ = ["plot_criticism"]

_SMALLEST = 1e-6


def plot_criticism(table: xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """The adjusted p-value of each check on a logarithmic axis, with the level that flags.

    A check that flags the model is a filled point with its name in bold. What is below a millionth
    stands there.

    Parameters
    ----------
    table
        From `popk.criticise`.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "criticism", "popk.criticise")
    names = [str(name) for name in table["check"].values]
    p = np.maximum(table["p_adjusted"].values, _SMALLEST)
    flagged = table["flagged"].values.astype(bool)
    figure, ax = axes_for(ax, size=(6.4, 0.9 + 0.27 * max(len(names), 2)))
    at = np.arange(len(names))[::-1]
    ax.hlines(at, p, 1, color=GREY, lw=0.8)
    ax.plot(p[~flagged], at[~flagged], "o", mfc="white", mec=BLUE, ms=6, label="no objection")
    ax.plot(p[flagged], at[flagged], "D", color=RED, ms=6, label="flags the model")
    level = float(table.attrs["level"])
    ax.axvline(level, color=INK, ls="--", lw=1, label=f"level {level:g}, all checks together")
    ax.set_xscale("log")
    ax.set_xlim(_SMALLEST / 2, 1.3)
    ax.set_yticks(at, names)
    for tick, wrong in zip(ax.get_yticklabels(), flagged.tolist(), strict=True):
        tick.set_fontweight("bold" if wrong else "normal")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Posterior predictive p-value, adjusted for the number of checks")
    legend_above(ax, columns=3)
    mark_not_converged(ax, table)
    return figure
