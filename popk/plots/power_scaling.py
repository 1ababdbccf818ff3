"""Sensitivity to the prior and to the likelihood, and what it does to one patient's intervals."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.panels import check_kind
from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Drawing,
    PlotError,
    axes_for,
    bare,
    chosen_of,
    legend_above,
    mark_not_converged,
    title_of,
)

__all__ = ["plot_interval_sensitivity", "plot_interval_shifts", "plot_power_scaling"]

_WORTH_A_LOOK = 0.05


def plot_power_scaling(result: xr.DataTree, *, ax: Axes | None = None) -> Figure:
    """Sensitivity of each population parameter to prior and likelihood; above 0.05 worth a look.

    Parameters
    ----------
    result
        From `popk.power_scaling`.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is something else.
    """
    check_kind(result, "power scaling", "popk.power_scaling")
    table = result["parameters"].to_dataset()
    names = table["parameter"].values.tolist()
    figure, ax = axes_for(ax, size=(5.6, 0.9 + 0.27 * max(len(names), 2)))
    at = np.arange(len(names))[::-1]
    values = table["sensitivity"]
    prior, data = (values.sel(component=c).values for c in ("prior", "likelihood"))
    ax.hlines(at, np.minimum(prior, data), np.maximum(prior, data), color=GREY, lw=0.7)
    ax.plot(data, at, "o", color=BLUE, ms=6, label="likelihood")
    ax.plot(prior, at, "s", mfc="white", mec=ORANGE, mew=1.4, ms=5.5, label="prior")
    ax.axvline(_WORTH_A_LOOK, color=INK, ls="--", lw=0.9)
    ax.set_xlim(left=-0.01)
    ax.set_yticks(at, names)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Power-scaling sensitivity")
    legend_above(ax, columns=2)
    mark_not_converged(ax, result)
    return figure


def plot_interval_sensitivity(result: xr.DataTree, *, subject: str | None = None) -> Figure:
    """One patient's P(trough ≥ target) for each interval, as prior and likelihood are scaled.

    Parameters
    ----------
    result
        From `popk.power_scaling` with an advice.
    subject
        The patient's ID; the first if None.

    Raises
    ------
    PlotError
        When it is something else, rests on no advice, or holds no such patient.
    """
    check_kind(result, "power scaling", "popk.power_scaling")
    if "intervals" not in result.children:
        raise PlotError("No advice was given to popk.power_scaling, so there are no intervals.")
    table = result["intervals"].to_dataset()
    known = table["subject"].values.astype(str).tolist()
    subject = chosen_of(known, subject, of="this result")
    part = table.isel(subject=known.index(subject))
    figure = Drawing(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, component in zip(axes, part["component"].values.tolist(), strict=True):
        _curves(bare(ax), part.sel(component=component), float(result.attrs["probability"]))
        ax.set_title(f"{component} scaled", fontsize=9, color=INK, loc="left")
        ax.set_xlabel("Interval after the last dose (weeks)")
    target, unit = result.attrs["target"], result.attrs["target_units"]
    axes[0].set_ylabel(f"P(trough ≥ {target:g} {unit})")
    axes[0].legend(fontsize=7.5, frameon=False, title="power", title_fontsize=7.5)
    figure.suptitle(title_of(subject), x=0.01, ha="left", fontsize=9, color=INK)
    mark_not_converged(axes[0], result)
    return figure


def plot_interval_shifts(result: xr.DataTree, *, ax: Axes | None = None) -> Figure:
    """How many longest intervals become shorter or longer, as prior and likelihood are scaled.

    Parameters
    ----------
    result
        From `popk.power_scaling` with an advice.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is something else, or rests on no advice.
    """
    check_kind(result, "power scaling", "popk.power_scaling")
    if "intervals" not in result.children:
        raise PlotError("No advice was given to popk.power_scaling, so there are no intervals.")
    table = result["intervals"].to_dataset()
    # None at all is the shortest.
    longest = table["longest"].fillna(0.0)
    now = longest.sel(power=1.0)
    pairs = [
        (component, power)
        for component in table["component"].values.tolist()
        for power in table["power"].values.tolist()
        if power != 1.0
    ]
    figure, ax = axes_for(ax, size=(6.4, 1.0 + 0.36 * len(pairs)))
    at = np.arange(len(pairs))[::-1]
    moved = [(longest - now).sel(component=c, power=p).values for c, p in pairs]
    left = np.zeros(len(pairs))
    for words, sign, colour, hatch in (
        ("shorter", -1, ORANGE, "///"),
        ("the same", 0, "#dfe4e8", None),
        ("longer", 1, BLUE, "..."),
    ):
        count = np.array([int((np.sign(one) == sign).sum()) for one in moved])
        ax.barh(
            at,
            count,
            left=left,
            height=0.62,
            ec=INK,
            lw=0.6,
            label=words,
            color=colour,
            hatch=hatch,
        )
        for y, x, n in zip(at.tolist(), (left + count / 2).tolist(), count.tolist(), strict=True):
            if n:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.9}
                ax.text(x, y, f"{n}", ha="center", va="center", fontsize=7.5, color=INK, bbox=box)
        left = left + count
    ax.set_yticks(at, [f"{component}, power {power:g}" for component, power in pairs])
    ax.set_xlim(0, max(float(left.max()), 1.0))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Patients, by what becomes of their longest interval")
    legend_above(ax, columns=3)
    mark_not_converged(ax, result)
    return figure


def _curves(ax: Axes, part: xr.Dataset, asked: float) -> None:
    ax.axhline(asked, color=GREY, lw=1)
    weeks = part["week"].values
    styles = {-1: ("--", "v", ORANGE), 0: ("-", "o", INK), 1: (":", "^", BLUE)}
    for power in part["power"].values.tolist():
        style, marker, colour = styles[int(np.sign(power - 1))]
        ax.plot(
            weeks, part["probability"].sel(power=power).values, style, marker=marker, ms=4,
            color=colour, lw=1.4, label=f"{power:g}",
        )  # fmt: skip
    ax.set(ylim=(-0.03, 1.03), xticks=weeks)
