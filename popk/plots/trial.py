"""The figure of a trial of policies on virtual patients."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import BLUE, GREEN, GREY, INK, Drawing, PlotError, bare

__all__ = ["plot_trial"]

_SIZE = (10.0, 1.5, 0.5)  # inches: width, height without policies and for each


def plot_trial(result: xr.DataTree) -> Figure:
    """What each policy costs in infusions and in troughs under the target, and its intervals.

    Left: infusions per year against the share of troughs under the target, with 95 % Monte Carlo
    intervals; the lower left corner is the best, and T knows everybody's true parameters. Right:
    the intervals that patients had, as the share of their time.

    Parameters
    ----------
    result
        From `popk.trial`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    if result.attrs.get("kind") != "popk trial":
        raise PlotError("This is not the result of popk.trial; give what it returned.")
    own = result["summary"].to_dataset()
    names = [str(name) for name in own["policy"].values]
    width, base, each = _SIZE
    figure = Drawing(figsize=(width, max(3.2, base + each * len(names))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _trade(bare(left), own, names, result)
    _intervals(bare(right), result["visits"].to_dataset(), names)
    what = f"{result['patients'].sizes['patient']} virtual patients of {result.attrs['truth_name']}"
    figure.suptitle(
        f"{what}, {float(result.attrs['weeks']):g} weeks", x=0.01, ha="left", fontsize=9, color=INK
    )
    return figure


def _trade(ax: Axes, own: xr.Dataset, names: list[str], result: xr.DataTree) -> None:
    cost, held = own.sel(measure="infusions"), own.sel(measure="attained")
    x, y = cost["estimate"].values, 100 - held["estimate"].values
    ax.errorbar(
        x, y, xerr=1.96 * cost["se"].values, yerr=1.96 * held["se"].values,
        fmt="none", ecolor=GREY, elinewidth=0.9,
    )  # fmt: skip
    for k in range(len(names)):
        last = k == len(names) - 1
        ax.plot(x[k], y[k], "*" if last else "o", color=GREEN if last else BLUE,
                markersize=10 if last else 6)  # fmt: skip
        ax.annotate(_number(k, len(names)), (x[k], y[k]), xytext=(5, 5), fontsize=8, color=INK,
                    textcoords="offset points")  # fmt: skip
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.margins(x=0.12)
    target = f"{float(result.attrs['target']):g} {result.attrs['target_units']}"
    ax.set_xlabel("Infusions per year")
    ax.set_ylabel(f"Troughs under {target} (%)")


def _intervals(ax: Axes, visits: xr.Dataset, names: list[str]) -> None:
    """Share of time in each planned interval, a row of bars for each policy."""
    own = visits.sel(visit=slice(1, None))
    planned = own["planned"].values
    weeks = np.unique(np.round(planned[np.isfinite(planned)]))
    shades = np.linspace(0.15, 0.9, max(len(weeks), 2))

    for k in range(len(names)):
        row = np.round(planned[k][np.isfinite(planned[k])])
        share = np.array([row[row == week].sum() for week in weeks]) / row.sum()
        start = 0.0
        for week, part, shade in zip(weeks.tolist(), share.tolist(), shades, strict=False):
            if part <= 0:
                continue
            ax.barh(k, 100 * part, left=100 * start, color=colormaps["Blues"](shade), height=0.62)
            if part > 0.05:
                ax.text(100 * (start + part / 2), k, f"{week:g}", ha="center", va="center",
                        fontsize=8, color="white" if shade > 0.5 else INK)  # fmt: skip
            start += part
    labels = [f"{_number(k, len(names))}  {name}" for k, name in enumerate(names)]
    ax.set_yticks(range(len(names)), labels)
    ax.get_yticklabels()[-1].set_color(GREEN)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, 100)
    ax.set_xlabel("Time at each interval of so many weeks (%)")


def _number(place: int, count: int) -> str:
    return "T" if place == count - 1 else str(place + 1)
