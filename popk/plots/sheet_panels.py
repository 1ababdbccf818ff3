"""The figure of a patient's sheet, to be read in black and white."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.patient import plot_concentration
from popk.plots.probability_curve import plot_probability_curve
from popk.plots.style import (
    GREY,
    INK,
    Drawing,
    bare,
    label,
    log_scale,
    position_of,
    subject_of,
    units_of,
)

__all__ = ["plot_sheet"]

_SIZE = (7.6, 1.95)  # inches: the width of an A4 page between its margins


def plot_sheet(advice: xr.DataTree, *, subject: str | None = None, usable: bool = True) -> Figure:
    """Concentration over time beside the probability of each interval, the advised one marked.

    Parameters
    ----------
    advice
        Advice of popk, with `decision`, `curve` and `data`.
    subject
        The patient's ID; the first if None.
    usable
        Whether the advice may be used; if not, only the samples and the target are drawn.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    subject = subject_of(advice, subject)
    at = position_of(advice, subject)
    figure = Drawing(figsize=_SIZE, layout="constrained")
    if not usable:
        _samples_alone(advice, subject, bare(figure.subplots()))
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(1.75, 1))
    if advice["curve"].to_dataset().sizes["point"]:
        plot_concentration(advice, subject=subject, ax=bare(left))
    else:
        _samples_alone(advice, subject, bare(left))
    plot_probability_curve(advice, subject=subject, ax=bare(right))
    _mark(right, advice["decision"].to_dataset().isel(subject=at))
    left.set_title("", loc="left")
    return figure


def _mark(ax: Axes, own: xr.Dataset) -> None:
    """Bars of two Monte Carlo errors, and the advised interval as a line and a word."""
    weeks, p, error = (own[name].values.astype(float) for name in ("week", "probability", "mcse"))
    ax.errorbar(weeks, p, 2 * error, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    longest = float(own["longest"])
    ax.set_title("", loc="left")
    ax.set_ylim(-0.05, 1.1)  # the ring about a probability of one is whole
    if np.isnan(longest):
        return
    ax.axvline(longest, color=INK, linewidth=1, linestyle=":")
    ax.text(longest, 1.12, "advised", ha="center", va="bottom", fontsize=8, color=INK,
            fontweight="bold")  # fmt: skip


def _samples_alone(advice: xr.DataTree, subject: str, ax: Axes) -> None:
    """Samples and target without a curve."""
    units, data = units_of(advice), advice["data"].to_dataset()
    own = data.isel(record=data["ID"].values.astype(str) == subject)
    seen = (own["EVID"].values == 0) & (own["MDV"].values == 0)
    time, dv, cens = (own[name].values[seen] for name in ("TIME", "DV", "CENS"))
    for marker, filled, chosen, words in (
        ("o", INK, cens == 0, "observed"),
        ("v", "none", cens == 1, "BLQ (at LLOQ)"),
        ("^", "none", cens == -1, "at ULOQ"),
    ):
        if chosen.any():
            ax.plot(time[chosen], dv[chosen], marker, color=INK, mfc=filled, ms=5, label=words)
    target = float(advice.attrs["target"])
    ax.axhline(target, color=GREY, linestyle="--", linewidth=1, label=f"target {target:g}")
    log_scale(ax, y=True)
    ax.set_xlabel(label("Time", units["time"]))
    ax.set_ylabel(label("Concentration", units["concentration"]))
    ax.legend(fontsize=7, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))
