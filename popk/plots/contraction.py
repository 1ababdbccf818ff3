"""What the data taught, parameter by parameter."""

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
    ORANGE,
    axes_for,
    legend_above,
    mark_not_converged,
)

__all__ = ["plot_contraction"]


def plot_contraction(table: xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """Contraction and overlap of prior and posterior of each population parameter.

    Contraction is 1 where the data say all, 0 where the posterior is as wide as the prior; with an
    overlap above 0.35 (dashed) a parameter rests on its prior.

    Parameters
    ----------
    table
        From `popk.contraction`.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "contraction", "popk.contraction")
    names = table["parameter"].values.tolist()
    figure, ax = axes_for(ax, size=(5.6, 0.9 + 0.27 * max(len(names), 2)))
    at = np.arange(len(names))[::-1]
    spread = np.clip(table["contraction"].values, 0, 1)
    overlap = table["overlap"].values
    ax.hlines(at, np.minimum(spread, overlap), np.maximum(spread, overlap), color=GREY, lw=0.7)
    ax.plot(spread, at, "o", color=BLUE, ms=6, label="contraction")
    ax.plot(overlap, at, "s", mfc="white", mec=ORANGE, mew=1.4, ms=5.5, label="overlap")
    ax.axvline(0.35, color=INK, ls="--", lw=0.9)
    ax.set_xlim(-0.03, 1.03)
    ax.set_yticks(at, names)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("0: nothing learnt or no overlap; 1: all learnt or the same")
    legend_above(ax, columns=2)
    mark_not_converged(ax, table)
    return figure
