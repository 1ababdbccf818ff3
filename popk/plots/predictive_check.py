"""The figure of a visual predictive check."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Drawing,
    PlotError,
    bare,
    label,
    log_scale,
    mark_not_converged,
)

__all__ = ["plot_vpc"]

type Floats = NDArray[np.float64]

_HEIGHTS = (3.0, 1.0)  # of the panels of percentiles and of fractions below the limit
_BELOW_ALL, _ROOM = 1.5, 1.2  # factors below the lowest number on a logarithmic axis


def plot_vpc(table: xr.Dataset, *, log: bool = False) -> Figure:
    """Observed percentiles over the bands of the simulated ones, a column for each stratum.

    Lines are observed (dashed the outer percentiles), boxes the bands of the simulated ones in each
    bin. A band that begins below the limit of quantification reaches the lower edge; an observed
    percentile there is an open triangle on it. Where there are limits, the fraction below them
    stands underneath.

    Parameters
    ----------
    table
        From `popk.vpc`.
    log
        Logarithmic concentrations.

    Raises
    ------
    PlotError
        When the table is something else.
    """
    if table.attrs.get("kind") != "popk vpc":
        raise PlotError("This is not the result of popk.vpc; give what it returned.")
    strata = [str(name) for name in table["stratum"].values]
    with_blq = bool(table["blq_observed"].notnull().any())
    heights = _HEIGHTS if with_blq else _HEIGHTS[:1]
    wide = 4.2 if len(strata) < 3 else 3.0  # a page shows what is wider in smaller letters
    figure = Drawing(
        figsize=(max(6.8, 0.4 + wide * len(strata)), 0.6 + 1.1 * sum(heights)),
        layout="constrained",
    )
    shared = len({str(unit) for unit in table["unit"].values}) == 1
    axes = figure.subplots(
        len(heights), len(strata), squeeze=False, sharex=True, sharey="row" if shared else False,
        height_ratios=heights,
    )  # fmt: skip
    time = label(_capital(table["x"].attrs["long_name"]), table["x"].attrs["units"])
    probability = f"{100 * table.attrs['band_probability']:.0f} %"
    for k, name in enumerate(strata):
        part = table.isel(stratum=k)
        ax = bare(axes[0, k])
        _percentiles(ax, part, log=log, probability=probability)
        ax.set_title(name if len(strata) > 1 else "", fontsize=9, color=INK, loc="left")
        mark_not_converged(ax, table)
        if with_blq:
            _fractions(bare(axes[1, k]), part)
        axes[-1, k].set_xlabel(time)
    handles, words = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper left", fontsize=7, frameon=False, ncols=2)
    return figure


def _percentiles(ax: Axes, part: xr.Dataset, *, log: bool, probability: str) -> None:
    observed, band = part["observed"].values, part["simulated"].values
    numbers = np.concatenate([observed.ravel(), band.ravel()])
    numbers = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
    low = low / _BELOW_ALL if log else min(0.0, float(low))
    edges = np.append(part["bin_low"].values, part["bin_high"].values[-1])
    floor = low / _ROOM if log else low - 0.03 * (high - low)
    outer, middle = (f"{part['percentile'].values[k]:g}th" for k in (0, 1))
    outer += f" and {part['percentile'].values[2]:g}th"
    for k, (colour, style, name) in enumerate(
        ((ORANGE, "--", outer), (BLUE, "-", middle), (ORANGE, "--", None))
    ):
        ends = np.where(np.isneginf(band[:, k]), floor, band[:, k])[:, [0, 2]]
        ends = np.where(np.isposinf(ends), high, ends)
        _boxes(ax, edges, ends, colour, name and f"simulated, {name}, {probability}")
        values, x = observed[:, k], part["x"].values
        shown = np.where(np.isfinite(values), values, np.nan)
        words = name and f"observed, {name}"
        ax.plot(x, shown, style, marker="o", ms=3, lw=1.2, color=INK, label=words)
        beyond = x[np.isneginf(values)]
        words = "observed, below the LLOQ" if k == 0 and len(beyond) else None
        ax.plot(beyond, np.full(len(beyond), low), "v", mfc="none", mec=INK, label=words)
    if log:
        log_scale(ax, y=True)
    ax.set_ylim(bottom=floor)
    ax.set_ylabel(label(_capital(part["observed"].attrs["long_name"]), str(part["unit"].values)))


def _fractions(ax: Axes, part: xr.Dataset) -> None:
    edges = np.append(part["bin_low"].values, part["bin_high"].values[-1])
    _boxes(ax, edges, part["blq_simulated"].values[:, [0, 2]], GREY, None)
    ax.plot(part["x"].values, part["blq_observed"].values, "-", marker="o", ms=3, lw=1.2, color=INK)
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel("Fraction BLQ")


def _boxes(ax: Axes, edges: Floats, ends: Floats, colour: str, words: str | None) -> None:
    """A band (bin, 2) as one box for each bin; none where it is empty."""
    twice = np.repeat(edges, 2)[1:-1]
    low, high = (np.repeat(ends[:, k], 2) for k in (0, 1))
    ax.fill_between(twice, low, high, color=colour, alpha=0.25, lw=0, label=words)


def _capital(text: str) -> str:
    name = text.partition(",")[0]
    return name[:1].upper() + name[1:]
