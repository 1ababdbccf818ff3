"""R-hat and effective sample sizes of many quantities at a time.

Rank-normalised split R-hat, bulk and tail ESS of Vehtari, Gelman, Simpson, Carpenter & Bürkner,
Bayesian Analysis 16:667 (2021), with the autocorrelations summed by Geyer's initial monotone
sequence (Statistical Science 7:473, 1992). ArviZ computes the same for one quantity after another;
a large cohort has tens of thousands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import ndtri

__all__ = ["TAILS", "chain_figures"]

type Floats = NDArray[np.float64]

TAILS = (0.05, 0.95)
"""The quantiles whose ESS is that of the tails."""
_BLOM = 3 / 8  # of the ranks' plotting positions
_FEWEST = 4  # draws of a chain


def chain_figures(draws: Floats) -> tuple[Floats, Floats, Floats]:
    """R-hat, and ESS of the bulk and of the tails (n each) of draws (n, chains, draws).

    Parameters
    ----------
    draws
        Finite draws of n quantities.

    Returns
    -------
    NaN everywhere below 4 draws of a chain; R-hat also with one chain, infinite where every chain
    stays where it is.
    """
    n, chains, size = draws.shape
    if size < _FEWEST:
        return np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    halves = _halves(draws)
    scores = _scores(halves)
    found = np.full(n, np.nan)
    if chains > 1:
        middle = np.median(halves, axis=(1, 2), keepdims=True)
        bulk, tail = _rhat(scores), _rhat(_scores(np.abs(halves - middle)))
        # Draws of two values are all as far from the median: their distances say nothing.
        found = np.where(np.isnan(tail), bulk, np.maximum(bulk, tail))
    ends = np.quantile(draws, TAILS, axis=(1, 2))[..., None, None]
    low, high = (_ess(_halves(draws <= end)) for end in ends)
    return found, _ess(scores), np.minimum(low, high)


def _halves(draws: NDArray[np.generic]) -> Floats:
    """The halves of the chains as chains; of an odd number of draws the middle one is left out."""
    half = draws.shape[2] // 2
    return np.concatenate([draws[..., :half], draws[..., -half:]], axis=1).astype(float)


def _scores(draws: Floats) -> Floats:
    """Normal scores of the ranks among all of a quantity's draws; equal draws share a rank."""
    flat = draws.reshape(len(draws), -1)
    size = flat.shape[1]
    order = flat.argsort(axis=1)
    ascending = np.take_along_axis(flat, order, axis=1)
    differs = ascending[:, 1:] != ascending[:, :-1]
    places, edge = np.arange(size), np.ones((len(flat), 1), dtype=bool)
    first = np.where(np.hstack([edge, differs]), places, 0)
    last = np.where(np.hstack([differs, edge]), places, size)[:, ::-1]
    doubled = np.maximum.accumulate(first, axis=1) + 2
    doubled += np.minimum.accumulate(last, axis=1)[:, ::-1]
    scores = np.empty_like(flat)
    np.put_along_axis(scores, order, _score_table(size)[doubled], axis=1)
    return scores.reshape(draws.shape)


@lru_cache(maxsize=8)
def _score_table(size: int) -> Floats:
    """Normal scores by twice the rank, which is whole where equal draws share one."""
    places = np.arange(2 * size + 1) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray(ndtri((places - _BLOM) / (size - 2 * _BLOM + 1)))


def _rhat(draws: Floats) -> Floats:
    size = draws.shape[2]
    between = size * draws.mean(axis=2).var(axis=1, ddof=1)
    within = draws.var(axis=2, ddof=1).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt((between / within + size - 1) / size))


def _ess(draws: Floats) -> Floats:
    """Effective sample size (n) for the means of draws (n, chains, draws)."""
    n, chains, size = draws.shape
    total = float(chains * size)
    still = np.ptp(draws, axis=(1, 2)) < np.finfo(float).resolution
    covariance = _autocovariance(draws)
    mean_variance = covariance[:, 0] * size / (size - 1.0)
    variance = covariance[:, 0].copy()
    if chains > 1:
        variance += draws.mean(axis=2).var(axis=1, ddof=1)
    variance[still] = 1.0
    correlation = 1.0 - (mean_variance[:, None] - covariance) / variance[:, None]
    correlation[:, 0] = 1.0
    even = correlation[:, 0 : size - size % 2 : 2]
    pairs = even + correlation[:, 1::2]
    last = max(0, (size - 1) // 2 - 1)  # the pair beyond which nothing is estimated
    negative = pairs[:, : last + 1] <= 0
    end = np.where(negative.any(axis=1), negative.argmax(axis=1), last)
    falling = np.minimum.accumulate(pairs, axis=1)
    counted = np.arange(pairs.shape[1]) < end[:, None]
    rows = np.arange(n)
    final = even[rows, end]
    final = np.where((final > 0) | (pairs[rows, end] >= 0), final, 0.0)
    time = -1.0 + 2.0 * np.sum(falling * counted, axis=1) + final
    found = total / np.maximum(time, 1 / np.log10(total))
    return np.where(still, total, found)


def _autocovariance(draws: Floats) -> Floats:
    """At each lag (n, draws), averaged over the chains."""
    size = draws.shape[2]
    length = next_fast_len(2 * size, real=True)
    spectrum = rfft(draws - draws.mean(axis=2, keepdims=True), n=length, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    return np.asarray(irfft(power, n=length, axis=1)[:, :size] / size)
