"""Which interval is best as one weight of the utility changes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from popk.plots.style import (
    BLUE,
    INK,
    ORANGE,
    PlotError,
    axes_for,
    chosen_of,
    mark_not_converged,
    title_of,
)

__all__ = ["plot_preferences"]

_WORDS = {
    "infusion": "Cost of an infusion (in days under the target, with under = 1)",
    "under": "Cost of a day under the target",
    "pml": "Cost of one expected PML case in 1000 patient-years (proxy)",
}


def plot_preferences(
    result: xr.DataTree, *, subject: str | None = None, ax: Axes | None = None
) -> Figure:
    """The best interval against the weight, and P(trough >= target) there.

    Parameters
    ----------
    result
        What `popk.preference_curve` returned.
    subject
        The patient's ID; the first if None.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is no preference curve, or holds no such patient.
    """
    if result.attrs.get("question") != "preference curve":
        raise PlotError("This is not the result of popk.preference_curve; give what it returned.")
    table = result["decision"].to_dataset()
    name = chosen_of(table["subject"].values.tolist(), subject, of="the curve")
    figure, ax = axes_for(ax, size=(5.0, 3.1))
    own = table.sel(subject=name)
    values, best = own["value"].values, own["best"].values
    ax.step(values, best, where="mid", color=BLUE, lw=1.8)
    if np.all(values > 0) and values[-1] > 20 * values[0]:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    known = best[np.isfinite(best)]
    if len(known):
        ax.set_yticks(np.unique(known))
        ax.set_ylim(known.min() - 0.6, known.max() + 0.6)
    ax.set_ylabel("Best interval (weeks)", color=BLUE, fontsize=9)
    ax.set_xlabel(_WORDS[str(result.attrs["weight"])], fontsize=9, color=INK)
    other = ax.twinx()
    other.step(values, own["probability"].values, where="mid", color=ORANGE, lw=1.2, ls="--")
    other.set_ylim(-0.03, 1.03)
    other.spines[["top", "left"]].set_visible(False)
    other.tick_params(labelsize=8, colors=INK)
    other.set_ylabel(f"P(trough ≥ {result.attrs['target']}) there", color="#b3760a", fontsize=9)
    ax.set_title(
        f"{title_of(name)}: best interval by preference (research software)",
        fontsize=8.5, loc="left", color=INK, fontweight="bold",
    )  # fmt: skip
    mark_not_converged(ax, result)
    return figure
