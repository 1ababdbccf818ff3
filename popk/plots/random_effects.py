"""Random effects: their distribution beside the population's, and against covariates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from popk.plots.goodness_of_fit import draw_trend
from popk.plots.panels import check_kind
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    Drawing,
    PlotError,
    bare,
    grid_of_axes,
    label,
    mark_not_converged,
)

__all__ = ["plot_effects_against_covariates", "plot_random_effects"]

_MOST = 6  # covariates


def plot_random_effects(table: xr.Dataset) -> Figure:
    """For each effect the distribution of all patients' draws, and the population's.

    Ticks underneath are the patients' posterior means, which shrink towards zero where data are
    sparse; the filled distribution does not.

    Parameters
    ----------
    table
        From `popk.diagnostics.random_effects`.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "random effects", "popk.diagnostics.random_effects")
    names = table["effect"].values.tolist()
    figure, axes = grid_of_axes(len(names), columns=4, size=(2.7, 2.3))
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        part = table.isel(effect=k)
        edges = np.append(part["low"].values, part["high"].values[-1])
        ax.stairs(
            part["density"].values, edges, fill=True, color=BLUE, alpha=0.5, label="patients' draws"
        )
        ax.stairs(part["expected"].values, edges, color=INK, lw=1.2, label="population")
        top = float(max(part["density"].max(), part["expected"].max()))
        means = part["mean"].values
        ax.plot(
            means, np.full(len(means), -0.06 * top), "|", color=INK, ms=7, mew=0.7, alpha=0.6,
            label="patients' means",
        )  # fmt: skip
        ax.set_ylim(-0.12 * top, 1.1 * top)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(f"η of {name}")
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper left", fontsize=7.5, frameon=False, ncols=3)
    mark_not_converged(axes[0], table)
    return figure


def plot_effects_against_covariates(table: xr.Dataset) -> Figure:
    """Each effect against each covariate, with the correlation of the draws and its 90 % interval.

    Points are posterior means, bars two posterior SDs to either side: where the bars are as long as
    the points are spread, the picture says little, and the correlation in the title counts.

    Parameters
    ----------
    table
        From `popk.diagnostics.random_effects`.

    Raises
    ------
    PlotError
        When the table is something else, or the data have no covariates.
    """
    check_kind(table, "random effects", "popk.diagnostics.random_effects")
    covariates = table["covariate"].values.tolist()[:_MOST]
    effects = table["effect"].values.tolist()
    if not covariates:
        raise PlotError("The data have no covariates to draw random effects against.")
    figure = Drawing(
        figsize=(0.6 + 2.5 * len(covariates), 0.3 + 2.1 * len(effects)), layout="constrained"
    )
    axes = figure.subplots(len(effects), len(covariates), squeeze=False, sharex="col", sharey="row")
    for i, effect in enumerate(effects):
        for j, covariate in enumerate(covariates):
            ax, part = bare(axes[i, j]), table.isel(effect=i, covariate=j)
            x, y = part["covariate_value"].values, part["mean"].values
            distinct = np.unique(x[np.isfinite(x)])
            if len(distinct) <= 5:  # a category: side by side
                gap = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
                x = x + 0.3 * gap * np.linspace(-1, 1, len(x))
                ax.set_xticks(distinct)
            ax.errorbar(
                x, y, yerr=2 * part["sd"].values, fmt="o", ms=3, color=BLUE, ecolor=GREY,
                elinewidth=0.6, alpha=0.7,
            )  # fmt: skip
            ax.axhline(0, color=INK, lw=0.8, zorder=1)
            if len(distinct) > 5:
                draw_trend(ax, x, y)
            r, low, high = (
                float(part[name]) for name in ("correlation", "correlation_low", "correlation_high")
            )
            if np.isfinite(r):
                ax.set_title(f"r {r:.2f} ({low:.2f} to {high:.2f})", fontsize=8, color=INK)
            if i == len(effects) - 1:
                ax.set_xlabel(label(covariate, str(part["unit"].values)))
            if j == 0:
                ax.set_ylabel(f"η of {effect}")
    mark_not_converged(axes[0, 0], table)
    return figure
