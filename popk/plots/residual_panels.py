"""Residuals and prediction errors against time and predictions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from popk.plots.panels import check_kind, running_median, scatter, zero_line
from popk.plots.style import BLUE, GREY, INK, bare, label, log_scale, mark_not_converged

__all__ = ["plot_npde", "plot_residuals"]

_NINETY = float(norm.ppf(0.95))


def plot_residuals(table: xr.Dataset) -> Figure:
    """PWRES against PRED and time after dose, IWRES against IPRED, and the size of IWRES.

    A right model leaves no course in any of them: the running median stays at zero, that of |IWRES|
    at 0.67. Dashed lines hold nine tenths of standard normal residuals. Observations beyond a limit
    have no residual; the title counts them.

    Parameters
    ----------
    table
        From `popk.residuals`.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "residuals", "popk.residuals")
    figure = Figure(figsize=(7.8, 5.6), layout="constrained")
    axes = [bare(ax) for ax in figure.subplots(2, 2).ravel()]
    cens = table["CENS"].values
    unit = _unit(table)
    panels = (
        ("PRED", "PWRES", "PRED, population mean"),
        ("TAD", "PWRES", ""),
        ("IPRED", "IWRES", "IPRED, posterior mean"),
        ("IPRED", "|IWRES|", "IPRED, posterior mean"),
    )
    for ax, (column, name, words) in zip(axes, panels, strict=True):
        x = table[column].values
        y = table[name.strip("|")].values
        y = np.abs(y) if name.startswith("|") else y
        if name.startswith("|"):
            ax.axhline(norm.ppf(0.75), color=INK, lw=0.9, zorder=1)
        else:
            zero_line(ax, -_NINETY, _NINETY)
        scatter(ax, x, y, np.zeros(len(y), dtype=np.int64))
        running_median(ax, x, y)
        if column != "TAD" and (x[np.isfinite(y)] > 0).all():
            log_scale(ax, x=True)
        attrs = table["TAD"].attrs
        ax.set_xlabel(
            label("Time after dose", attrs["units"]) if column == "TAD" else label(words, unit)
        )
        ax.set_ylabel(name)
    _count(figure, int((cens != 0).sum()))
    axes[0].legend(fontsize=7, frameon=False, loc="best")
    mark_not_converged(axes[0], table)
    return figure


def plot_npde(table: xr.Dataset) -> Figure:
    """NPDE against time after dose and PRED, and their distribution beside the standard normal.

    Dashed lines hold nine tenths of standard normal ones. An observation below its limit is an open
    triangle: it stands where what the model expects below the limit was drawn.

    Parameters
    ----------
    table
        From `popk.npde`.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    check_kind(table, "npde", "popk.npde")
    figure = Figure(figsize=(9.6, 3.1), layout="constrained")
    axes = [bare(ax) for ax in figure.subplots(1, 3)]
    errors, cens = table["NPDE"].values, table["CENS"].values
    time = label("Time after dose", table["TAD"].attrs["units"])
    for ax, column, words in (
        (axes[0], "TAD", time),
        (axes[1], "PRED", label("PRED, population mean", _unit(table))),
    ):
        x = table[column].values
        zero_line(ax, -_NINETY, _NINETY)
        scatter(ax, x, errors, cens, how=", drawn from below the LLOQ")
        running_median(ax, x, errors)
        ax.set_xlabel(words)
        ax.set_ylabel("NPDE")
    if (table["PRED"].values > 0).all():
        log_scale(axes[1], x=True)
    _distribution(axes[2], errors)
    handles, texts = axes[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside upper left", fontsize=7, frameon=False, ncols=4)
    mark_not_converged(axes[0], table)
    return figure


def _distribution(ax: Axes, errors: np.ndarray) -> None:
    known = np.sort(errors[np.isfinite(errors)])
    expected = norm.ppf((np.arange(len(known)) + 0.5) / max(len(known), 1))
    ends = (float(min(known.min(), -3)), float(max(known.max(), 3)))
    ax.plot(ends, ends, color=GREY, lw=1)
    ax.plot(expected, known, ".", color=BLUE, ms=4)
    ax.set_xlabel("Standard normal quantile")
    ax.set_ylabel("NPDE, ordered")


def _unit(table: xr.Dataset) -> str:
    """The unit of the predictions; none where outputs have several."""
    unit = str(table["PRED"].attrs.get("units", table["DV"].attrs["units"]))
    return "each in its unit" if unit.startswith("{") else unit


def _count(figure: Figure, beyond: int) -> None:
    if beyond:
        words = f"{beyond} observations beyond a limit of quantification have no residual"
        figure.suptitle(words, x=0.99, ha="right", fontsize=8, color=INK)
