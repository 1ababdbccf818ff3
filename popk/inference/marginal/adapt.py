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

from popk.inference.marginal.chains import pareto_k
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.mixture import Mixture
from popk.inference.marginal.search import Mode

__all__ = ["Adapted", "adapt", "refine"]

type Floats = NDArray[np.float64]

_ROUNDS = 14
_HOPELESS = 0.05  # effective share with which no one stops early
_LEARNING = 3  # rounds after which the patients' integrals are guided well enough
_WIDE = 1.3  # the first proposals' covariance over that of the mode
_DEFENSIVE = 0.1  # share of the proposals that are spread more widely
_WIDER = 3.0  # their covariance over that of the rest
_ENOUGH = 0.5  # share of the proposals that is effective
_MOST_COMPONENTS = 8
_TEMPERED = 4  # points per coordinate that must be effective before a fit
_NOISE = 0.5  # variance of the log posterior's estimate
_TOO_MUCH = 1.0  # variance above which all points are to share their nodes
_KEPT = 0.1  # of the proposals, at least
_TRAINED = 500  # points whose nodes polynomials are fitted to
_TESTED = 100
_MOST_NODES = 1024
_MOST_COSTLY = 128  # where the equations are costly
_REFINEMENTS = 6
_SUSPECT = 0.65  # Pareto k-hat of a patient's nodes, above which they are spread more widely
_WIDENINGS = 3
_WIDENED = 1.3  # times as far
_PAIRS = 48  # points at which it is measured
_STAGE = 1_000


@dataclass(frozen=True)
class Adapted:
    """The proposals, the effective share of them, and points of the posterior.

    ``ceiling`` is the log weight above which a proposal is sure to be kept.
    """

    proposals: Mixture
    share: float
    points: Floats
    ceiling: float


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
    drawn: list[tuple[Mixture, Floats, Floats]] = []
    share, stalled = 0.0, 0
    for turn in range(_ROUNDS):
        report(turn, _ROUNDS)
        used = proposals.widened(_DEFENSIVE, _WIDER)
        x = used.draw(size, rng)
        found = cohort.integrate(x, _STAGE + turn, detail=turn <= _LEARNING)
        log_posterior = cohort.log_posterior(x, found)
        drawn.append((used, x, log_posterior))
        log_weight = log_posterior - used.log_density(x)
        own, effective = _weights(log_weight, x.shape[1])
        points, weight = _pooled(drawn)
        if turn <= _LEARNING:
            cohort.learn(x, found, own)
        if turn == _LEARNING - 1 and cohort.is_costly:
            _train(cohort, points, weight, rng)
        before, share = share, effective / size
        stalled = stalled + 1 if _HOPELESS < share < before + 0.03 else 0
        if turn > _LEARNING and (share > _ENOUGH or stalled >= 3):
            break
        proposals = proposals.fitted(points, weight)
        if turn >= _LEARNING - 1 and len(proposals.weight) < _MOST_COMPONENTS:
            proposals = proposals.split(points, weight, rng).fitted(points, weight)
    if cohort.is_costly:
        _train(cohort, points, weight, rng)
    chosen = points[rng.choice(len(points), size=_PAIRS, p=weight)]
    return Adapted(used, share, chosen, _ceiling(log_weight))


def _train(cohort: Cohort, x: Floats, weight: Floats, rng: np.random.Generator) -> None:
    """Fit polynomials around the posterior as it is known."""
    flat = weight ** (1 / 3)  # reaches further
    wide = rng.choice(len(x), size=_TRAINED, p=flat / flat.sum())
    near = rng.choice(len(x), size=_TESTED, p=weight)
    cohort.train(x[wide], 3 * _STAGE, x[near])


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
    """Weights that sum to one, tempered until enough are effective; the ESS before that."""
    first, power = None, 1.0
    while True:
        scaled = power * log_weight
        weight = np.exp(scaled - logsumexp(scaled))
        effective = 1 / float((weight**2).sum())
        first = effective if first is None else first
        if effective >= min(_TEMPERED * d, 0.5 * len(weight)) or power < 1e-3:
            return weight, first
        power *= 0.8


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
    most = _MOST_COSTLY if cohort.is_costly else _MOST_NODES
    for turn in range(_REFINEMENTS):
        pair = [cohort.integrate(points, 2 * _STAGE + 2 * turn + k) for k in (0, 1)]
        apart = pair[0].log_likelihood - pair[1].log_likelihood
        noise = 0.5 * np.mean(apart**2, axis=0)
        allowed = _NOISE / len(noise)
        needs = (noise > 2 * allowed) & (cohort.nodes < most)
        if noise.sum() < _NOISE or not needs.any():
            break
        # The variance falls faster than the number of nodes grows.
        factor = np.clip((noise[needs] / allowed) ** (1 / 1.5), 2, 4)
        more = cohort.nodes[needs] * 2 ** np.ceil(np.log2(factor)).astype(np.int64)
        cohort.nodes[needs] = np.minimum(more, most)
    for turn in range(_WIDENINGS):
        weights = cohort.integrate(points, 4 * _STAGE + turn, detail=True).log_weight
        khat = np.array([pareto_k(own.ravel()) for own in weights])
        bad = khat > _SUSPECT
        if not bad.any():
            break
        cohort.widen(np.flatnonzero(bad), _WIDENED)
    total = float(noise.sum())
    cohort.common = total > _TOO_MUCH
    return total
