"""Smooth integrals put right by precise ones.

With the same few nodes at every point the estimate of the log marginal likelihood is a smooth
function of the population parameters. What it is off by, and what polynomials in place of the
equations are off by, is a smooth function too, nearly a constant over the posterior; so it is
measured at some points by many nodes and exact solutions, and a quadratic without cross terms
fitted to it takes it away everywhere. What the quadratic does not follow is measured as well.

Against an unbiased estimate with nodes of its own at every point (Andrieu & Roberts, Annals of
Statistics 37:697, 2009) this leaves no noise in the weights of proposals, which is where most of
their worth was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.inference.marginal.cohort import Cohort

__all__ = ["Correction", "calibrated", "points_needed", "with_tolerance"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_FEWEST_POINTS = 100
_PER_COEFFICIENT = 4  # points
_TIMES = 4  # as many nodes in each of two precise integrals, at least
_LEAST_NODES = 64
_MOST_NODES = 1024
_WORK = 20_000  # nodes of all patients together that cost little where equations are in closed form
_ENOUGH = 0.04  # variance that may be left
_LEAST_COUNT, _MOST_COUNT = 0.05, 5.0  # of a point, relative to the mean
_TOLD = 0.02  # part of it that may come from the precise integrals' own noise
_GAIN = 0.75  # of a patient's part of the variance, by twice as many nodes
_AIM = 0.75  # of what is enough
_MUCH = 0.2  # that more nodes alone must have brought it below
_WIDE_NODES = 256
_ROUNDS = 5  # of giving more nodes to the patients who need them
_CHANCE = 6.0  # median deviations, about four standard ones
_LEAST_TOLERANCE = 0.5
_STAGE = 8_000
_RIDGES = (0.3, 3.0, 30.0, 300.0, 3000.0)


@dataclass(frozen=True)
class Correction:
    """What is added to the log of the smooth marginal likelihood of all patients.

    A quadratic of the distances from ``centre`` (d) in units of ``scale`` (d), with
    ``coefficients`` (1 + 2 d); beyond ``lowest`` and ``highest`` (d), where it was not measured, it
    stays what it is there. ``error`` is the variance, over the posterior, of what is still wrong
    with the log posterior; ``tolerance``, how far an unbiased estimate may be from it by chance.
    """

    centre: Floats
    scale: Floats
    lowest: Floats
    highest: Floats
    coefficients: Floats
    error: float
    tolerance: float = np.inf

    def at(self, x: Floats) -> Floats:
        """The correction (S) at points (S, d)."""
        held = np.clip(x, self.lowest, self.highest)
        return np.asarray(_features(held, self.centre, self.scale) @ self.coefficients)

    def decided(self, cohort: Cohort, x: Floats, smooth: Floats, unbiased: Floats) -> Floats:
        """Smooth log posteriors (S), or precise ones where the unbiased estimate contradicts them.

        That is where polynomials lead astray, far from where they were fitted.
        """
        with np.errstate(invalid="ignore"):
            doubtful = np.flatnonzero(~(np.abs(unbiased - smooth) < self.tolerance))
        found = smooth.copy()
        if len(doubtful):
            at = x[doubtful]
            each = _precise_nodes(cohort)
            precise = [cohort.precise(at, turn, each).sum(axis=1) for turn in (0, 1)]
            total = logsumexp(precise, axis=0) - np.log(2) + cohort.log_prior(at)
            found[doubtful] = np.where(np.isfinite(total), total, -np.inf)
        return found


def with_tolerance(cohort: Cohort, correction: Correction, x: Floats) -> Correction:
    """The correction, knowing how unbiased estimates scatter around it at points (S, d)."""
    smooth = cohort.integrate(x, 0, smooth=True).log_likelihood.sum(axis=1) + correction.at(x)
    rough = cohort.integrate(x, _STAGE)
    unbiased = cohort.correct(x, rough, _STAGE + 1).log_likelihood.sum(axis=1)
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.abs(unbiased - smooth), nan=np.inf)
    tolerance = max(_CHANCE * float(np.median(off)), _LEAST_TOLERANCE)
    return replace(correction, tolerance=tolerance)


def points_needed(d: int) -> int:
    """Points at which a correction over d coordinates is measured."""
    return max(_FEWEST_POINTS, _PER_COEFFICIENT * (1 + 2 * d))


def _precise_nodes(cohort: Cohort) -> Ints:
    """Nodes of each patient's precise integral."""
    least = _LEAST_NODES
    if not cohort.is_costly:
        least = int(2 ** np.floor(np.log2(max(_WORK // len(cohort.few), least))))
    return np.minimum(np.maximum(_TIMES * cohort.few, least), _MOST_NODES)


def calibrated(cohort: Cohort, x: Floats, weight: Floats | None = None) -> Correction:
    """The correction measured at points (S, d) around the posterior.

    By their ``weight`` (S) they are points of the posterior that the smooth integrals give, by
    equal ones if None.

    Patients for whom it leaves much get more nodes in the smooth integral; those whom that does not
    help, as their conditional posterior has a second mode, get part of them spread widely.
    """
    weight = np.ones(len(x)) if weight is None else weight
    found, own = _measured(cohort, x, weight)
    if found.error > _MUCH:
        cohort.widen(np.flatnonzero(own > _ENOUGH / 2), x, _STAGE + 2, _WIDE_NODES)
        found, _ = _measured(cohort, x, weight)
    return found


def _measured(cohort: Cohort, x: Floats, weight: Floats) -> tuple[Correction, Floats]:
    """The correction, and each patient's part of what it leaves (n)."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    where = (centre, scale, x.min(axis=0), x.max(axis=0))
    halves, each = _halves(cohort, x, _features(x, centre, scale), _counts(weight))
    for turn in range(_ROUNDS):
        smooth = cohort.integrate(x, 0, smooth=True).log_likelihood
        with np.errstate(invalid="ignore"):
            off = halves - smooth  # (2, S, n)
        usable = np.isfinite(off).all(axis=(0, 2))
        if usable.sum() < _PER_COEFFICIENT:
            nothing = Correction(*where, np.zeros(1 + 2 * len(centre)), np.inf)
            return nothing, np.zeros(len(each))
        features = _features(x[usable], centre, scale)
        found, error, own = _fitted(features, off[:, usable], weight[usable])
        more = _worst(np.where(cohort.few < _MOST_NODES // _TIMES, own, 0.0), error)
        if turn == _ROUNDS - 1 or error < _ENOUGH or not len(more):
            break
        cohort.few[more] *= 2
        more = more[each[more] < _TIMES * cohort.few[more]]
        each[more] = _TIMES * cohort.few[more]
        _measure(cohort, x, halves, each, more)
    return Correction(*where, found, error), own


def _worst(own: Floats, error: float) -> Ints:
    """As many patients, by their parts (n) of an error, as must have more nodes for it to fall."""
    order = np.argsort(-own)
    gained = np.cumsum(np.maximum(own[order], 0.0)) * _GAIN
    needed = 1 + int(np.searchsorted(gained, error - _AIM * _ENOUGH))
    return order[:needed][own[order[:needed]] > 0]


def _counts(weight: Floats) -> Floats:
    """Weights that sum to one, none of which is much or next to nothing."""
    found = np.clip(weight / weight.mean(), _LEAST_COUNT, _MOST_COUNT)
    return np.asarray(found / found.sum())


def _halves(cohort: Cohort, x: Floats, features: Floats, count: Floats) -> tuple[Floats, Ints]:
    """Two precise integrals (2, S, n) and their nodes (n), more where the two differ by much.

    By much is what would tell in the coefficients of a correction on ``features`` (S, 1 + 2 d),
    with points that ``count`` (S) for so much.
    """
    weighed = features.T * count
    hat = features @ np.linalg.solve(weighed @ features + 1e-9 * np.eye(len(weighed)), weighed)
    each = _precise_nodes(cohort)
    halves = np.stack([cohort.precise(x, turn, each) for turn in (0, 1)])
    for _ in range(_ROUNDS):
        with np.errstate(invalid="ignore"):
            apart = np.nan_to_num(halves[0] - halves[1], posinf=0.0, neginf=0.0)
        told = hat @ apart
        told -= count @ told
        own = count @ (told * told.sum(axis=1, keepdims=True)) / 4
        more = np.flatnonzero((own > _TOLD / len(own)) & (each < _MOST_NODES))
        if own.sum() < _TOLD or not len(more):
            break
        each[more] *= 2
        _measure(cohort, x, halves, each, more)
    return halves, each


def _measure(cohort: Cohort, x: Floats, halves: Floats, each: Ints, which: Ints) -> None:
    """Put precise integrals of some patients, by as many nodes as there are for them, in place."""
    if len(which):
        for turn in (0, 1):
            halves[turn][:, which] = cohort.precise(x, turn, each, which)


def _features(x: Floats, centre: Floats, scale: Floats) -> Floats:
    away = (x - centre) / scale
    return np.concatenate([np.ones((len(x), 1)), away, (away**2 - 1) / np.sqrt(2)], axis=1)


def _fitted(features: Floats, off: Floats, weight: Floats) -> tuple[Floats, float, Floats]:
    """Ridge regression of errors (2, S, n) measured twice, summed over patients.

    The points count by how much of the posterior is there, that without the errors; those where
    there is next to nothing count a little, as proposals come there.

    Returns
    -------
    The coefficients; the variance of what the quadratic does not follow at points it was not fitted
    to, and that which the measurements' noise adds to it; of the former, each patient's part (n),
    which is large too where all patients are off by a little in the same way.
    As the two measurements are independent, the mean of their products has no part in the noise.
    """
    total = off.sum(axis=2)  # (2, S)
    mean = total.mean(axis=0)
    count = _counts(weight * np.exp(mean - mean.max()))
    weighed = features.T * (len(count) * count)
    best: tuple[float, Floats, Floats] | None = None
    for ridge in _RIDGES:
        penalty = ridge * np.eye(features.shape[1])
        penalty[0, 0] = 0.0
        solved = np.linalg.solve(weighed @ features + penalty, weighed)
        hat = features @ solved
        stretch = 1 / (1 - np.diagonal(hat))
        loss = float(count @ ((mean - hat @ mean) * stretch) ** 2)
        if best is None or loss < best[0]:
            best = loss, solved, hat
    assert best is not None
    _, solved, hat = best
    stretch = 1 / (1 - np.diagonal(hat))
    missed_each = (off - np.einsum("st,htn->hsn", hat, off)) * stretch[:, None]
    missed = missed_each.sum(axis=2)
    left = max(float(count @ (missed[0] * missed[1])), 0.0)
    # All points share a measurement's nodes, so its noise is smooth and the quadratic follows it.
    noise = hat @ (total[0] - total[1])
    rest = float(count @ (noise - count @ noise) ** 2) / 4
    crossed = missed_each[0] * missed[1][:, None] + missed_each[1] * missed[0][:, None]
    return solved @ mean, left + rest, count @ crossed / 2
