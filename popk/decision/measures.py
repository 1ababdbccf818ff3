"""What is read off a course of concentrations: time under a target, areas, peaks, quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.individual import Trough
from popk.statistics import Prior

__all__ = [
    "area",
    "band",
    "first_time_at_or_below",
    "share",
    "share_error",
    "time_under",
]

type Floats = NDArray[np.float64]

_TINY = 1e-300


def time_under(times: Floats, values: Floats, target: Trough) -> Floats:
    """Time under the target from the first reading to each one, (S, n).

    Between readings the logarithm of the concentration is taken as a straight line, which is exact
    for a single exponential. Of a target that is a distribution, the expected time.

    Parameters
    ----------
    times
        Times of the readings (n), ascending.
    values
        Concentrations (S, n).
    target
        The target.
    """
    if isinstance(target.given, Prior):
        below = 1.0 - target.reached(values)
        below = np.where(np.isnan(values), np.nan, below)
        fraction = 0.5 * (below[:, 1:] + below[:, :-1])
    else:
        distance = np.log(np.maximum(values, _TINY)) - np.log(target.given)
        start, end = distance[:, :-1], distance[:, 1:]
        under = np.maximum(-start, 0.0) + np.maximum(-end, 0.0)
        whole = np.abs(start) + np.abs(end)
        # Of a straight line from one side of zero to the other, the part on the lower side.
        crossing = start * end < 0
        part = np.divide(under, whole, out=np.zeros_like(under), where=whole > 0)
        fraction = np.where(crossing, part, (start + end < 0).astype(float))
        fraction = np.where(np.isnan(start) | np.isnan(end), np.nan, fraction)
    cells = np.cumsum(fraction * np.diff(times), axis=1)
    return np.concatenate([np.zeros((len(values), 1)), cells], axis=1)


def first_time_at_or_below(times: Floats, values: Floats, concentration: float) -> Floats:
    """First time (S) at which a concentration is at or below one, having been above.

    Infinite where it never is by the last reading; the first reading's time where it starts there.
    """
    low = values <= concentration
    reached = low.any(axis=1)
    k = np.argmax(low, axis=1)
    at = np.arange(len(values))
    after, before = values[at, k], values[at, np.maximum(k - 1, 0)]
    logs = np.log(np.maximum(np.stack([before, after]), _TINY))
    fall = logs[0] - logs[1]
    part = np.divide(logs[0] - np.log(concentration), fall, out=np.ones_like(fall), where=fall > 0)
    found = times[np.maximum(k - 1, 0)] + part * (times[k] - times[np.maximum(k - 1, 0)])
    found = np.where(k == 0, times[0], found)
    found = np.where(reached, found, np.inf)
    return np.where(np.isnan(values).any(axis=1), np.nan, found)


def area(times: Floats, values: Floats) -> Floats:
    """Area under each course (S), by the linear-up logarithmic-down rule."""
    start, end = values[:, :-1], values[:, 1:]
    width = np.diff(times)
    with np.errstate(all="ignore"):
        ratio = np.log(start / end)
        falling = (start - end) / ratio
    log_rule = (end > 0) & (start > end) & (ratio > 1e-9)
    return np.asarray((np.where(log_rule, falling, 0.5 * (start + end)) * width).sum(axis=1))


def share(reached: Floats, known: Floats) -> Floats:
    """Mean over the draws (first axis) of what each reaches; NaN where no draw was solved.

    ``known`` has the values that ``reached`` is of: a draw that could not be solved counts as not
    reaching, unless none could.
    """
    return np.where(np.isnan(known).all(axis=0), np.nan, reached.mean(axis=0))


def share_error(probability: Floats, draws: int) -> Floats:
    """Monte Carlo standard error of a probability counted over so many independent draws."""
    return np.sqrt(np.maximum(probability * (1.0 - probability), 0.0) / draws)


def band(values: Floats) -> tuple[Floats, Floats, Floats]:
    """5, 50 and 95 % quantiles over the draws (first axis), NaN where no draw was solved."""
    none = np.isnan(values).all(axis=0)
    # Times that are never reached are infinite, and no number may come from between them.
    found = np.nanquantile(
        np.where(none, 0.0, values), [0.05, 0.5, 0.95], axis=0, method="inverted_cdf"
    )
    low, middle, high = np.where(none, np.nan, found)
    return low, middle, high
