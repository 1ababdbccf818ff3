"""Averages over draws from which the influence of some data is taken away by importance weights.

Pareto-smoothed importance sampling: Vehtari, Simpson, Gelman, Yao & Gabry, JMLR 25:72 (2024);
leaving out by it: Vehtari, Gelman & Gabry, Statistics and Computing 27:1413 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["Predicted", "khat_limit", "log_mean", "relative_ess", "weighted"]

type Floats = NDArray[np.float64]

_FEWEST = 25  # draws for a tail to be fitted to
_EQUAL = 1e-9  # range of log weights that are the same


@dataclass(frozen=True)
class Predicted:
    """Log predictive density ``elpd`` of what was left out.

    ``khat``, Pareto's k of the weights (NaN where there was nothing to weigh); ``mcse``, the
    Monte-Carlo SE of ``elpd`` from the number of draws.
    """

    elpd: float
    khat: float
    mcse: float


def khat_limit(draws: int) -> float:
    """Pareto k-hat above which an average over so many draws is not to be trusted; at most 0.7."""
    return float(min(1 - 1 / np.log10(max(draws, 11)), 0.7))


def log_mean(values: Floats) -> float:
    """Log of the mean of the exponential of values (S)."""
    return float(logsumexp(values) - np.log(len(values)))


def relative_ess(score: Floats, chains: int) -> float:
    """Effective share of draws (S), chain after chain, for the mean of exp(score)."""
    finite = np.isfinite(score)
    value = np.exp(np.where(finite, score, -np.inf) - np.max(score[finite], initial=0.0))
    by_chain = value.reshape(chains, -1)
    if by_chain.shape[1] < 4 or np.ptp(value) == 0:
        return 1.0
    share = float(array_stats.ess(by_chain, method="mean", relative=True))
    return min(share, 1.0) if np.isfinite(share) and share > 0 else 1.0


def weighted(score: Floats, log_ratio: Floats, *, r_eff: float = 1.0) -> Predicted:
    """Log of the weighted mean of exp(score) over draws.

    Parameters
    ----------
    score
        Log density (S) of what was left out, under each draw.
    log_ratio
        Log of the importance ratio (S), up to a constant; smoothed here.
    r_eff
        Effective share of the draws.

    Returns
    -------
    k-hat is infinite where a ratio or a score is not finite, or there are too few draws to tell.
    """
    if not np.isfinite(log_ratio).all():
        return Predicted(-np.inf, np.inf, np.inf)
    if np.ptp(log_ratio) < _EQUAL:
        log_weight, khat = np.full(len(score), -np.log(len(score))), np.nan
    elif len(score) < _FEWEST:
        log_weight, khat = log_ratio - logsumexp(log_ratio), np.inf
    else:
        smooth, found = array_stats.psislw(-log_ratio, r_eff=r_eff)
        # Undefined where next to nothing but the largest weights is left.
        khat = float(found) if np.isfinite(found) else np.inf
        log_weight = smooth - logsumexp(smooth)
    elpd = float(logsumexp(log_weight + score))
    if not np.isfinite(elpd):
        return Predicted(-np.inf, np.inf, np.inf)
    weight, relative = np.exp(log_weight), np.exp(score - elpd)
    variance = float((weight**2 * (relative - 1) ** 2).sum())
    return Predicted(elpd, khat, float(np.sqrt(variance / r_eff)))
