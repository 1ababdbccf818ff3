"""Which patients drive a population parameter."""

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
    PlotError,
    axes_for,
    legend_above,
    mark_not_converged,
)

__all__ = ["plot_influence"]


def plot_influence(
    table: xr.Dataset, *, parameter: str, most: int = 15, ax: Axes | None = None
) -> Figure:
    """How the mean of one parameter moves without each of the most influential patients.

    Parameters
    ----------
    table
        From `popk.influence`.
    parameter
        Name of the population parameter.
    most
        How many patients to draw.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When the table is something else, or holds no such parameter.
    """
    check_kind(table, "influence", "popk.influence")
    known = table["parameter"].values.tolist()
    if parameter not in known:
        raise PlotError(f"There is no parameter {parameter} here; there are {', '.join(known)}.")
    part = table.sel(parameter=parameter)
    change = part["mean_change"].values
    chosen = np.argsort(-np.abs(np.nan_to_num(change)))[:most]
    chosen = chosen[np.argsort(change[chosen])]
    figure, ax = axes_for(ax, size=(5.6, 1.0 + 0.24 * max(len(chosen), 2)))
    at = np.arange(len(chosen))
    sure = part["reliable"].values[chosen].astype(bool)
    ax.barh(at[sure], change[chosen][sure], color=BLUE, height=0.65, label="known well")
    if (~sure).any():
        ax.barh(
            at[~sure], change[chosen][~sure], color="none", edgecolor=RED, hatch="///",
            height=0.65, label="known roughly (k-hat)",
        )  # fmt: skip
    ax.axvline(0, color=INK, lw=0.9)
    for half in (-0.5, 0.5):
        ax.axvline(half, color=GREY, ls="--", lw=0.8)
    ax.set_yticks(at, [f"ID {name}" for name in part["subject"].values[chosen]])
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(f"Change of the mean of {parameter} without the patient (posterior SDs)")
    legend_above(ax, columns=2)
    mark_not_converged(ax, table)
    return figure
