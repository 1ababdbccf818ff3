"""Scatter panels of observations, those beyond a limit drawn as such, with a running median."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from popk.plots.style import BLUE, ORANGE, RED, PlotError

__all__ = ["check_kind", "running_median", "scatter"]

type Floats = NDArray[np.float64]

_BEYOND = ((1, "v", "BLQ"), (-1, "^", "above the ULOQ"))
_WINDOWS, _EACH = 8, 10  # of the running median; values in each at least


def check_kind(table: xr.Dataset | xr.DataTree, kind: str, source: str) -> None:
    """Refuse what is not the result of ``source``.

    Raises
    ------
    PlotError
        With a sentence.
    """
    if table.attrs.get("kind") != f"popk {kind}":
        raise PlotError(f"This is not the result of {source}; give what it returned.")


def scatter(ax: Axes, x: Floats, y: Floats, cens: NDArray[np.int64], *, how: str = "") -> None:
    """Points; open triangles for those beyond a limit, ``how`` says how they are drawn."""
    shown = np.isfinite(x) & np.isfinite(y)
    plain = shown & (cens == 0)
    size = 14 if plain.sum() < 500 else 6
    ax.scatter(x[plain], y[plain], s=size, color=BLUE, alpha=0.55, lw=0, label="quantified")
    for code, marker, text in _BEYOND:
        own = shown & (cens == code)
        if own.any():
            ax.scatter(
                x[own], y[own], s=20, marker=marker, facecolors="none", edgecolors=RED,
                linewidths=0.9, label=f"{text}{how}",
            )  # fmt: skip


def running_median(ax: Axes, x: Floats, y: Floats) -> None:
    """Median of y in windows of as many values each, where there are enough."""
    known = np.isfinite(x) & np.isfinite(y)
    size = min(_WINDOWS, int(known.sum()) // _EACH, len(np.unique(x[known])))
    if size < 2:
        return
    order = np.argsort(x[known], kind="stable")
    ends = np.quantile(x[known], np.linspace(0, 1, size + 1))
    place = np.clip(np.searchsorted(ends, x[known][order], side="left") - 1, 0, size - 1)
    both = [
        (np.median(x[known][order][place == k]), np.median(y[known][order][place == k]))
        for k in range(size)
        if (place == k).any()
    ]
    at, middle = zip(*both, strict=True)
    ax.plot(at, middle, "-", color=ORANGE, lw=1.8, label="running median", zorder=4)
