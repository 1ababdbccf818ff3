"""Statistics that say how far numbers are from what they should look like, with their p-values.

Every function takes D sets of numbers at once, one for each draw of a posterior, and returns a
p-value for each. Their mean is the posterior predictive p-value of the discrepancy (Gelman, Meng
& Stern, Statistica Sinica 6:733, 1996).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, ndtri

__all__ = [
    "FEWEST", "bin_means", "equal_bins", "magnitude", "matched", "neighbours", "split_share",
    "strongest_correlation", "tails", "trend",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]
type Ints = NDArray[np.int64]

FEWEST = 20  # numbers that a test asks for


def magnitude(residual: Floats) -> Floats:
    """Normal scores of the absolute values of standard normal numbers."""
    inside = np.clip(2 * ndtr(np.abs(residual)) - 1, 1e-12, 1 - 1e-15)
    return np.asarray(ndtri(inside))


def equal_bins(x: Floats, bins: int) -> Ints:
    """Bins (D, n) with as many of the values x (D, n) each, those of each draw in its order."""
    order = np.argsort(np.argsort(x, axis=1), axis=1)
    return np.asarray(order * bins // x.shape[1])


def bin_means(values: Floats, place: Ints, bins: int) -> tuple[Floats, Floats]:
    """Mean and number (D, bins each) of values (D, n) in bins; ``place`` (n) or (D, n)."""
    place = np.broadcast_to(place, values.shape)
    flat = place + bins * np.arange(len(values))[:, None]
    size = bins * len(values)
    count = np.bincount(flat.ravel(), minlength=size).reshape(-1, bins).astype(float)
    total = np.bincount(flat.ravel(), values.ravel(), minlength=size).reshape(-1, bins)
    return total / np.maximum(count, 1), count


def trend(values: Floats, place: Ints, bins: int, *, centred: bool = False) -> Floats:
    """P (D) that the means of standard normal values in bins are zero, or all the same.

    The sum of squares of means of independent standard normal numbers is chi-squared.
    """
    mean, count = bin_means(values, place, bins)
    used = count > 0
    if centred:
        mean = mean - (mean * count).sum(axis=1, keepdims=True) / count.sum(axis=1, keepdims=True)
    statistic = (count * mean**2).sum(axis=1)
    return np.asarray(stats.chi2.sf(statistic, used.sum(axis=1) - int(centred)))


def tails(values: Floats) -> Floats:
    """P (D) of a normal shape of n values, by skewness and kurtosis.

    D'Agostino & Pearson, Biometrika 60:613, 1973.
    """
    return np.asarray(stats.normaltest(values, axis=1).pvalue)


def neighbours(values: Floats, before: Ints, after: Ints) -> Floats:
    """P (D) that pairs of standard normal values are not correlated."""
    statistic = (values[:, before] * values[:, after]).sum(axis=1) / np.sqrt(len(before))
    return np.asarray(2 * stats.norm.sf(np.abs(statistic)))


def split_share(values: Floats) -> Floats:
    """Share (D) of the variance of n values that lies between two groups, cut where it is largest.

    About 0.64 for a normal distribution, more for one with two modes: Engelman & Hartigan, J Am
    Stat Assoc 64:1647, 1969.
    """
    ordered = np.sort(values, axis=1)
    ordered = ordered - ordered.mean(axis=1, keepdims=True)
    n = values.shape[1]
    left = np.arange(1, n)
    between = np.cumsum(ordered, axis=1)[:, :-1] ** 2 * (1 / left + 1 / (n - left))
    total = (ordered**2).sum(axis=1)
    return np.asarray(between.max(axis=1) / np.where(total > 0, total, 1.0))


def strongest_correlation(values: Floats, x: Floats, pairs: Bools | None = None) -> Floats:
    """Largest absolute correlation (D) of values (D, n, k) with columns x ((D,) n, m).

    ``pairs`` (k, m) says which are looked at; all if None.
    """
    found = np.abs(correlations(values, x))
    if pairs is not None:
        found = np.where(pairs, found, 0.0)
    return np.asarray(found.max(axis=(1, 2)))


def correlations(values: Floats, x: Floats) -> Floats:
    """Correlations (D, k, m) of values (D, n, k) with columns x ((D,) n, m)."""
    one, two = _scaled(values), _scaled(np.broadcast_to(x, (len(values), *x.shape[-2:])))
    return np.asarray(np.swapaxes(one, 1, 2) @ two)


def matched(statistic: Floats, reference: Floats) -> Floats:
    """P (D): share of reference values as large as each statistic, itself counted in."""
    ordered = np.sort(reference)
    above = len(ordered) - np.searchsorted(ordered, statistic - 1e-12)
    return np.asarray((1 + above) / (1 + len(ordered)))


def _scaled(values: Floats) -> Floats:
    moved = values - values.mean(axis=-2, keepdims=True)
    size = np.sqrt((moved**2).sum(axis=-2, keepdims=True))
    return np.asarray(moved / np.where(size > 0, size, 1.0))
