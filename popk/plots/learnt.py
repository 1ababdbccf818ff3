"""How much of each prior is left in the posterior."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.diagnostics import WEAK
from popk.plots.style import BLUE, GREY, INK, PlotError, axes_for

__all__ = ["plot_learnt"]


def plot_learnt(identifiability: xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """Posterior SD over prior SD of each parameter, from the one that the data say least of.

    Both in normal scores of the priors: 1 where the data say nothing. Beyond the dashed line more
    than half of the prior's variance is left.

    Parameters
    ----------
    identifiability
        From `popk.diagnose`, or the group of that name of a fit.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is something else.
    """
    if "sd_ratio" not in identifiability:
        raise PlotError("This is not the group identifiability of popk.diagnose or of a fit.")
    order = np.argsort(-identifiability["sd_ratio"].values, kind="stable")
    ratio = identifiability["sd_ratio"].values[order]
    names = [str(identifiability["estimated"].values[k]) for k in order]
    figure, ax = axes_for(ax, size=(8.2, 0.9 + 0.24 * len(names)))
    at = np.arange(len(names))
    limit = float(np.sqrt(WEAK))
    ax.barh(at, ratio, height=0.6, color=BLUE, alpha=0.35, ec=BLUE, lw=0.8)
    weak = ratio > limit
    ax.barh(at[weak], ratio[weak], height=0.6, color="none", ec=INK, lw=0.8, hatch="////")
    ax.axvline(limit, color=INK, lw=1, ls=(0, (5, 3)))
    ax.axvline(1.0, color=GREY, lw=1)
    ax.set_yticks(at, names, fontsize=8)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(0, max(1.1, 1.05 * float(np.nanmax(np.append(ratio, 0.0)))))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Posterior SD over prior SD (hatched: more than half of the variance is left)")
    return figure
