"""What the data taught about the population: prior beside posterior."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import BLUE, GREY, INK, grid_of_axes, label, mark_not_converged

__all__ = ["plot_population"]

_BINS = 60


def plot_population(fit: xr.DataTree) -> Figure:
    """Prior (outline) and posterior (filled) of every population parameter, as histograms.

    The axis covers all of the posterior and the middle 96 % of the prior. A parameter with a fixed
    value is a line at it, and so is a mode.

    Parameters
    ----------
    fit
        A fit of popk, with `posterior` and `prior`.
    """
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    names = json.loads(posterior.attrs["population"])
    figure, panels = grid_of_axes(len(names), columns=4, size=(2.1, 1.6))
    for ax, name in zip(panels, names, strict=True):
        _draw(ax, prior[name].values.ravel(), posterior[name].values.ravel())
        ax.set_xlabel(label(name, posterior[name].attrs.get("units", "1")), fontsize=8.5)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False, labelcolor=INK)
    mark_not_converged(figure, fit)
    return figure


def _draw(ax: Axes, prior: np.ndarray, posterior: np.ndarray) -> None:
    if np.ptp(posterior) == np.ptp(prior) == 0.0:  # fixed: a histogram has no width
        ax.axvline(posterior[0], color=GREY, linewidth=1.1, label="fixed")
        return
    low, high = np.quantile(prior, [0.02, 0.98])
    ends = (min(low, posterior.min()), max(high, posterior.max()))
    edges = np.linspace(*ends, _BINS + 1).tolist()
    if np.ptp(posterior) == 0.0:  # a mode
        ax.axvline(posterior[0], color=BLUE, label="posterior")
    else:
        ax.hist(
            posterior, bins=edges, density=True, histtype="stepfilled", color=BLUE, alpha=0.55,
            label="posterior",
        )  # fmt: skip
    ax.hist(
        prior, bins=edges, density=True, histtype="step", color=GREY, linewidth=1.1, label="prior"
    )
