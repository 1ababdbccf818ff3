"""Pareto-smoothed importance weights and their k-hat.

Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 25:72 (2024); the generalised Pareto distribution is
fitted as by Zhang & Stephens, Technometrics 51:316 (2009). ArviZ has the same; importing it takes
longer than many a fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["smoothed_weights"]

type Floats = NDArray[np.float64]

_FEWEST = 25  # weights, of whose tail a fifth makes 5
_PRIOR_SCALE, _PRIOR_SHAPE, _PRIOR_DRAWS = 3.0, 0.5, 10  # of Zhang & Stephens; of k, as so many
_NEGLIGIBLE = 10 * np.finfo(float).eps


def smoothed_weights(log_weight: Floats) -> tuple[Floats, float]:
    """Log weights (n) that sum to one, the largest of them smoothed, and their Pareto k-hat.

    Parameters
    ----------
    log_weight
        Finite logarithms of importance weights (n), 25 or more.

    Returns
    -------
    The log weights, and k-hat: minus infinity where the largest weights are all the same, so that
    none is large; NaN where no generalised Pareto distribution describes them.

    Raises
    ------
    ValueError
        When there are fewer than 25.
    """
    n = len(log_weight)
    if n < _FEWEST:
        raise ValueError(f"{n} weights have no tail; {_FEWEST} or more are needed")
    found = log_weight - log_weight.max()
    size = int(3 * n**0.5) if n > 225 else n // 5
    order = np.argsort(found)
    tail = order[n - size :]
    cutoff = np.exp(found[order[n - size - 1]])
    khat = float("-inf")
    if np.ptp(found[tail]) >= np.finfo(float).tiny:
        khat, scale = _pareto_fit(np.exp(found[tail]) - cutoff)
        if np.isfinite(khat):
            places = np.arange(0.5, size) / size
            with np.errstate(divide="ignore", invalid="ignore"):
                found[tail] = np.minimum(np.log(_quantiles(places, khat, scale) + cutoff), 0.0)
    return found - np.log(np.exp(found).sum()), khat


def _pareto_fit(excess: Floats) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution of excesses (n), ascending."""
    n = len(excess)
    quartile = excess[int(n / 4 + 0.5) - 1]
    if quartile <= excess[0]:
        return float("nan"), float("nan")
    points = 30 + int(n**0.5)
    b = (1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))) / (_PRIOR_SCALE * quartile)
    b += 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    log_likelihood = n * (np.log(-b / k) - k - 1)
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    counts = weight >= _NEGLIGIBLE
    estimate = float(np.sum(b[counts] * weight[counts]) / weight[counts].sum())
    shape = float(np.log1p(-estimate * excess).mean())
    held = (n * shape + _PRIOR_DRAWS * _PRIOR_SHAPE) / (n + _PRIOR_DRAWS)
    return (float("inf") if np.isnan(held) else held), -shape / estimate


def _quantiles(probability: Floats, shape: float, scale: float) -> Floats:
    if not scale > 0:
        return np.full(len(probability), np.nan)
    if shape == 0:
        return -scale * np.log1p(-probability)
    return np.asarray(scale * np.expm1(-shape * np.log1p(-probability)) / shape)
