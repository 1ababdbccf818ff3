"""One patient: conditional mode, curvature, marginal likelihood and draws of the random effects.

For each of S draws of the population parameters, the log density of the standardised effects z
(eta = omega z) given the patient's data is maximised by damped Gauss-Newton steps with the
structure's exact gradients, all S at once. A multivariate t around each mode then proposes, and
importance weights correct: what comes out is the joint posterior of population parameters and
random effects, and an unbiased estimate of each draw's marginal likelihood p(y | theta).

An observation below its limit cuts the posterior off on one side and says nothing on the other, so
its curvature at the mode is too narrow for that other side. For a patient with such observations
half of the proposals come from a second t, as wide as the quantified ones alone allow (a defensive
mixture: Hesterberg, Technometrics 37:185, 1995).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from popk.dataset import Dataset
from popk.design import Observations, design_of, observations
from popk.population import PopulationDraws
from popk.statistics import NUMPY, prediction_slopes
from popk.structure import Solver

__all__ = ["Modes", "Patient", "Proposals", "find_modes", "patients_of", "propose"]

type Floats = NDArray[np.float64]

_FREEDOM = 5.0  # degrees of freedom of the proposals: heavier tails than the posterior
_TOLERANCE = 1e-6  # of the log density
_STEPS = 40
_LONGEST = 3.0  # step in z, whose scale is 1: the approximation says little beyond
_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Patient:
    """One patient's data in the form that the kernel reads.

    Parameters
    ----------
    subject
        ID.
    solver
        The structure, ready to be solved for the patient's doses and observation times.
    observed
        Observations; may be empty.
    covariates
        Value of each covariate that the model uses, (n_rows): more than one row where they change.
    """

    subject: str
    solver: Solver
    observed: Observations
    covariates: Mapping[str, Floats]


@dataclass(frozen=True)
class Modes:
    """Conditional modes of a patient's z under each population draw.

    ``z`` (S, k); ``precision`` (S, k, k), the Gauss-Newton curvature there, and ``quantified``
    (S, k, k), the same without observations below their limit; ``expected`` (S, n_rows, m), the
    log parameters without random effects.
    """

    z: Floats
    precision: Floats
    quantified: Floats
    expected: Floats


@dataclass(frozen=True)
class Proposals:
    """J proposals for each population draw, with their importance weights.

    ``z`` (S, J, k); ``parameters`` (S, J, n_rows, m); ``log_weight`` (S, J), the log of likelihood
    times prior over proposal density.
    """

    z: Floats
    parameters: Floats
    log_weight: Floats

    @property
    def log_marginal(self) -> Floats:
        """Log of the estimated marginal likelihood p(y | theta) of each draw (S)."""
        return np.asarray(logsumexp(self.log_weight, axis=1) - np.log(self.log_weight.shape[1]))


def patients_of(population: PopulationDraws, dataset: Dataset) -> list[Patient]:
    """The patients of a dataset (whose fit to the model has been checked)."""
    model = population.model
    design = design_of(model, dataset)
    observed = observations(dataset)
    found, start = [], 0
    for index, subject in enumerate(dataset.subjects):
        own = design.events.subject(index)
        end = start + own.n_outputs
        part = Observations._make(column[start:end] for column in observed)
        rows = slice(*design.rows.first[index : index + 2])
        values = {name: value[rows] for name, value in design.covariates.items()}
        found.append(Patient(subject, Solver(model.structure, own), part, values))
        start = end
    return found


def find_modes(population: PopulationDraws, patient: Patient) -> Modes:
    """Conditional mode of z under every population draw, by damped Gauss-Newton steps."""
    expected = population.expected(patient.covariates)
    size, k = population.omega.shape
    z = np.zeros((size, k))
    state = _density(population, patient, expected, z, np.arange(size))
    value, gradient, precision = state[:3]
    active = np.arange(size) if k else np.arange(0)
    damping = np.ones(size)
    for _ in range(_STEPS):
        if not len(active):
            break
        step = np.linalg.solve(precision[active], gradient[active][..., None])[..., 0]
        step = np.nan_to_num(step)
        length = np.abs(step).max(axis=1, keepdims=True)
        step *= _LONGEST / np.maximum(length, _LONGEST)
        trial = z[active] + damping[active, None] * step
        new = _density(population, patient, expected, trial, active)
        better = (new[0] >= value[active]) & np.isfinite(new[0])
        taken = active[better]
        gain = np.full(len(active), np.inf)
        gain[better] = new[0][better] - value[taken]
        z[taken] = trial[better]
        for kept, part in zip(state, new, strict=True):
            kept[taken] = part[better]
        damping[taken] = np.minimum(2 * damping[taken], 1.0)
        damping[active[~better]] *= 0.25
        active = active[(gain > _TOLERANCE) & (damping[active] > 1e-6)]
    return Modes(z, precision, state[3], expected)


def propose(
    population: PopulationDraws,
    patient: Patient,
    modes: Modes,
    *,
    each: int,
    rng: np.random.Generator,
) -> Proposals:
    """``each`` proposals around every mode, with importance weights.

    Parameters
    ----------
    population, patient, modes
        From `find_modes`.
    each
        Proposals per population draw, J.
    rng
        Random numbers.
    """
    size, k = modes.z.shape
    if k == 0:
        each = 1
    normal = rng.standard_normal((size, each, k))
    scale = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (size, each, 1)))
    factors = [np.linalg.cholesky(modes.precision)]
    if patient.observed.below.any():
        factors.append(np.linalg.cholesky(modes.quantified))
    # x = mode + L^-T t has precision L L^T.
    t = normal * scale
    shift = np.empty_like(t)
    for c, factor in enumerate(factors):
        mine = np.swapaxes(t[:, c :: len(factors)], 1, 2)
        solved = np.linalg.solve(np.swapaxes(factor, 1, 2), mine)
        shift[:, c :: len(factors)] = np.swapaxes(solved, 1, 2)
    z = modes.z[:, None, :] + shift
    parts = np.stack([_log_t(shift, factor) for factor in factors])
    share = [len(range(c, each, len(factors))) / each for c in range(len(factors))]
    log_proposal = logsumexp(parts, axis=0, b=np.reshape(share, (-1, 1, 1)))
    eta = population.omega[:, None, :] * z
    theta = population.parameters(modes.expected[:, None], eta[:, :, None])
    prediction = patient.solver.ensemble(theta.reshape(size * each, *theta.shape[2:])).value
    sigma = {name: np.repeat(value, each, axis=0) for name, value in population.sigma.items()}
    likelihood = _likelihood(population, patient, prediction, sigma).reshape(size, each)
    prior = -0.5 * (z**2).sum(axis=-1) - 0.5 * k * _LOG_TWO_PI
    return Proposals(z, theta, likelihood + prior - (log_proposal if k else 0.0))


def _log_t(shift: Floats, factor: Floats) -> Floats:
    """Log density (S, J) of shifts (S, J, k) from the centre of a t with precision L L^T."""
    k = shift.shape[-1]
    distance = ((shift @ factor) ** 2).sum(axis=-1)
    log_determinant = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    constant = gammaln((_FREEDOM + k) / 2) - gammaln(_FREEDOM / 2)
    constant -= 0.5 * k * np.log(_FREEDOM * np.pi)
    tail = 0.5 * (_FREEDOM + k) * np.log1p(distance / _FREEDOM)
    return np.asarray(constant + log_determinant[:, None] - tail)


def _likelihood(
    population: PopulationDraws, patient: Patient, prediction: Floats, sigma: Mapping[str, Floats]
) -> Floats:
    """Log likelihood of the patient's data for rows of predictions; -inf where undefined."""
    dv, lloq, below = patient.observed
    with np.errstate(all="ignore"):
        each = population.model.error.log_likelihood(dv, lloq, below, prediction, sigma, NUMPY)
    total = np.asarray(each).sum(axis=1)
    return np.where(np.isfinite(total), total, -np.inf)


def _density(
    population: PopulationDraws,
    patient: Patient,
    expected: Floats,
    z: Floats,
    rows: NDArray[np.int64],
) -> tuple[Floats, Floats, Floats, Floats]:
    """Log density of z up to a constant, gradient, Gauss-Newton precision; that of the quantified.

    The last is the precision without the observations below their limit.
    """
    model = population.model
    omega = population.omega[rows]
    sigma = {name: value[rows] for name, value in population.sigma.items()}
    chosen = population.taken(rows)
    theta = chosen.parameters(expected[rows], (omega * z)[:, None])
    prediction, by_row = patient.solver.ensemble(theta, with_gradient=True)
    value = _likelihood(population, patient, prediction, sigma) - 0.5 * (z**2).sum(axis=1)
    slope, curvature = prediction_slopes(model.error, patient.observed, prediction, sigma)
    positions = population.effect_positions
    # d prediction / d z = sum over rows of d prediction / d theta * theta * omega
    by_theta = by_row.reshape(*prediction.shape, *theta.shape[1:])[..., positions]
    by_z = (by_theta * theta[:, None, :, positions]).sum(axis=2) * omega[:, None, :]
    by_z = np.where(np.isfinite(by_z), by_z, 0.0)
    gradient = np.einsum("so,sok->sk", slope, by_z) - z
    precision = np.einsum("so,sok,sol->skl", curvature, by_z, by_z) + np.eye(z.shape[1])
    below = patient.observed.below
    if not below.any():
        return value, gradient, precision, precision
    curvature = np.where(below, 0.0, curvature)
    quantified = np.einsum("so,sok,sol->skl", curvature, by_z, by_z) + np.eye(z.shape[1])
    return value, gradient, precision, quantified
