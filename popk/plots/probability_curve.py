"""One patient's probability of holding the target, for each candidate interval."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.monitoring import from_json
from popk.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    RED,
    axes_for,
    mark_not_converged,
    position_of,
)

__all__ = ["plot_probability_curve"]

_DARK_ORANGE = "#b3760a"  # the palette's orange is too light for a thin line


def plot_probability_curve(
    advice: xr.DataTree, *, subject: str | None = None, ax: Axes | None = None
) -> Figure:
    """P(trough >= target) against the interval in weeks.

    The solid line is the next interval, the dashed one the same interval kept up; the
    horizontal line is the probability asked for; the ring marks the advised interval.
    A patient whose advice is withheld, or whose computation is not reliable, has none; lines of
    advice that is withheld are pale, as they are not to be used.

    Parameters
    ----------
    advice
        Advice of popk, with `decision`.
    subject
        The patient's ID; the first if None.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When the advice holds no such subject.
    """
    at = position_of(advice, subject)
    figure, ax = axes_for(ax, size=(3.4, 2.6))
    own = advice["decision"].to_dataset().isel(subject=at)
    weeks, probability = own["week"].values, own["probability"].values
    asked, longest = float(advice.attrs["probability"]), float(own["longest"])
    state, why = _state(own)
    pale = 0.3 if state == "withheld" else 1.0
    ax.axhline(asked, color=GREY, linewidth=1)
    ax.plot(
        weeks,
        own["probability_sustained"].values,
        linestyle="--",
        linewidth=1,
        color=_DARK_ORANGE,
        alpha=pale,
        label="interval kept up",
    )
    ax.plot(weeks, probability, "o-", color=BLUE, ms=4, lw=1.6, alpha=pale, label="next one")
    if state == "withheld":
        text, colour = f"withheld: {why}", RED
    elif not int(own["reliable"]):
        text, colour = "computation not reliable", RED
    elif np.isnan(longest):
        text, colour = f"no candidate reaches {asked:g}", RED
        text = f"{state}: {why}\n{text}" if state else text
    else:
        text = f"longest at {asked:g}: {longest:g} weeks"
        colour = _DARK_ORANGE if state else GREEN
        text = f"{state}: {why}\n{text}" if state else text
        held = float(np.interp(longest, weeks, probability))
        ax.plot([longest], [held], "o", mfc="none", mec=colour, markersize=11, mew=2)
    ax.set_title(text, fontsize=8.5, color=colour, loc="left", fontweight="bold")
    ax.set(ylim=(-0.03, 1.03), xticks=weeks)
    ax.set_xlabel("Interval after the last dose (weeks)", color=INK)
    ax.set_ylabel(f"P(trough ≥ {advice.attrs['target']:g} {advice.attrs['target_units']})")
    ax.legend(fontsize=7, frameon=False, loc="best")
    mark_not_converged(ax, advice)
    return figure


def _state(own: xr.Dataset) -> tuple[str, str]:
    """Whether the advice is withheld or widened, and by which finding; empty where neither."""
    if "findings" not in own.coords:
        return "", ""
    found = from_json(str(own["findings"].values))
    state = "withheld" if int(own["withheld"]) else "widened" if int(own["widened"]) else ""
    return state, next((one.name for one in found if one.severity == state), "")
