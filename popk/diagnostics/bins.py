"""Bins of observations along time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from popk.errors import SettingError

__all__ = ["bin_edges", "placed"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]


def bin_edges(x: Floats, bins: int | Sequence[float]) -> Floats:
    """Edges (n_bins + 1), ascending, of bins of the values x.

    Parameters
    ----------
    x
        What is put into bins.
    bins
        How many, with about as many values in each, edges half-way between two values; or edges.

    Raises
    ------
    SettingError
        When the number is no whole one of 1 or more, the edges do not ascend, or there are no
        values.
    """
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        if bins < 1:
            raise SettingError(f"bins is {bins}; give 1 or more, or the edges.")
        if not len(x):
            raise SettingError(
                "No observation comes after a dose, so there is no time after dose; give "
                'clock="TIME".'
            )
        return _quantile_edges(x, int(bins))
    try:
        edges = np.asarray(bins, dtype=float)
    except (TypeError, ValueError):
        edges = np.zeros(0)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise SettingError(
            f"bins is {bins!r}; give a whole number, or two or more edges in ascending order."
        )
    return edges


def _quantile_edges(x: Floats, bins: int) -> Floats:
    """Edges between distinct values, so that equal times are never torn apart."""
    values, counts = np.unique(x, return_counts=True)
    middles = (values[1:] + values[:-1]) / 2
    if len(values) > bins:
        share = np.cumsum(counts)[:-1] / len(x)
        wanted = np.arange(1, bins) / bins
        nearest = np.unique([int(np.abs(share - at).argmin()) for at in wanted])
        middles = middles[nearest.astype(np.int64)]
    return np.concatenate([values[:1], middles, [max(values[-1], np.nextafter(values[0], np.inf))]])


def placed(x: Floats, edges: Floats) -> Ints:
    """The bin of each value; -1 where it lies outside, or is NaN."""
    found = np.searchsorted(edges, x, side="right") - 1
    found[x == edges[-1]] = len(edges) - 2
    outside = np.isnan(x) | (x < edges[0]) | (x > edges[-1])
    return np.asarray(np.where(outside, -1, found))
