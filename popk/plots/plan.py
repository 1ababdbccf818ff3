"""A transition plan: P(trough >= target) by visit, with and without samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.decision.results import in_percent
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    RED,
    PlotError,
    chosen_of,
    grid_of_axes,
    is_converged,
    mark_not_converged,
    title_of,
)

__all__ = ["plot_plan"]

_DARK_ORANGE = "#b3760a"


def plot_plan(
    result: xr.DataTree, *, subjects: Sequence[str] | None = None, most: int = 12
) -> Figure:
    """P(trough >= target) at each visit of a plan, one panel for each patient.

    Dashed and orange: the plan followed without samples; blue: with a sample at each visit, where
    a low one sends the patient back. Grey bars: the probability of having been sent back by then.

    Parameters
    ----------
    result
        What `popk.transition_plan` returned.
    subjects
        IDs to draw; without it the first `most`.
    most
        How many panels to draw when `subjects` is not given.

    Raises
    ------
    PlotError
        When it is no plan, or holds no such patient.
    """
    if result.attrs.get("question") != "transition plan":
        raise PlotError("This is not the result of popk.transition_plan; give what it returned.")
    table = result["decision"].to_dataset()
    held = [str(name) for name in table["subject"].values]
    asked = held[:most] if subjects is None else subjects
    chosen = [chosen_of(held, name, of="the plan") for name in asked]
    figure, axes = grid_of_axes(len(chosen), columns=3, size=(3.3, 2.7), share_y=True)
    for k, (ax, name) in enumerate(zip(axes, chosen, strict=True)):
        _panel(ax, table.sel(subject=name), first=k == 0)
        if k % 3 == 0:
            ax.set_ylabel(f"P(trough ≥ {result.attrs['target']})", fontsize=9, color=INK)
    if is_converged(result):
        figure.suptitle(
            f"{result.attrs['plan']}\nResearch software: it informs, it does not prescribe.",
            fontsize=8.5, color=INK, x=0.01, ha="left",
        )  # fmt: skip
    mark_not_converged(figure, result)
    return figure


def _panel(ax: Axes, own: xr.Dataset, *, first: bool) -> None:
    visit = own["visit"].values
    seen, blind = own.sel(sampling="each visit"), own.sel(sampling="none")
    back = (seen["gone_back"] + seen["stops"]).values
    ax.bar(visit, back, color=GREY, alpha=0.35, width=0.6, label="sent back by then")
    ax.plot(visit, blind["probability"].values, "o--", color=_DARK_ORANGE, ms=4, lw=1.2,
            label="no samples")  # fmt: skip
    ax.plot(visit, seen["probability"].values, "o-", color=BLUE, ms=4, lw=1.6,
            label="a sample at each visit")  # fmt: skip
    labels = [f"{k}\nq{week:g}w" for k, week in zip(visit, own["planned"].values, strict=True)]
    ax.set(ylim=(-0.03, 1.03), xlim=(0.5, visit[-1] + 0.5))
    ax.set_xticks(visit, labels)
    ax.set_xlabel("Visit, and the interval planned before it", fontsize=8, color=INK)
    reliable = bool(int(own["reliable"]))
    whole = float(seen["plan_probability"])
    name = title_of(str(own["subject"].item()))
    text = f"{name}: all troughs hold {in_percent(whole)}"
    if not reliable or np.isnan(whole):
        text = f"{name}: computation not reliable"
    ax.set_title(text, fontsize=8, loc="left", color=INK if reliable else RED, fontweight="bold")
    if first:
        figure = ax.get_figure(root=True)
        assert figure is not None
        figure.legend(fontsize=7, frameon=False, loc="outside lower center", ncols=3)
