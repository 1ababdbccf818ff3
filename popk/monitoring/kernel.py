"""Integrals over one patient's random effects, and what each observation is given the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from popk.diagnostics.pareto import smoothed_weights
from popk.individual import Modes, Patient, find_modes, n_effects, parameters_of, propose
from popk.individual.latent import expected_of
from popk.individual.partial import Partial
from popk.individual.patient import next_occasion, split_effects
from popk.individual.posterior import KHAT_LIMIT
from popk.population import PopulationDraws
from popk.statistics import NUMPY

__all__ = [
    "Drawn", "LeftOut", "Weighed", "left_out", "log_shares", "population_draws", "systematic",
    "tails", "two_sided", "weigh", "without",
]  # fmt: skip

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

EACH = 8  # nodes around the mode of every population draw
_NEAR = 0.1  # of the log density at the mode: near enough for nodes that are weighed
_SIMULATED = 500
DOUBTFUL = 0.1  # a smaller p-value is computed again without the observation, not by its weights


@dataclass(frozen=True)
class Drawn:
    """Draws of a patient's parameters.

    ``parameters`` (n, n_rows, m), with a last row for occasions to come where the model has
    variability between them; ``draw`` (n), the population draw of each.
    """

    parameters: Floats
    draw: Ints


@dataclass(frozen=True)
class Weighed:
    """Nodes around a patient's modes with importance weights, one after the other (n).

    ``log_weight`` (n), -inf where impossible; ``z`` (n, k); ``parameters`` (n, n_rows, m);
    ``draw`` (n), the population draw; ``place`` (n), the same among `PopulationDraws.by_class`.
    ``log_marginal`` (S) of each population draw.
    """

    population: PopulationDraws
    patient: Patient
    modes: Modes
    log_weight: Floats
    z: Floats
    parameters: Floats
    draw: Ints
    place: Ints
    log_marginal: Floats

    @property
    def possible(self) -> bool:
        """Whether anything explains the data."""
        return bool(np.isfinite(self.log_weight).any())

    @property
    def evidence(self) -> float:
        """Log of the marginal likelihood, averaged over the population draws."""
        return _mean(self.log_marginal)

    def drawn(self, size: int, rng: np.random.Generator, among: Ints | None = None) -> Drawn:
        """``size`` equally weighted draws, of the nodes ``among`` (all if None)."""
        own = np.arange(len(self.log_weight)) if among is None else among
        weight = np.exp(self.log_weight[own] - self.log_weight[own].max())
        chosen = own[rng.permutation(systematic(weight, size, rng))]
        return Drawn(
            _complete(self.population, self.patient, self.z[chosen], self.place[chosen],
                      self.parameters[chosen], rng),
            self.draw[chosen],
        )  # fmt: skip


def weigh(
    population: PopulationDraws,
    patient: Patient,
    rng: np.random.Generator,
    *,
    start: Floats | None = None,
    each: int = EACH,
) -> Weighed:
    """Nodes around the patient's mode under every population draw, with their weights."""
    population = population.of_class(patient.label)
    with np.errstate(over="ignore", under="ignore"):
        modes = find_modes(population, patient, start=start, tolerance=_NEAR)
        nodes = propose(population, patient, modes, each=each, rng=rng)
    size, width = nodes.log_weight.shape
    draw, column = np.divmod(np.arange(size * width), width)
    place = draw * nodes.n_classes + nodes.label[column]
    log_weight = np.where(np.isnan(nodes.log_weight), -np.inf, nodes.log_weight)
    theta = nodes.parameters.reshape(size * width, *nodes.parameters.shape[2:])
    z = nodes.z.reshape(size * width, -1)
    with np.errstate(divide="ignore"):
        marginal = logsumexp(log_weight, axis=1) - np.log(width)
    return Weighed(
        population, patient, modes, log_weight.ravel(), z, theta, draw, place, np.asarray(marginal)
    )


def population_draws(
    population: PopulationDraws, patient: Patient, rng: np.random.Generator, *, each: int = 4
) -> Drawn:
    """Draws of the patient's parameters before any observation."""
    known = population.of_class(patient.label)
    draw = np.repeat(np.arange(population.size), each)
    known = known.taken(draw)
    if known.n_classes > 1:
        labels = known.new_labels(np.full(1, -1), rng)
        known = known if labels is None else replace(known, label=labels[:, 0])
    z = rng.standard_normal((len(draw), n_effects(known, patient)))
    theta, _ = parameters_of(known, patient, expected_of(known, patient, z), z)
    return Drawn(_complete(known, patient, z, np.arange(len(draw)), theta, rng), draw)


def _complete(
    population: PopulationDraws,
    patient: Patient,
    z: Floats,
    place: Ints,
    theta: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Parameters with a row more for occasions to come, where the model has such variability."""
    if not patient.numbers:
        return theta
    own = population.by_class().taken(place)
    effects, _ = split_effects(own, patient, z)
    eta, _ = own.eta(effects)
    coming = next_occasion(own, patient, expected_of(own, patient, z), eta, rng)
    return np.concatenate([theta, coming], axis=1)


def tails(
    population: PopulationDraws, patient: Patient, prediction: Floats, draw: Ints
) -> tuple[Floats, Floats]:
    """P(Y > y) and log p(y) of each observation (n, n_observations) at predictions of it.

    y is the limit where an observation lies beyond it. Not for errors correlated in time.
    """
    error, observed = population.model.error, patient.observed
    sigma = population.taken(draw).sigma
    asked = observed._replace(upper=observed.dv, status=np.full(len(observed.dv), -1))
    with np.errstate(all="ignore"):
        above = np.exp(np.asarray(error.log_likelihood(asked, prediction, sigma, NUMPY)))
        density = np.asarray(error.log_likelihood(observed, prediction, sigma, NUMPY))
    return np.nan_to_num(above), np.where(np.isnan(density), -np.inf, density)


def two_sided(above: Floats, status: NDArray[np.int64]) -> Floats:
    """p-values from P(Y > y); beyond a limit the whole tail counts."""
    below = 1.0 - above
    lower = np.where(status == 1, below, np.minimum(above, below))
    lower = np.where(status == -1, above, lower)
    return np.asarray(np.minimum(1.0, 2.0 * lower))


class LeftOut(NamedTuple):
    """Each observation (n) given the others.

    ``above`` is P(Y > y), ``score`` the log predictive density (probability, beyond a limit),
    ``rest`` the log marginal likelihood of the others, ``expected`` (3, n) the 5 %, 50 % and 95 %
    quantiles of what was to be observed, NaN where nothing is unusual.
    """

    above: Floats
    score: Floats
    rest: Floats
    expected: Floats


def left_out(base: Weighed, partial: Partial, rng: np.random.Generator) -> LeftOut:
    """Each observation given the others.

    By the weights of the posterior given all, divided by each observation's likelihood and
    Pareto-smoothed (Vehtari et al., Stat Comput 27:1413, 2017); where these are too uneven, or the
    observation is far out, by the posterior without it.
    """
    patient = base.patient
    prediction = np.asarray(patient.solver.ensemble(base.parameters).value)
    above, density = tails(base.population, patient, prediction, base.draw)
    count = density.shape[1]
    missing = np.full(count, -np.inf)
    found = LeftOut(np.full(count, np.nan), missing, missing.copy(), np.full((3, count), np.nan))
    for k in range(count):
        usable = np.isfinite(base.log_weight) & np.isfinite(density[:, k])
        if usable.sum() >= 100:
            log_weight, khat = _smoothed(base.log_weight[usable] - density[usable, k])
            found.above[k] = np.exp(log_weight) @ above[usable, k]
            found.score[k] = logsumexp(log_weight + density[usable, k])
            found.rest[k] = base.evidence - found.score[k]
            p = two_sided(found.above[k : k + 1], patient.observed.status[k : k + 1])[0]
            if khat < KHAT_LIMIT and p >= DOUBTFUL:
                continue
        own = without(base, partial, k, rng)
        found.above[k], found.score[k], found.rest[k], found.expected[:, k] = own
    return found


def without(
    base: Weighed, partial: Partial, k: int, rng: np.random.Generator
) -> tuple[float, float, float, Floats]:
    """What `LeftOut` has of observation ``k``, by the posterior without it."""
    kept = np.arange(partial.n_observations) != k
    start = base.modes.z if np.isfinite(base.modes.z).all() else None
    other = weigh(base.population, partial.seeing(kept), rng, start=start)
    if not other.possible:
        return float("nan"), float("-inf"), float("-inf"), np.full(3, np.nan)
    prediction = np.asarray(partial.patient.solver.ensemble(other.parameters).value)
    above, density = tails(base.population, partial.patient, prediction, other.draw)
    log_weight = other.log_weight - logsumexp(other.log_weight)
    chosen = systematic(np.exp(log_weight), _SIMULATED, rng)
    error, one = base.population.model.error, partial.patient.observed.part(slice(k, k + 1))
    sigma = base.population.taken(other.draw[chosen]).sigma
    # What a laboratory reports is not below zero.
    y = np.maximum(np.asarray(error.simulate(one, prediction[chosen, k : k + 1], sigma, rng)), 0.0)
    return (
        float(np.exp(log_weight) @ above[:, k]),
        float(logsumexp(log_weight + density[:, k])),
        other.evidence,
        np.nanquantile(y[:, 0], (0.05, 0.5, 0.95)),
    )


def systematic(weight: Floats, size: int, rng: np.random.Generator) -> Ints:
    """Systematic resampling (Kitagawa, J Comput Graph Stat 5:1, 1996), in order."""
    positions = (rng.random() + np.arange(size)) / size
    places = np.searchsorted(np.cumsum(weight / weight.sum()), positions)
    return np.asarray(places.clip(0, len(weight) - 1), dtype=np.int64)


def _smoothed(log_weight: Floats) -> tuple[Floats, float]:
    if np.ptp(log_weight) < 1e-9:
        return np.full(len(log_weight), -np.log(len(log_weight))), float("-inf")
    smooth, khat = smoothed_weights(log_weight)
    return smooth, float("inf") if np.isnan(khat) else khat


def _mean(logs: Floats) -> float:
    """Logarithm of a mean, from logarithms."""
    with np.errstate(divide="ignore"):
        return float(logsumexp(logs) - np.log(len(logs)))


def log_shares(log_weights: Mapping[str, float]) -> dict[str, float]:
    """Posterior probabilities from the logs of prior times likelihood, by name."""
    values = np.array(list(log_weights.values()))
    if not np.isfinite(values).any():
        return dict.fromkeys(log_weights, float("nan"))
    return dict(zip(log_weights, np.exp(values - logsumexp(values)).tolist(), strict=True))
