"""How good a forecast was, given what was observed: proper scores, errors, and their averages.

An observation beyond a limit of quantification is known to lie there and no more. It has no error;
its log score is the log probability of lying there; its CRPS, like that of every observation with
a limit, is that of values moved to the limit where they lie beyond it (threshold-weighted CRPS with
the chaining function clip: Gneiting & Ranjan, J Bus Econ Stat 29:411, 2011; Allen, Ginsbourger &
Ziegel, SIAM/ASA J Uncertainty Quantification 11:906, 2023), so that the score stays proper; its PIT
is drawn evenly from the probabilities that are possible (Czado, Gneiting & Held, Biometrics
65:1254, 2009), and it counts as covered with the share of these that an interval holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from arviz_stats.base import array_stats
from numpy.typing import NDArray

__all__ = ["COVERAGES", "Limits", "Mean", "clustered_mean", "covered", "crps", "pit_range"]

type Floats = NDArray[np.float64]

COVERAGES = (0.5, 0.9)
"""Probabilities of the central intervals whose coverage is counted."""


@dataclass(frozen=True)
class Limits:
    """What is known of one observation.

    ``dv`` is the value, or the limit beyond which it lies: below ``lower`` where ``status`` is 1,
    above ``upper`` where it is -1. Infinite limits are none.
    """

    dv: float
    status: int
    lower: float
    upper: float


def crps(draws: Floats, seen: Limits) -> float:
    """Continuous ranked probability score of draws (S) of an observation; zero is best.

    In the unit of the observation: E|Y - y| - E|Y - Y'| / 2 over the draws' own distribution
    (Gneiting & Raftery, JASA 102:359, 2007).
    """
    clipped = np.clip(draws, seen.lower, seen.upper)
    value = np.array(np.clip(seen.dv, seen.lower, seen.upper))
    even = np.zeros(len(draws))
    found = array_stats.loo_score(clipped, value, even, kind="crps", chain_axis=None)
    return -float(found)


def pit_range(draws: Floats, seen: Limits) -> tuple[float, float]:
    """Ends of the probabilities at which the observation may lie among draws (S) of it.

    An observation that is like the draws is as likely to have each of S + 1 places among them; a
    quantified one has one of these, one beyond a limit may have any of those there.
    """
    size = len(draws) + 1
    if seen.status > 0:
        return 0.0, float((draws < seen.lower).sum() + 1) / size
    if seen.status < 0:
        return 1.0 - float((draws > seen.upper).sum() + 1) / size, 1.0
    below = float((draws < seen.dv).sum())
    ties = float((draws == seen.dv).sum())
    return below / size, (below + ties + 1) / size


def covered(low: Floats, high: Floats, probability: float) -> Floats:
    """Share of each range of PIT (n) that lies in the central interval of a probability."""
    tail = (1 - probability) / 2
    inside = np.minimum(high, 1 - tail) - np.maximum(low, tail)
    return np.asarray(np.clip(inside, 0.0, None) / (high - low))


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error (NaN with one patient), of how many numbers and patients."""

    value: float
    se: float
    n: int
    n_patients: int


def clustered_mean(values: Floats, patient: NDArray[Any]) -> Mean:
    """Mean of numbers (n) that are not independent within a patient; NaN are left out.

    The standard error is that of a ratio of the patients' sums to their numbers, linearised, with
    the factor G / (G - 1) for G patients (Liang & Zeger, Biometrika 73:13, 1986).
    """
    known = ~np.isnan(values)
    own, who = values[known], patient[known]
    if not len(own):
        return Mean(np.nan, np.nan, 0, 0)
    mean = float(own.mean())
    groups, place = np.unique(who, return_inverse=True)
    with np.errstate(invalid="ignore"):
        sums = np.bincount(place, weights=own - mean)
    size = len(groups)
    se = np.nan
    if size > 1 and np.isfinite(mean):
        se = float(np.sqrt(size / (size - 1) * (sums**2).sum()) / len(own))
    return Mean(mean, se, len(own), size)
