"""What the advice comes to over all patients."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    Drawing,
    bare,
    label,
    log_scale,
    mark_not_converged,
)

__all__ = ["plot_intervals"]


def plot_intervals(advice: xr.DataTree) -> Figure:
    """How many patients each longest interval was found for, and the troughs behind it.

    Left: a bar per candidate, one for patients whom no candidate suits, one for those whose advice
    is withheld, and one for those whose computation is not reliable. Right: for each
    candidate, every patient's median predicted trough, with the target.

    Parameters
    ----------
    advice
        Advice of popk, with `decision`.
    """
    figure = Drawing(figsize=(8.2, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_counts(bare(left), advice)
    _draw_troughs(bare(right), advice)
    mark_not_converged(figure, advice)
    return figure


def _draw_counts(ax: Axes, advice: xr.DataTree) -> None:
    decision = advice["decision"].to_dataset()
    weeks, reliable = decision["week"].values, decision["reliable"].values.astype(bool)
    withheld = np.zeros_like(reliable)
    if "withheld" in decision.coords:
        withheld = decision["withheld"].values.astype(bool)
        reliable = reliable | withheld  # the reason that counts
    longest = decision["longest"].values[reliable & ~withheld]
    bars = [("none", int(np.isnan(longest).sum()), RED)]
    bars += [(f"{week:g}", int((longest == week).sum()), BLUE) for week in weeks]
    if withheld.any():
        bars.append(("with-\nheld", int(withheld.sum()), GREY))
    if not reliable.all():
        bars.append(("not\nreliable", int((~reliable).sum()), GREY))
    names, counts, colours = zip(*bars, strict=True)
    drawn = ax.bar(np.arange(len(bars)), counts, width=0.7, color=colours)
    ax.bar_label(drawn, fontsize=8, color=INK, padding=2)
    ax.set_xticks(np.arange(len(bars)), names)
    ax.grid(visible=False, axis="x")
    ax.set_ylim(0, 1.15 * max(counts))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    asked, target = advice.attrs["probability"], advice.attrs["target"]
    ax.set_xlabel(
        f"Longest interval (weeks) with P(trough ≥ {target:g} {advice.attrs['target_units']}) "
        f"≥ {asked:g}",
        fontsize=8.5,
    )
    ax.set_ylabel("Patients")


def _draw_troughs(ax: Axes, advice: xr.DataTree) -> None:
    decision = advice["decision"].to_dataset()
    troughs = decision["trough_median"].values
    troughs = troughs[np.isfinite(troughs).all(axis=1)]  # NaN where there is no result
    weeks = decision["week"].values.astype(float)
    # A fixed spread, so that the same advice gives the same picture.
    n = troughs.shape[0]
    offsets = np.linspace(-0.25, 0.25, n) if n > 1 else np.zeros(n)
    gap = float(np.diff(weeks).min()) if weeks.size > 1 else 1.0
    for week, values in zip(weeks, troughs.T, strict=True):
        ax.scatter(week + gap * offsets, values, s=11, color=BLUE, alpha=0.5, lw=0)
        if n:
            middle = np.median(values)
            ax.hlines(middle, week - 0.35 * gap, week + 0.35 * gap, color=INK, linewidth=1.8)
    target = float(advice.attrs["target"])
    ax.axhline(target, color=GREY, linestyle="--", linewidth=1.2)
    # Beside the axes, where no patient stands.
    ax.annotate(
        f"target\n{target:g}", (1, target), xycoords=("axes fraction", "data"), xytext=(3, 0),
        textcoords="offset points", ha="left", va="center", fontsize=7.5, color=INK,
    )  # fmt: skip
    ax.set(xticks=weeks)
    if (troughs > 0).all():
        log_scale(ax, y=True)
    ax.set_xlabel("Interval after the last dose (weeks)", fontsize=8.5)
    ax.set_ylabel(label("Median trough, each patient", str(advice.attrs["target_units"])))
