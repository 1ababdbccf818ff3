"""Observations and individual predictions, one small panel per subject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import (
    BLUE,
    INK,
    RED,
    Floats,
    PlotError,
    grid_of_axes,
    interval,
    label,
    mark_not_converged,
    title_of,
    units_of,
)

__all__ = ["plot_individual_fits"]


def plot_individual_fits(
    fit: xr.DataTree, *, subjects: Sequence[str] | None = None, most: int = 12
) -> Figure:
    """Observations over time with the posterior median and 90 % interval of IPRED at each.

    Bars, not a curve: nothing is said between the observations. A BLQ observation is an open
    triangle at its LLOQ, one above the ULOQ a triangle upwards there.

    Parameters
    ----------
    fit
        A fit of popk, with `observed_data` and `posterior_predictive`.
    subjects
        IDs to draw; without it the first `most` subjects that have observations.
    most
        How many panels to draw when `subjects` is not given.

    Raises
    ------
    PlotError
        When a subject has no observations in the fit.
    """
    observed = fit["observed_data"].to_dataset()
    ids = observed["ID"].values.astype(str)
    held = list(dict.fromkeys(ids.tolist()))
    wanted = held[:most] if subjects is None else [str(subject) for subject in subjects]
    unknown = [subject for subject in wanted if subject not in held]
    if unknown or not wanted:
        which = f"subject {', '.join(unknown)}" if unknown else "the selection"
        raise PlotError(f"There are no observations of {which} in the fit.")
    units = units_of(fit)
    bands = interval(fit["posterior_predictive"].to_dataset()["IPRED"])
    figure, panels = grid_of_axes(len(wanted), columns=4, size=(2.1, 1.75), share_y=True)
    for ax, subject in zip(panels, wanted, strict=True):
        own = ids == subject
        _draw(ax, observed.isel(observation=own), [values[own] for values in bands])
        ax.set_title(title_of(subject), fontsize=8, color=INK, loc="left", parse_math=False)
    panels[0].set_ylim(bottom=0)
    figure.supxlabel(label("Time", units["time"]), fontsize=9, color=INK)
    figure.supylabel(label("Concentration", units["concentration"]), fontsize=9, color=INK)
    kinds = dict(zip(*reversed(_legend_of(panels)), strict=True))
    figure.legend(
        list(kinds.values()), list(kinds), loc="outside upper right", ncols=4, fontsize=7.5,
        frameon=False,
    )  # fmt: skip
    mark_not_converged(figure, fit)
    return figure


def _legend_of(panels: list[Axes]) -> tuple[list[Any], list[str]]:
    """Handles and labels of all panels, repeated ones included."""
    pairs = [ax.get_legend_handles_labels() for ax in panels]
    return [h for handles, _ in pairs for h in handles], [t for _, texts in pairs for t in texts]


def _draw(ax: Axes, observed: xr.Dataset, bands: list[Floats]) -> None:
    time, dv = observed["TIME"].values, observed["DV"].values
    cens, above = (observed["cens"].values == code for code in (1, -1))
    plain = ~cens & ~above
    median, low, high = bands
    ax.vlines(time, low, high, color=BLUE, alpha=0.3, linewidth=4, label="90 % interval of IPRED")
    ax.plot(time, median, "_", color=BLUE, markersize=8, label="median IPRED")
    ax.plot(time[plain], dv[plain], "o", color=INK, markersize=3.5, label="DV")
    if cens.any():
        ax.plot(
            time[cens], dv[cens], "v", color=RED, mfc="none", markersize=4.5, label="BLQ, at LLOQ"
        )
    if above.any():
        ax.plot(time[above], dv[above], "^", color=RED, mfc="none", markersize=4.5, label="at ULOQ")
