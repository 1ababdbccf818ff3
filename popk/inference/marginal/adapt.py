"""Proposals for the population parameters that learn the posterior from their own weights.

Adaptive multiple importance sampling (Cornuet, Marin, Mira & Robert, Scandinavian Journal of
Statistics 39:798, 2012) with mixtures of t distributions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.inference.marginal.calibration import (
    Correction,
    calibrated,
    points_needed,
    with_tolerance,
)
from popk.inference.marginal.chains import pareto_k
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.search import Mode

__all__ = ["Adapted", "adapt", "refine"]

type Floats = NDArray[np.float64]

_ROUNDS = 14
_HOPELESS = 0.05  # effective share with which no one stops early
_LEARNT = 300  # points of the posterior that the patients' shapes are learnt from in the end
_LAST_ROUNDS = 4
_LARGER = 3  # times as many points in each of them
_THIN = 0.4  # Pareto k-hat of the proposals
_GOOD = 0.6  # share of them that is effective, with which no more is learnt
_SPLIT = 2  # more components in each of the last rounds
_LEARNING = 3  # rounds after which the patients' integrals are guided well enough
_WIDE = 1.3  # the first proposals' covariance over that of the mode
_DEFENSIVE = 0.1  # share of the proposals that are spread more widely
_WIDER = 3.0  # their covariance over that of the rest
_BETTER = 0.03
_PATIENCE = 3  # rounds that are no better
_ENOUGH = 0.5  # share of the proposals that is effective
_MOST_COMPONENTS = 8
_CLIPPED = 8  # weights that are equal, or
_CLIPPED_OF = 200  # one of so many
_TEMPERED = 4  # points per coordinate that must be effective before a fit
_NOISE = 0.45  # variance of the log posterior's estimate
_OWN_NOISE = 0.005  # that of a patient whose estimate is only a check on a smooth one
_TOO_MUCH = 1.0  # variance above which all points are to share their nodes
_KEPT = 0.1  # of the proposals, at least
_TRAINED = 400  # points whose nodes polynomials are fitted to
_TESTED = 24
_MOST_NODES = 1024
_MOST_COSTLY = 512  # where the equations are costly
_REFINEMENTS = 6
_SUSPECT = 0.7  # Pareto k-hat of a patient's nodes, above which they are spread more widely
_JUDGED = 256  # nodes that tell
_LOST = 64  # nodes that should have been enough
_WRONG = 0.25  # variance of what a correction leaves, above which integrals must be unbiased
_LOOKED_AT = 10  # of so many points of a last round, the one with the highest weight
_PICKED = 0.01  # relative variance, for a patient, of an average over picks
_FEWEST_PICKS = 2
_PAIRS = 48  # points at which it is measured
_STAGE = 1_000


@dataclass(frozen=True)
class Adapted:
    """The proposals, the effective share of them, and points of the posterior.

    ``ceiling`` is the log weight above which a proposal is sure to be kept, ``noise`` the variance
    of the log posterior's estimate. With a ``correction`` that estimate is the smooth one, put
    right; without, the unbiased one.
    """

    proposals: Mixture
    share: float
    points: Floats
    ceiling: float
    noise: float
    correction: Correction | None = None


def adapt(
    cohort: Cohort,
    modes: list[Mode],
    *,
    size: int,
    rng: np.random.Generator,
    report: Callable[[int, int], None],
) -> Adapted:
    """Fit the proposals in rounds of ``size`` points, until as many as can be are effective.

    Parameters
    ----------
    cohort
        The patients; learns where their conditional posteriors are, and how many nodes they need.
    modes
        Where to begin.
    size
        Points of a round.
    rng
        Random numbers.
    report
        Told the round and how many there are at most.
    """
    proposals = _around(modes)
    cohort.begin(modes[0].x, 1 / np.sqrt(np.diagonal(modes[0].precision)))
    if cohort.is_costly:
        wide = proposals.draw(_TRAINED + _TESTED, rng)
        cohort.train(wide[_TESTED:], 5 * _STAGE, wide[:_TESTED])
    drawn: list[tuple[Mixture, Floats, Floats]] = []
    best, stalled = 0.0, 0
    for turn in range(_ROUNDS):
        report(turn, _ROUNDS)
        used = proposals.widened(_DEFENSIVE, _WIDER)
        x = used.draw(size, rng)
        # Shapes that are learnt from few nodes must not always be learnt from the same.
        learning = turn < _LEARNING
        found = cohort.integrate(x, _STAGE + turn, detail=learning, rough=True, smooth=not learning)
        log_posterior = cohort.log_posterior(x, found)
        drawn.append((used, x, log_posterior))
        log_weight = log_posterior - used.log_density(x)
        own, effective = _weights(log_weight, x.shape[1])
        points, weight = _pooled(drawn)
        if learning:
            cohort.learn(x, found, own)
        if turn == _LEARNING - 1:
            drawn = _settled(cohort, drawn, points, weight, rng)
            points, weight = _pooled(drawn)
        share = effective / size
        hopeful = learning or share > best + _BETTER or share < _HOPELESS
        stalled = 0 if hopeful else stalled + 1
        best = max(best, share)
        if not learning and (share > _ENOUGH or stalled >= _PATIENCE):
            break
        proposals = proposals.fitted(points, weight)
        if turn >= _LEARNING and len(proposals.weight) < _MOST_COMPONENTS:
            proposals = proposals.split(points, weight, rng).fitted(points, weight)
    # The first rounds' shapes rest on the few points that were effective then.
    chosen = points[rng.choice(len(points), size=_LEARNT, p=weight)]
    found = cohort.integrate(chosen, 7 * _STAGE, detail=True, rough=True)
    cohort.learn(chosen, found, np.full(_LEARNT, 1 / _LEARNT))
    if cohort.is_costly:
        _train(cohort, points, weight, rng)
    _widen(cohort, _taken(points, weight, rng))
    correction = _corrected(cohort, points, weight, rng)
    if correction is None:
        noise = refine(cohort, _taken(points, weight, rng))
    else:
        noise = correction.error
        drawn = [(used, x, value + correction.at(x)) for used, x, value in drawn]
    return _finished(cohort, proposals, drawn, noise, correction, size=size, rng=rng)


def _corrected(
    cohort: Cohort, points: Floats, weight: Floats, rng: np.random.Generator
) -> Correction | None:
    """The smooth integrals' correction, measured where the posterior is and somewhat beyond.

    None where it leaves too much.
    """
    n = points_needed(points.shape[1]) // 2
    flat = _flat(weight)
    near = rng.choice(len(points), size=n, p=weight)
    chosen = np.concatenate([near, rng.choice(len(points), size=n, p=flat)])
    found = calibrated(cohort, points[chosen], weight[chosen] / (weight + flat)[chosen])
    if found.error > _WRONG:
        return None
    # Unbiased estimates are only for picking effects now, and need fewer picks.
    cohort.pick(_PICKED, fewest=_FEWEST_PICKS)
    return with_tolerance(cohort, found, points[near])


def _finished(
    cohort: Cohort,
    proposals: Mixture,
    drawn: list[tuple[Mixture, Floats, Floats]],
    noise: float,
    correction: Correction | None,
    *,
    size: int,
    rng: np.random.Generator,
) -> Adapted:
    """The proposals tried on more points, and fitted to them too while their tails are thin."""
    for turn in range(_LAST_ROUNDS):
        used = proposals.widened(_DEFENSIVE, _WIDER)
        x = used.draw(_LARGER * size, rng)
        log_posterior = cohort.log_posterior(x, cohort.integrate(x, 0, smooth=True))
        log_density = used.log_density(x)
        if correction is not None:
            log_posterior = log_posterior + correction.at(x)
            top = np.argsort(log_density - log_posterior)[: len(x) // _LOOKED_AT]
            found = cohort.integrate(x[top], 8 * _STAGE + 2 * turn)
            found = cohort.correct(x[top], found, 8 * _STAGE + 2 * turn + 1)
            log_posterior[top] = correction.decided(
                cohort, x[top], log_posterior[top], cohort.log_posterior(x[top], found)
            )
        drawn.append((used, x, log_posterior))
        log_weight = log_posterior - log_density
        points, weight = _pooled(drawn)
        share = _weights(log_weight, x.shape[1])[1] / len(x)
        good = share > _GOOD and pareto_k(log_weight) < _THIN
        if turn == _LAST_ROUNDS - 1 or good:
            break
        for _ in range(_SPLIT):
            if len(proposals.weight) < 2 * _MOST_COMPONENTS:
                proposals = proposals.split(points, weight, rng)
            proposals = proposals.fitted(points, weight)
    some = _taken(points, weight, rng)
    return Adapted(used, share, some, _ceiling(log_weight), noise, correction)


def _settled(
    cohort: Cohort,
    drawn: list[tuple[Mixture, Floats, Floats]],
    points: Floats,
    weight: Floats,
    rng: np.random.Generator,
) -> list[tuple[Mixture, Floats, Floats]]:
    """What was drawn so far with better integrals, lest the proposals learn their noise.

    More nodes where they are needed, and the same ones at all points.
    """
    if cohort.is_costly:
        _train(cohort, points, weight, rng)
    allowed = max(_NOISE / len(cohort.patients), _OWN_NOISE)
    _more_nodes(cohort, _taken(points, weight, rng), allowed)
    cohort.settle(_taken(points, _flat(weight), rng))
    return [
        (used, x, cohort.log_posterior(x, cohort.integrate(x, 0, smooth=True)))
        for used, x, _ in drawn
    ]


def _taken(points: Floats, weight: Floats, rng: np.random.Generator) -> Floats:
    """Some of the points, by weight."""
    return np.asarray(points[rng.choice(len(points), size=_PAIRS, p=weight)])


def _train(cohort: Cohort, x: Floats, weight: Floats, rng: np.random.Generator) -> None:
    """Fit polynomials around the posterior as it is known."""
    wide = rng.choice(len(x), size=_TRAINED, p=_flat(weight))
    near = rng.choice(len(x), size=_TESTED, p=weight)
    cohort.train(x[wide], 3 * _STAGE, x[near])


def _flat(weight: Floats) -> Floats:
    """Weights that reach further."""
    flat = weight ** (1 / 3)
    return flat / flat.sum()


def _ceiling(log_weight: Floats) -> float:
    """The log weight above which a fifth of the posterior lies, or that keeps enough proposals."""
    order = np.argsort(log_weight)
    share = np.exp(log_weight[order] - logsumexp(log_weight))
    high = float(log_weight[order][np.searchsorted(np.cumsum(share), 0.8)])
    mean = float(logsumexp(log_weight) - np.log(len(log_weight)))
    return min(high, mean - float(np.log(_KEPT)))


def _around(modes: list[Mode]) -> Mixture:
    """A component around each mode, with its Laplace approximation's weight."""
    covariance = np.stack([np.linalg.inv(mode.precision) for mode in modes])
    size = np.array([mode.log_density for mode in modes])
    size = size + 0.5 * np.linalg.slogdet(covariance)[1]
    weight = np.exp(size - logsumexp(size)) + 0.1
    return Mixture.normal(np.stack([mode.x for mode in modes]), _WIDE * covariance, weight)


def _weights(log_weight: Floats, d: int) -> tuple[Floats, float]:
    """Weights that sum to one, fit for learning from, and the ESS of those given.

    The highest few are clipped (Koblents & Míguez, Statistics and Computing 25:407, 2015), lest one
    lucky point be all that is learnt from; then all are tempered until enough are effective.
    """
    weight = np.exp(log_weight - logsumexp(log_weight))
    found = 1 / float((weight**2).sum())
    few = max(_CLIPPED, len(log_weight) // _CLIPPED_OF)
    clipped = np.minimum(log_weight, np.partition(log_weight, -few)[-few])
    power, effective = 1.0, 0.0
    while effective < min(_TEMPERED * d, 0.5 * len(weight)) and power > 1e-3:
        weight = np.exp(power * clipped - logsumexp(power * clipped))
        effective = 1 / float((weight**2).sum())
        power *= 0.8
    return weight, found


def _pooled(drawn: list[tuple[Mixture, Floats, Floats]]) -> tuple[Floats, Floats]:
    """All points and their weights over the mixture of everything they were drawn from."""
    x = np.vstack([points for _, points, _ in drawn])
    log_posterior = np.concatenate([density for _, _, density in drawn])
    parts = [q.log_density(x) + np.log(len(own)) for q, own, _ in drawn]
    log_proposal = logsumexp(parts, axis=0) - np.log(len(x))
    return x, _weights(log_posterior - log_proposal, x.shape[1])[0]


def refine(cohort: Cohort, points: Floats) -> float:
    """More nodes for the patients who need them; the variance left in the log posterior.

    Where the cohort is so large that independent nodes would need many, all points share theirs
    from now on: the error is then a smooth function of the population parameters, and hardly
    changes over the width of the posterior.
    """
    noise = _more_nodes(cohort, points, _NOISE / len(cohort.patients))
    _widen(cohort, points)
    cohort.common = noise > _TOO_MUCH
    cohort.settle(points)
    return noise


def _widen(cohort: Cohort, points: Floats) -> None:
    """Spread the nodes of patients whose conditional posterior has heavier tails than they have."""
    if cohort.is_costly:
        weights = cohort.integrate(points, 4 * _STAGE, detail=True, rough=True).log_weight
    else:
        everyone = range(len(cohort.patients))
        weights = tuple(cohort.exact_weights(points, 4 * _STAGE, everyone, _JUDGED))
    khat = np.array([pareto_k(own.ravel()) for own in weights])
    cohort.widen(np.flatnonzero(khat > _SUSPECT), points, 4 * _STAGE + 1)


def _more_nodes(cohort: Cohort, points: Floats, allowed: float) -> float:
    """More nodes for the patients who need them; the variance left in the log posterior.

    Those need them whose own part of that variance is twice as much as ``allowed``.
    """
    most = _MOST_COSTLY if cohort.is_costly else _MOST_NODES
    for turn in range(_REFINEMENTS):
        pair = [cohort.integrate(points, 2 * _STAGE + 2 * turn + k, rough=True) for k in (0, 1)]
        apart = pair[0].log_likelihood - pair[1].log_likelihood
        noise = 0.5 * np.mean(apart**2, axis=0)
        needs = (noise > 2 * allowed) & (cohort.nodes < most)
        if noise.sum() < _NOISE or not needs.any():
            break
        # Where many do not help, they are in the wrong places.
        lost = needs & (cohort.nodes >= _LOST) & ~cohort.is_spread
        cohort.widen(np.flatnonzero(lost), points, 5 * _STAGE + 1 + turn)
        needs &= ~lost
        # The variance falls faster than the number of nodes grows.
        factor = np.clip((noise[needs] / allowed) ** (1 / 1.5), 2, 4)
        more = cohort.nodes[needs] * 2 ** np.ceil(np.log2(factor)).astype(np.int64)
        cohort.nodes[needs] = np.minimum(more, most)
    return float(noise.sum())
