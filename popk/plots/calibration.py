"""The figure of a simulation-based calibration."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import BLUE, GREY, INK, RED, PlotError, grid_of_axes

__all__ = ["plot_calibration"]

_COLUMNS = 4
_SIZE = (2.5, 2.0)  # inches of a panel
_LEGEND = 0.45  # inches above the panels
_BAND = "#dce6ee"


def plot_calibration(result: xr.DataTree) -> Figure:
    """ECDFs of the ranks less the uniform one, each with its simultaneous 95 % band.

    A posterior that is too narrow gives a line that rises above the band on the left and falls
    below it on the right; one that lies too low or too high leaves it to one side. The last panel,
    where a trough was predicted, has the share of events over the probability that was stated.

    Parameters
    ----------
    result
        From `popk.sbc`.

    Raises
    ------
    PlotError
        When it is something else, or no replicate could be ranked.
    """
    if result.attrs.get("kind") != "popk calibration":
        raise PlotError("This is not the result of popk.sbc; give what it returned.")
    curves, summary = result["ecdf"].to_dataset(), result["summary"].to_dataset()
    names = [str(name) for name in curves["quantity"].values]
    if not names:
        raise PlotError("No replicate could be ranked, so there is nothing to draw.")
    events = "reliability" in result
    figure, axes = grid_of_axes(len(names) + events, columns=_COLUMNS, size=_SIZE)
    figure.set_figheight(figure.get_figheight() + _LEGEND)
    for k, name in enumerate(names):
        _curve(axes[k], curves.isel(quantity=k))
        _titled(axes[k], name, inside=bool(summary["inside"].sel(quantity=name)))
        if k % _COLUMNS == 0:
            axes[k].set_ylabel("ECDF difference")
        axes[k].set_xlabel("Place of the truth among draws")
    if events:
        emitted = result["reliability"].to_dataset()
        _reliability(axes[-1], emitted)
        _titled(axes[-1], "P(trough ≥ target)", inside=bool(emitted["inside"].all()))
    handles, words = axes[0].get_legend_handles_labels()
    words[1] += f" of {int(result.attrs['n_replicates'])} replicates"
    figure.legend(handles, words, loc="outside upper left", fontsize=8, frameon=False, ncols=2)
    return figure


def _curve(ax: Axes, one: xr.Dataset) -> None:
    at = np.concatenate([[0.0], one["z"].values, [1.0]])
    low, high, line = (np.pad(one[name].values, 1) for name in ("low", "high", "difference"))
    inside = bool(np.all((low <= line) & (line <= high)))
    ax.fill_between(at, low, high, color=_BAND, linewidth=0, label="simultaneous 95 % band")
    ax.plot(at, low, color=GREY, linewidth=0.6)
    ax.plot(at, high, color=GREY, linewidth=0.6)
    ax.axhline(0.0, color=GREY, linewidth=0.6, linestyle=":")
    ax.plot(at, line, color=BLUE if inside else RED, linewidth=1.4, label="ranks")
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    reach = 1.25 * max(float(np.abs(values).max()) for values in (low, high, line))
    ax.set_ylim(-reach, reach)


def _reliability(ax: Axes, emitted: xr.Dataset) -> None:
    said, happened = emitted["said"].values, emitted["happened"].values
    inside = emitted["inside"].values.astype(bool)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.6, linestyle=":")
    ax.vlines(said, emitted["band_low"], emitted["band_high"], color="#b9cad8", linewidth=6)
    for mask, colour, marker in ((inside, BLUE, "o"), (~inside, RED, "X")):
        ax.plot(said[mask], happened[mask], marker, color=colour, markersize=4.5)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel("Probability stated")
    ax.set_ylabel("Share at or above")


def _titled(ax: Axes, name: str, *, inside: bool) -> None:
    words = name if inside else f"{name}: outside"
    ax.set_title(words, fontsize=9, color=INK if inside else RED, loc="left")
