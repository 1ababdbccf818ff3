"""Comparisons of models: differences, where they come from, and how far to trust them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.points import Names, draw_points
from popk.plots.style import BLUE, GREEN, GREY, INK, ORANGE, RED, Drawing, PlotError, axes_for, bare

__all__ = ["plot_elpd_differences", "plot_khat", "plot_pointwise"]

_KHAT = 0.7
_LABELLED = 3  # of each sign
# One shape and colour for each model; more models take them again.
_SHAPES = (("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", RED), ("v", INK), ("P", GREY))


def plot_elpd_differences(comparison: xr.DataTree, *, ax: Axes | None = None) -> Figure:
    """Each model's elpd less that of the best, with two standard errors of the difference.

    Parameters
    ----------
    comparison
        From `popk.compare`.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is something else.
    """
    own = _refused(comparison)["comparison"].to_dataset()
    names = [str(name) for name in own["model"].values]
    figure, ax = axes_for(ax, size=(8.2, 0.9 + 0.34 * len(names)))
    at = np.arange(len(names))
    difference, error = own["elpd_diff"].values, own["se_diff"].values
    ax.axvline(0.0, color=GREY, lw=1)
    ax.errorbar(
        difference[1:], at[1:], xerr=2 * error[1:], fmt="o", color=INK, ms=5, lw=1.4, capsize=3
    )
    ax.plot(difference[:1], at[:1], "D", color=BLUE, ms=6)
    ax.set_yticks(at, names, fontsize=8.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Difference of elpd to the best model (diamond), ± 2 standard errors")
    return figure


def plot_pointwise(comparison: xr.DataTree) -> Figure:
    """Which patients (or observations) a difference of elpd comes from, in order of size.

    A panel for each other model: its log predictive density less that of the best model.

    Parameters
    ----------
    comparison
        From `popk.compare`.

    Raises
    ------
    PlotError
        When it is something else.
    """
    table = _refused(comparison)["pointwise"].to_dataset()
    best, *others = [str(name) for name in table["model"].values]
    figure = Drawing(figsize=(8.2, 0.5 + 2.3 * len(others)), layout="constrained")
    panels = figure.subplots(len(others), 1, squeeze=False).ravel().tolist()
    elpd = table["elpd_i"].transpose("model", ...).values
    for ax, name, own in zip(panels, others, elpd[1:], strict=True):
        apart = own - elpd[0]
        _stems(bare(ax), apart, _named(table, apart, f"{name} less {best}"))
        ax.set_ylabel(f"{name}\nless {best}", fontsize=8.5)
    unit = "Patients" if comparison.attrs["unit"] == "patient" else "Observations"
    panels[-1].set_xlabel(f"{unit}, in order of the difference of log predictive density")
    return figure


def plot_khat(comparison: xr.DataTree, *, ax: Axes | None = None) -> Figure:
    """Pareto k-hat of each patient or observation left out; above 0.7 it had to be refitted.

    Parameters
    ----------
    comparison
        From `popk.compare`.
    ax
        Where to draw; a new figure without it.

    Raises
    ------
    PlotError
        When it is something else.
    """
    table = _refused(comparison)["pointwise"].to_dataset()
    names = [str(name) for name in table["model"].values]
    figure, ax = axes_for(ax, size=(8.2, 2.9))
    khat = table["khat"].transpose("model", ...).values
    for k, (name, own) in enumerate(zip(names, khat, strict=True)):
        marker, colour = _SHAPES[k % len(_SHAPES)]
        draw_points(
            ax, np.arange(len(own), dtype=float), own, _named(table, own, f"{name}, k-hat"),
            marker=marker, mfc="none", mec=colour, color=colour, markersize=4.2, mew=1, label=name,
        )  # fmt: skip
    ax.axhline(_KHAT, color=INK, lw=1, ls=(0, (5, 3)))
    ax.set_ylim(top=max(1.0, 1.05 * float(np.nanmax(np.append(khat, 0.0)))))
    ax.set_ylabel("Pareto k-hat")
    unit = "Patients" if comparison.attrs["unit"] == "patient" else "Observations"
    ax.set_xlabel(f"{unit}, in the order of the data")
    ax.legend(fontsize=7.5, frameon=False, loc="upper right", ncols=min(4, len(names)))
    return figure


def _refused(comparison: xr.DataTree) -> xr.DataTree:
    if comparison.attrs.get("kind") != "popk comparison":
        raise PlotError("This is not the result of popk.compare; give what it returned.")
    return comparison


def _named(table: xr.Dataset, values: np.ndarray, what: str) -> Names:
    subjects = [str(name) for name in table["ID"].values]
    when = [""] * len(subjects)
    if "TIME" in table:
        unit = table["TIME"].attrs.get("units", "")
        when = [f", {time:.5g} {unit}" for time in table["TIME"].values.tolist()]
    lines = zip(subjects, when, values.tolist(), strict=True)
    return Names(subjects, [f"ID {s}{t}\n{what}: {value:.2f}" for s, t, value in lines])


def _stems(ax: Axes, apart: np.ndarray, names: Names) -> None:
    """Sorted differences as points with lines to zero; the largest carry their ID."""
    order = np.argsort(apart, kind="stable")
    x, y = np.arange(len(apart), dtype=float), apart[order]
    own = Names([names.subjects[k] for k in order], [names.words[k] for k in order])
    finite = np.isfinite(y)
    ax.axhline(0.0, color=GREY, lw=1)
    ax.vlines(x[finite], 0.0, y[finite], color=BLUE, lw=0.9, alpha=0.6)
    draw_points(ax, x, y, own, marker="o", color=BLUE, markersize=3.6, mew=0)
    ends = [*range(min(_LABELLED, len(y))), *range(max(_LABELLED, len(y) - _LABELLED), len(y))]
    for k in ends:
        if finite[k]:
            above = y[k] > 0
            ax.annotate(
                own.subjects[k], (x[k], y[k]), xytext=(0, 3 if above else -3), fontsize=7,
                textcoords="offset points", ha="center", va="bottom" if above else "top", color=INK,
                parse_math=False,
            )  # fmt: skip
    ax.margins(y=0.15)
    ax.grid(visible=False, axis="x")
