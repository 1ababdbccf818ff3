"""The figure of evaluated forecasts: calibration, coverage and errors by the samples used."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from popk.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Drawing,
    PlotError,
    bare,
    label,
    mark_not_converged,
)

__all__ = ["plot_forecasts"]

type Floats = NDArray[np.float64]

_TWO_SIDED = 0.025
_BINS = 10
_ERRORS = 1.96  # standard errors that a bar reaches to either side
_BESIDE = 0.06  # of two bars at the same number of samples


def plot_forecasts(result: xr.DataTree, *, which: str = "next") -> Figure:
    """Four panels: PIT, coverage, bias and precision, CRPS against the number of samples used.

    The PIT of the next observation, from all numbers of samples together, is uniform where the
    forecasts are calibrated: a hump means too wide, a U too narrow, a slope bias; the band is that
    of as many independent numbers, 95 % for each bar. Bars at points are 95 % intervals that
    allow for several forecasts of one patient.

    Parameters
    ----------
    result
        From `popk.evaluate_forecasts`.
    which
        ``"next"`` observation or ``"all"`` later ones, in the panels by samples used.

    Raises
    ------
    PlotError
        When it is something else.
    """
    if result.attrs.get("kind") != "popk forecasts":
        raise PlotError("This is not the result of popk.evaluate_forecasts; give what it returned.")
    if which not in {"next", "all"}:
        raise PlotError(f"which is {which!r}; expected 'next' or 'all'.")
    scores = result["scores"].to_dataset().sel(which=which)
    scores = scores.isel(samples=np.flatnonzero(scores["n"].values > 0))
    figure = Drawing(figsize=(8.0, 6.0), layout="constrained")
    axes = [bare(ax) for ax in figure.subplots(2, 2).ravel().tolist()]
    _pit(axes[0], result["forecasts"].to_dataset())
    _coverage(axes[1], scores)
    _errors(axes[2], scores)
    _crps(axes[3], scores)
    what = "next observation" if which == "next" else "all later observations"
    counts = scores["n"].values.astype(int).tolist()
    ticks = [f"{k}\nn {n}" for k, n in zip(scores["samples"].values.tolist(), counts, strict=True)]
    for ax in axes[1:]:
        ax.set_xlabel(f"Samples used ({what})")
        ax.set_xticks(scores["samples"].values, ticks)
        ax.set_xlim(scores["samples"].values[0] - 0.4, scores["samples"].values[-1] + 0.4)
    mark_not_converged(figure, result)
    return figure


def _pit(ax: Axes, table: xr.Dataset) -> None:
    pit = table["pit"].values[table["ahead"].values == 1]
    pit = pit[np.isfinite(pit)]
    counts, edges = np.histogram(pit, bins=_BINS, range=(0, 1))
    expected = stats.binom(max(len(pit), 1), 1 / _BINS)
    low, high = (float(expected.ppf(p)) for p in (_TWO_SIDED, 1 - _TWO_SIDED))
    ax.axhspan(low, high, color=GREY, alpha=0.3, lw=0, label="95 % if calibrated")
    ax.axhline(len(pit) / _BINS, color=GREY, lw=1)
    ax.stairs(counts, edges, color=BLUE, lw=1.5, label="next observation")
    ax.set_ylim(0, 1.35 * max(float(counts.max(initial=1)), high))
    ax.set_xlabel("PIT: place of the observation in its forecast")
    ax.set_ylabel("Observations")
    ax.legend(fontsize=7, frameon=False, loc="upper center", ncols=2)


def _coverage(ax: Axes, scores: xr.Dataset) -> None:
    for nominal, colour, marker in ((90, BLUE, "o"), (50, ORANGE, "s")):
        ax.axhline(nominal, color=colour, lw=1, ls="--")
        _points(ax, scores, f"coverage_{nominal}", colour, marker, f"{nominal} % interval")
    ax.set_ylim(0, 118)
    ax.set_yticks(range(0, 101, 10))
    ax.set_ylabel("Observations inside (%)")
    ax.legend(fontsize=7, frameon=False, loc="upper center", ncols=2)


def _errors(ax: Axes, scores: xr.Dataset) -> None:
    ax.axhline(0, color=GREY, lw=1)
    _points(ax, scores, "rrmse", BLUE, "o", "rRMSE (precision)", -_BESIDE)
    _points(ax, scores, "mpe", ORANGE, "s", "MPE (bias)", _BESIDE)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.2 * (high - low))
    ax.set_ylabel("Relative error of quantified (%)")
    ax.legend(fontsize=7, frameon=False, loc="upper center", ncols=2)


def _crps(ax: Axes, scores: xr.Dataset) -> None:
    _points(ax, scores, "crps", INK, "o", None)
    ax.set_ylim(bottom=0)
    ax.set_ylabel(label("CRPS, mean", str(scores["crps"].attrs["units"])))


def _points(
    ax: Axes,
    scores: xr.Dataset,
    name: str,
    colour: str,
    marker: str,
    words: str | None,
    beside: float = 0.0,
) -> None:
    reach = np.nan_to_num(_ERRORS * scores[f"{name}_se"].values)
    at = scores["samples"].values + beside
    ax.errorbar(
        at, scores[name].values, yerr=reach, color=colour, marker=marker, ms=5, lw=1.2, capsize=2,
        label=words,
    )  # fmt: skip
