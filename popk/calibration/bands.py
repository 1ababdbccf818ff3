"""Whether numbers are uniform: differences of their ECDF with simultaneous bands.

For independent numbers, Säilynoja, Bürkner & Vehtari, Statistics and Computing 32:32 (2022): the
band holds the whole ECDF of uniform numbers with the stated probability. Numbers that come in
clusters, as those of the patients of one replicate, which share an estimate of the population, are
not independent; for their pooled ECDF the band is from a wild bootstrap of whole clusters, with
uniformity imposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr
from scipy.stats import binom

__all__ = ["Uniformity", "band_shares", "uniformity"]

type Floats = NDArray[np.float64]

PROBABILITY = 0.95
POINTS = np.arange(1, 100) / 100
_SIMULATED = 4000
_SEED = 20220101  # of the simulations behind bands: the same numbers always have the same band


@dataclass(frozen=True, eq=False)
class Uniformity:
    """The difference of an ECDF from the uniform distribution's, at `POINTS`.

    ``difference``, ``low`` and ``high`` (n_points); ``p_value``, the probability that uniform
    numbers stray at least so far somewhere; ``inside``, whether they stay in the 95 % band;
    ``shift`` and ``spread``, standardised: of their mean above a half, and of their variance above
    a twelfth.
    """

    difference: Floats
    low: Floats
    high: Floats
    p_value: float
    shift: float
    spread: float

    @property
    def inside(self) -> bool:
        """Whether the difference is inside the band everywhere."""
        return bool(np.all((self.low <= self.difference) & (self.difference <= self.high)))


def uniformity(clusters: Sequence[Floats]) -> Uniformity:
    """How numbers between 0 and 1 differ from uniform ones.

    Parameters
    ----------
    clusters
        Numbers that are not independent of each other stand together; one in each cluster where
        all are independent.
    """
    sizes = np.array([len(one) for one in clusters])
    values = np.concatenate([np.zeros(0), *clusters])
    if not len(values):
        nothing = np.full(len(POINTS), np.nan)
        return Uniformity(nothing, nothing, nothing, float("nan"), float("nan"), float("nan"))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    shift = _standardised(values - 0.5, 1 / 12, owner)
    spread = _standardised((values - 0.5) ** 2 - 1 / 12, 1 / 180, owner)
    below = values[:, None] <= POINTS
    difference = below.mean(axis=0) - POINTS
    if sizes.max() == 1:
        low, high, p_value = _independent(below.sum(axis=0), len(values))
    else:
        low, high, p_value = _clustered(below - POINTS, owner)
    return Uniformity(difference, low, high, p_value, shift, spread)


def band_shares(n: float, expected: float, probability: float) -> tuple[float, float]:
    """Shares of n events that a binomial distribution holds with at least this probability."""
    size, tail = max(1, round(n)), (1 - probability) / 2
    return float(binom.ppf(tail, size, expected)) / size, float(
        binom.isf(tail, size, expected)
    ) / size


def _standardised(values: Floats, variance: float, owner: NDArray[np.int64]) -> float:
    """The sum of values of mean zero over its SD, that of clusters unless it is the smaller."""
    total = np.bincount(owner, values)
    return float(total.sum() / np.sqrt(max((total**2).sum(), variance * len(values))))


@lru_cache(maxsize=32)
def _extremes(n: int) -> Floats:
    """Least tail probability of each of many ECDFs of n uniform numbers, ascending."""
    rng = np.random.default_rng(_SEED)
    found = np.empty(_SIMULATED)
    for k in range(_SIMULATED):
        counts = np.searchsorted(np.sort(rng.random(n)), POINTS, side="right")
        found[k] = _least(counts, n)
    return np.sort(found)


def _least(counts: NDArray[np.int64], n: int) -> float:
    """The smallest of the two-sided tail probabilities of binomial counts at `POINTS`."""
    lower = bdtr(counts, n, POINTS)
    upper = np.where(counts > 0, 1 - bdtr(np.maximum(counts - 1, 0), n, POINTS), 1.0)
    return float(2 * np.minimum(lower, upper).min())


def _independent(counts: NDArray[np.int64], n: int) -> tuple[Floats, Floats, float]:
    extremes = _extremes(n)
    # Rounding must not part equal counts' probabilities.
    reached = np.searchsorted(extremes, _least(counts, n) * (1 + 1e-9), side="right")
    limit = float(np.quantile(extremes, 1 - PROBABILITY)) * (1 - 1e-9)
    low = binom.ppf(limit / 2, n, POINTS) / n - POINTS
    high = binom.isf(limit / 2, n, POINTS) / n - POINTS
    return low, high, (1 + reached) / (1 + _SIMULATED)


def _clustered(residuals: Floats, owner: NDArray[np.int64]) -> tuple[Floats, Floats, float]:
    """From residuals (n, n_points) of mean zero under uniformity."""
    n = len(residuals)
    totals = np.zeros((owner.max() + 1, len(POINTS)))
    np.add.at(totals, owner, residuals)
    totals /= n
    # One factor for all points: in the tails, where few clusters have a number, a variance of their
    # own would often come out too small by chance.
    alone = POINTS * (1 - POINTS) / n
    k = len(totals)
    together = totals.var(axis=0) * k * k / max(1, k - 1)
    sd = np.sqrt(alone * max(1.0, together.sum() / alone.sum()))
    rng = np.random.default_rng(_SEED)
    signs = rng.integers(0, 2, (_SIMULATED, len(totals))) * 2.0 - 1
    extremes = np.abs(signs @ totals / sd).max(axis=1)
    found = float(np.abs(totals.sum(axis=0) / sd).max())
    reached = int((extremes >= found * (1 - 1e-9)).sum())
    wide = float(np.quantile(extremes, PROBABILITY)) * sd
    return -wide, wide, (1 + reached) / (1 + _SIMULATED)
