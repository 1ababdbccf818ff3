"""A patient's marginal likelihood under every draw of the population parameters.

The random effects are integrated out by the patient kernel (`popk.individual`), as `Marginal` does
while it samples: conditional modes are predicted from the population parameters by lines learnt at
some of the draws, and the nodes take the shape that the conditional posterior has on average. So
many nodes are used that the log of an estimate has an SD of at most ``NOISE`` with 4,000 draws, and
less with fewer, so that its average over the draws is good to about 0.0004.

Every estimate is unbiased for its draw; the average of 1 over it, which leaving out needs, is too
large by the variance of its log, which is at most 0.0006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.comparison.mixtures import Learnt, learnt_mixture
from popk.individual import Modes, Patient, Proposals, Shape, find_modes, n_effects, propose
from popk.population import PopulationDraws
from popk.statistics import Fixed

__all__ = ["NOISE", "Integral", "integrate"]

type Floats = NDArray[np.float64]

NOISE = 0.025
"""SD of the log of an estimate of one draw's marginal likelihood, at most."""
_DRAWS = 4000  # fewer have less to average over
_LEARNT = 150  # draws, and a few for each parameter, that say where the modes are
_PER_FEATURE = 6
_TESTED = 48  # draws at which the noise is measured
_AGAIN = 6  # estimates at each of them
_FEWEST, _MOST = 16, 512  # nodes
_UNLIKE = 4.0  # times the noise that is allowed, above which nodes around the mode are given up
_FEWEST_OF_MIXTURE, _MOST_OF_MIXTURE = 256, 2048
_PILOT = 64
_NEAR_MODE = 0.5  # promised gain of log density of the last step to a mode
_AT_MODE = 0.005  # … where it is sought from afar, or must be met
_NUMBERS = 240_000  # predictions and parameters at a time: a few MB
_RIDGE = 1e-3
_FAR = 8.0  # of a normal score: that of an SD of zero is infinite
_NARROWEST = 0.25  # a shape's variance, of that of the normal one


@dataclass(frozen=True)
class Integral:
    """Log marginal likelihood of S draws.

    ``log_likelihood`` (S); ``noise``, the SD of the log of an estimate; ``nodes`` of each.
    """

    log_likelihood: Floats
    noise: float
    nodes: int


@dataclass(frozen=True)
class _Guide:
    """Where a patient's modes are, and the shape around them.

    ``lines`` (n_classes, 1 + d, k) give the mode in each class from features (S, 1 + d); from there
    it is sought until a step promises no more log density than ``near``.
    """

    lines: Floats
    near: float
    shape: Shape | None = None

    def modes(self, population: PopulationDraws, patient: Patient, features: Floats) -> Modes:
        start = np.einsum("sd,cdk->sck", features, self.lines).reshape(-1, self.lines.shape[2])
        return find_modes(population, patient, start=start, tolerance=self.near)


def integrate(population: PopulationDraws, patient: Patient, rng: np.random.Generator) -> Integral:
    """The marginal likelihood of a patient's data under every draw.

    Parameters
    ----------
    population
        S draws of the population parameters (and of the effects of groups that are known).
    patient
        The patient; without observations the likelihood is 1.
    rng
        Random numbers of the patient's own.
    """
    if not len(patient.observed.dv):
        return Integral(np.zeros(population.size), 0.0, 0)
    # Far from the data log densities overflow, to the -inf that they are next to.
    with np.errstate(over="ignore"):
        return _integrated(population, patient, rng)


def _integrated(
    population: PopulationDraws, patient: Patient, rng: np.random.Generator
) -> Integral:
    if n_effects(population, patient) == 0 and population.n_classes == 1:
        modes = find_modes(population, patient)
        exact = propose(population, patient, modes, each=1, rng=rng)
        return Integral(exact.log_marginal, 0.0, 1)
    # A chain that stays has the same parameters again.
    population, again = _distinct(population)
    features = _features(population, patient)
    rows = _spread(population.size, _TESTED)
    trial = _Trial(population.taken(rows), patient, features[rows], rng)
    allowed = NOISE * float(np.sqrt(min(1.0, population.size / _DRAWS)))
    route = _Route(_learnt(population, patient, features, _NEAR_MODE, rng))
    nodes, noise = trial.enough(route, _FEWEST, _MOST, allowed)
    if noise > allowed:
        closer = _Route(_learnt(population, patient, features, _AT_MODE, rng))
        tried = trial.enough(closer, _FEWEST, _MOST, allowed)
        if tried[1] < noise:
            route, (nodes, noise) = closer, tried
    if noise > _UNLIKE * allowed and population.n_classes == 1:
        other = trial.learnt(route)
        tried = trial.enough(other, _FEWEST_OF_MIXTURE, _MOST_OF_MIXTURE, _UNLIKE * allowed)
        if tried[1] < noise:
            route, (nodes, noise) = other, tried
    found = np.empty(population.size)
    size = _at_a_time(population, patient, nodes)
    for first in range(0, population.size, size):
        rows = np.arange(first, min(first + size, population.size))
        draws = population.taken(rows)
        modes = route.guide.modes(draws, patient, features[rows])
        found[rows] = route.log_marginal(draws, patient, modes, nodes, rng)
    return Integral(found[again], noise, nodes)


@dataclass(frozen=True)
class _Route:
    """Where the nodes are: around each draw's mode, and with a mixture ``learnt``, also from it."""

    guide: _Guide
    learnt: Learnt | None = None

    def log_marginal(
        self,
        population: PopulationDraws,
        patient: Patient,
        modes: Modes,
        nodes: int,
        rng: np.random.Generator,
    ) -> Floats:
        """Log of an unbiased estimate of each draw's marginal likelihood (S)."""
        if self.learnt is not None:
            return self.learnt.log_marginal(population, patient, modes, nodes, rng)
        shape = self.guide.shape
        return propose(population, patient, modes, each=nodes, rng=rng, shape=shape).log_marginal


@dataclass(frozen=True)
class _Trial:
    """Some of the draws, at which it is seen how many nodes are needed."""

    population: PopulationDraws
    patient: Patient
    features: Floats
    rng: np.random.Generator

    def modes(self, route: _Route) -> Modes:
        return route.guide.modes(self.population, self.patient, self.features)

    def learnt(self, route: _Route) -> _Route:
        """The route with a mixture as well."""
        found = learnt_mixture(self.population, self.patient, self.modes(route), self.rng)
        return _Route(route.guide, found)

    def enough(self, route: _Route, fewest: int, most: int, allowed: float) -> tuple[int, float]:
        """The nodes that keep the noise down, and the SD left of the log of an estimate."""
        modes, nodes = self.modes(route), fewest
        while True:
            tries = np.stack(
                [
                    route.log_marginal(self.population, self.patient, modes, nodes, self.rng)
                    for _ in range(_AGAIN)
                ]
            )
            possible = np.isfinite(tries).all(axis=0)
            noise = np.inf
            if possible.any():
                noise = float(np.sqrt(tries[:, possible].var(axis=0, ddof=1).mean()))
            if noise <= allowed or nodes >= most:
                return nodes, noise
            nodes *= 2


def _distinct(population: PopulationDraws) -> tuple[PopulationDraws, NDArray[np.int64]]:
    """The draws without repetition, and the place of each draw among them."""
    columns = [value[:, None] for value in population.values.values()]
    columns += [own.eta.reshape(population.size, -1) for own in population.levels.values()]
    _, first, place = np.unique(
        np.concatenate(columns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    # In the order in which they were drawn, so that the first ones are no corner of the posterior.
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return population.taken(first[order]), rank[place.ravel()]


def _spread(size: int, most: int) -> NDArray[np.int64]:
    """At most so many indices below ``size``, evenly spread."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(np.int64))


def _features(population: PopulationDraws, patient: Patient) -> Floats:
    """What a mode is predicted from (S, 1 + d): 1, and standardised parameters and effects."""
    priors = {p.name: p.prior for p in population.model.parameters}
    columns = [
        prior.score(population.values[name])
        for name, prior in priors.items()
        if not isinstance(prior, Fixed)
    ]
    for name, own in population.levels.items():
        place = own.places(patient.covariates[name][:1])[0]
        if place >= 0:
            columns += list(own.eta[:, place].T)
    values = np.stack(columns, axis=1) if columns else np.zeros((population.size, 0))
    values = np.clip(np.nan_to_num(values, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)
    spread = values.std(axis=0)
    moving = spread > 1e-9
    values = (values[:, moving] - values[:, moving].mean(axis=0)) / spread[moving]
    return np.concatenate([np.ones((population.size, 1)), values], axis=1)


def _learnt(
    population: PopulationDraws,
    patient: Patient,
    features: Floats,
    near: float,
    rng: np.random.Generator,
) -> _Guide:
    """Lines and shape, from some of the draws."""
    rows = _spread(population.size, _LEARNT + _PER_FEATURE * features.shape[1])
    draws, design = population.taken(rows), features[rows]
    modes = find_modes(draws, patient, tolerance=_AT_MODE)
    z = modes.z.reshape(len(rows), population.n_classes, -1)
    gram = design.T @ design
    gram += _RIDGE * len(rows) * np.diag(np.arange(len(gram)) > 0)
    lines = np.linalg.solve(gram, np.einsum("sd,sck->cdk", design, z))
    guide = _Guide(lines, near)
    if population.n_classes > 1:
        return guide
    modes = guide.modes(draws, patient, design)
    pilot = propose(draws, patient, modes, each=_PILOT, rng=rng)
    return _Guide(lines, near, _shape(modes, pilot))


def _shape(modes: Modes, pilot: Proposals) -> Shape | None:
    """The shape that conditional posteriors have on average; None where none can be had."""
    with np.errstate(invalid="ignore"):
        log_share = pilot.log_weight - pilot.log_weight.max(axis=1, keepdims=True)
    share = np.exp(np.where(np.isfinite(log_share), log_share, -np.inf))
    total = share.sum(axis=1)
    possible = total > 0
    if not possible.any():
        return None
    share = share[possible] / total[possible, None]
    factor = np.linalg.cholesky(modes.precision[possible])
    y = (pilot.z[possible] - modes.z[possible, None]) @ factor
    centre = np.einsum("sj,sjk->sk", share, y).mean(axis=0)
    second = np.einsum("sj,sjk,sjl->kl", share, y, y) / len(share)
    values, vectors = np.linalg.eigh(second - np.outer(centre, centre))
    widened = (vectors * np.maximum(values, _NARROWEST)) @ vectors.T
    return Shape(centre, np.linalg.cholesky(widened))


def _at_a_time(population: PopulationDraws, patient: Patient, nodes: int) -> int:
    """Draws integrated at a time."""
    parameters = len(population.model.structure.names) * len(patient.occasion)
    numbers = nodes * population.n_classes * (len(patient.observed.dv) + parameters)
    return max(8, _NUMBERS // numbers)
