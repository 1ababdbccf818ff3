"""The figure of a half-life that depends on the level: the fall, and how long a halving takes."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from popk.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    Drawing,
    PlotError,
    bare,
    chosen_of,
    log_scale,
    mark_not_converged,
    units_of,
)

__all__ = ["plot_half_life"]

_SIZE = (11.0, 3.4)  # inches
_RULES = (ORANGE, GREEN, RED, GREY)
_ENOUGH = 0.5  # of the draws must pass a level for its half-life to be drawn


def plot_half_life(result: xr.DataTree, *, subject: str | None = None) -> Figure:
    """What is left against time, and the half-life against time and against the level.

    Bands hold 90 % of the draws (of the population: of new people), lines are medians. Dashed lines
    are what single half-lives predict from the same start. By level, only those that half of the
    draws or more pass in the time looked at.

    Parameters
    ----------
    result
        From `popk.half_life`.
    subject
        The patient's ID; the first if None.

    Raises
    ------
    PlotError
        When it is something else, or holds no such subject.
    """
    if result.attrs.get("question") != "half-life":
        raise PlotError("This is not the result of popk.half_life; give what it returned.")
    held = result["decision"].to_dataset()["subject"].values.tolist()
    name = chosen_of(held, subject, of="the result")
    figure = Drawing(figsize=_SIZE, layout="constrained")
    left, middle, right = (bare(ax) for ax in figure.subplots(1, 3))
    course = result["course"].to_dataset().sel(subject=name)
    units = units_of(result)
    _fall(left, result, course, name)
    _against_time(middle, course, units["time"])
    _against_level(right, result["levels"].to_dataset().sel(subject=name), units)
    most = _top(result, course)
    for ax in (middle, right):
        for (rule, value), colour in zip(_single(result), _RULES * 9, strict=False):
            ax.axhline(value, color=colour, lw=1.1, ls="--", label=f"{rule}, {value:g}")
        ax.set_ylim(0, most)
    who = name if name == "population" else f"ID {name}"
    figure.suptitle(
        f"{who}, after the last dose, without a further one; model {result.attrs['model_name']}",
        x=0.01, ha="left", fontsize=9, color=INK,
    )  # fmt: skip
    mark_not_converged(left, result)
    return figure


def _single(result: xr.DataTree) -> list[tuple[str, float]]:
    own = result["single"].to_dataset()
    return list(zip(own["rule"].values.astype(str).tolist(), own["half_life"].values.tolist(),
                    strict=True))  # fmt: skip


def _fall(ax: Axes, result: xr.DataTree, course: xr.Dataset, name: str) -> None:
    """The concentration, what single half-lives would make of it, and the target."""
    week, middle = course["since_dose"].values, course["trough_median"].values
    shown = middle > 0
    ax.fill_between(week, course["trough_low"], course["trough_high"], color=BLUE, alpha=0.18, lw=0)
    ax.plot(week[shown], middle[shown], color=BLUE, lw=1.6, label="model")
    single = result["single"].to_dataset().sel(subject=name)
    per_week = float(result.attrs["time_per_week"])
    for (rule, value), colour in zip(_single(result), _RULES * 9, strict=False):
        at = single.sel(rule=rule).isel(week=0)
        start, since = float(at["concentration"]), float(at["week"])
        line = start * 2.0 ** (-(week - since) * per_week / value)
        ax.plot(week, line, color=colour, lw=1.1, ls="--", label=rule)
    unit = units_of(result)["concentration"]
    if "target" in result.attrs:
        goal = str(result.attrs["target"])
        with suppress(ValueError):  # a distribution has no line
            ax.axhline(float(goal.removesuffix(unit)), color=INK, lw=0.8, ls=":", label="target")
    log_scale(ax, y=True)
    top = float(np.nanmax(course["trough_high"]))
    ax.set_ylim(max(float(np.nanmin(course["trough_median"])) / 3, top * 1e-4), top * 1.3)
    ax.set_xlabel("Weeks since the last dose")
    ax.set_ylabel(f"Concentration ({unit})")
    ax.legend(fontsize=7, frameon=False, loc="best")


def _against_time(ax: Axes, course: xr.Dataset, unit: str) -> None:
    week = course["since_dose"].values
    ax.fill_between(
        week, course["half_life_low"], course["half_life_high"], color=BLUE, alpha=0.18, lw=0
    )
    ax.plot(week, course["half_life_median"], color=BLUE, lw=1.6)
    ax.set_xlabel("Weeks since the last dose")
    ax.set_ylabel(f"Half-life at that moment ({unit})")


def _against_level(ax: Axes, levels: xr.Dataset, units: object) -> None:
    assert isinstance(units, dict)
    own = levels.isel(level=np.flatnonzero(levels["passed"].values >= _ENOUGH))
    level, middle = own["level"].values, own["half_life_median"].values
    below, above = middle - own["half_life_low"].values, own["half_life_high"].values - middle
    ax.errorbar(level, middle, yerr=[below, above], fmt="o", color=BLUE, ms=4, lw=1.1)
    if len(level):
        log_scale(ax, x=True)
    ax.set_xlabel(f"Concentration as it is passed ({units['concentration']})")
    ax.set_ylabel(f"Half-life at that level ({units['time']})")


def _top(result: xr.DataTree, course: xr.Dataset) -> float:
    """Upper end of the half-life axes: a course that hardly falls must not hide the others."""
    middle = course["half_life_median"].values
    lengths = [value for _, value in _single(result)]
    known = middle[np.isfinite(middle)]
    return 1.6 * float(max([*(known[len(known) // 10 :].tolist() or [1.0]), *lengths]))
