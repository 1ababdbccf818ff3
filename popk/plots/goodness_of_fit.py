"""Observations against the population's and the patients' own predictions."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from popk.plots.panels import check_kind, scatter
from popk.plots.style import GREY, bare, label, log_scale, mark_not_converged

__all__ = ["plot_goodness_of_fit"]

type Floats = NDArray[np.float64]

_BELOW = 5.0  # how far below the lowest observation predictions are drawn


def plot_goodness_of_fit(table: xr.Dataset, *, log: bool = True) -> Figure:
    """DV against PRED and against IPRED, with the identity line.

    PRED is the mean of DV in a new patient with these doses and covariates, over the posterior;
    IPRED the posterior mean of the patient's own concentration. An observation below the LLOQ is an
    open triangle at its LLOQ. Values of zero or less have no place on logarithmic axes, and are
    counted; a prediction below a fifth of the lowest observation stands at the left edge. Several
    outputs, each in its unit, have a row each.

    Parameters
    ----------
    table
        From `popk.residuals`.
    log
        Logarithmic axes.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "residuals", "popk.residuals")
    outputs = table["OUTPUT"].values.astype(str) if "OUTPUT" in table.coords else None
    names = list(dict.fromkeys(outputs.tolist())) if outputs is not None else [""]
    units = table["DV"].attrs["units"]
    by_output = json.loads(units) if units.startswith("{") else dict.fromkeys(names, units)
    figure = Figure(figsize=(7.6, 3.6 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 2, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        part = table if outputs is None else table.isel(observation=outputs == name)
        dv, cens = part["DV"].values, part["CENS"].values
        ends = _ends(dv, [part["PRED"].values, part["IPRED"].values], log=log)
        for ax, column, words in (
            (bare(row[0]), "PRED", "PRED, population mean"),
            (bare(row[1]), "IPRED", "IPRED, posterior mean"),
        ):
            x = part[column].values
            shown = (x > 0) & (dv > 0) if log else np.isfinite(x)
            if log:
                log_scale(ax, x=True, y=True)
            ax.plot(ends, ends, color=GREY, lw=1, zorder=1, label="identity")
            at = np.maximum(x[shown], ends[0])
            scatter(ax, at, dv[shown], cens[shown], how=", at the LLOQ")
            if (~shown).any():
                ax.plot([], [], " ", label=f"{int((~shown).sum())} not shown (0 on a log axis)")
            ax.set(xlim=ends, ylim=ends)
            ax.set_xlabel(label(words, by_output[name]))
            ax.set_ylabel(label(" ".join(filter(None, ("DV", name))), by_output[name]))
        mark_not_converged(row[0], table)
    axes[0, 0].legend(fontsize=7.5, frameon=False, loc="upper left")
    return figure


def _ends(observed: Floats, predicted: list[Floats], *, log: bool) -> tuple[float, float]:
    """Common ends of both axes, with a little room; predictions may lie below them."""
    everything = np.concatenate([observed, *predicted])
    everything = everything[np.isfinite(everything) & ((everything > 0) | (not log))]
    if not len(everything):
        return 0.1, 1.0
    low, high = float(everything.min()), float(everything.max())
    if not log:
        return min(0.0, low), high * 1.05
    return max(low, float(observed[observed > 0].min(initial=high)) / _BELOW) / 1.2, high * 1.3
