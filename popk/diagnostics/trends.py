"""A smooth line through a cloud of points: a help for the eye, not a test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["trend"]

type Floats = NDArray[np.float64]

_FEWEST = 10  # points, and distinct places: with fewer a line says nothing
_PLACES = 40
_SHARE = 2 / 3  # of the points in each neighbourhood, as loess has it
_MOST = 2000  # points used, evenly spaced in x


def trend(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Where and how high: locally linear regression with tricube weights.

    Cleveland, J Am Stat Assoc 74:829, 1979, without the robust steps.

    Parameters
    ----------
    x, y
        Points (n); those that are not finite are left out.

    Returns
    -------
    Places (m) in ascending order and heights (m); empty with fewer than 10 points or places.
    """
    known = np.isfinite(x) & np.isfinite(y)
    order = np.argsort(x[known], kind="stable")
    x, y = x[known][order], y[known][order]
    if len(np.unique(x)) < _FEWEST:
        return np.zeros(0), np.zeros(0)
    if len(x) > _MOST:
        chosen = np.linspace(0, len(x) - 1, _MOST).round().astype(np.int64)
        x, y = x[chosen], y[chosen]
    # Between the outer percent on each side: beyond, a few points carry the line.
    at = np.unique(np.quantile(x, np.linspace(0.01, 0.99, _PLACES)))
    near = max(_FEWEST, int(np.ceil(_SHARE * len(x)))) - 1
    distance = np.abs(x - at[:, None])
    reach = np.partition(distance, near, axis=1)[:, near, None]
    reach = np.maximum(1.001 * reach, 1e-9 * np.ptp(x))
    weight = np.clip(1 - (distance / reach) ** 3, 0, None) ** 3
    total = weight.sum(axis=1)
    centre, middle = weight @ x / total, weight @ y / total
    spread = (weight * (x - centre[:, None]) ** 2).sum(axis=1)
    product = (weight * (x - centre[:, None]) * (y - middle[:, None])).sum(axis=1)
    slope = np.divide(product, spread, out=np.zeros_like(spread), where=spread > 0)
    return at, middle + slope * (at - centre)
