"""Conditional modes of one patient's random effects, and the curvature there.

For each of S draws of the population parameters, the log density of the standardised effects z
(those of the patient's occasions included) given its data is maximised by damped Gauss-Newton steps
with the structure's exact gradients, all S at once.

Where the model has sub-populations, the modes are those of each class in turn.

Effects that subjects of a site share are draws of the fit, as population parameters are: everything
is conditional on them. Of a site that the fit does not know they are standardised effects of the
patient, and integrated over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from popk.individual.latent import by_latent, expected_of
from popk.individual.patient import Patient, likelihood, n_effects, parameters_of
from popk.individual.precisions import solved
from popk.individual.usual import Mixed, Usual
from popk.population import PopulationDraws
from popk.statistics import innovations, prediction_slopes

__all__ = [
    "Modes",
    "find_modes",
]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]

_TOLERANCE = 1e-6  # of the log density
_STEPS = 40
_SURE = 0.1  # part of the tolerance: so small a step is taken as it is
_LONGEST = 3.0  # step in z, whose scale is 1: the approximation says little beyond


@dataclass(frozen=True)
class Modes:
    """Conditional modes of a patient's z under each population draw.

    With sub-populations under each of `PopulationDraws.by_class`: S is draws times classes then.
    ``z`` (S, k), those between subjects first, then those of each occasion, then the latent
    covariates, then those of groups that are not known; ``precision`` (S, k, k), the Gauss-Newton
    curvature there, and ``quantified`` (S, k, k), the same without observations beyond their limit;
    ``expected`` (S, n_rows, m), the parameters on their scales without random effects (latent
    covariates and groups at the mode).
    """

    z: Floats
    precision: Floats
    quantified: Floats
    expected: Floats

    def taken(self, rows: Ints) -> Modes:
        """Those of some draws."""
        parts = (self.z, self.precision, self.quantified, self.expected)
        return Modes(*(part[rows] for part in parts))


def find_modes(
    population: PopulationDraws,
    patient: Patient,
    *,
    start: Floats | None = None,
    steps: int = _STEPS,
    tolerance: float = _TOLERANCE,
) -> Modes:
    """Conditional mode of z under every population draw, by damped Gauss-Newton steps.

    Where the model has sub-populations and the class is not known, under every draw in every class
    (`PopulationDraws.by_class`); S below counts these.

    Parameters
    ----------
    population, patient
        Whose modes.
    start
        Where to begin (S, k); zero if None.
    steps
        At most so many steps.
    tolerance
        Stop where a step promises no more log density than this, and loses no more: a tenth is near
        enough for what `propose` needs. That step is still taken, with the precision of where it
        began.
    """
    population = population.by_class()
    size, k = population.size, n_effects(population, patient)
    z = np.zeros((size, k)) if start is None else start.copy()
    expected = expected_of(population, patient, z)
    objective = _Objective(population, patient, expected)
    state = objective.curved(z, np.arange(size))
    value, gradient, precision = state[:3]
    active = np.arange(size) if k else np.arange(0)
    damping = np.ones(size)
    for _ in range(steps):
        if not len(active):
            break
        step = _bounded(solved(precision[active], gradient[active]))
        promised = 0.5 * (step * gradient[active]).sum(axis=1)
        last = promised <= tolerance
        # Where the curvature misleads, a step that promised little may lose much.
        doubtful = np.flatnonzero(last & (promised > _SURE * tolerance))
        if len(doubtful):
            rows = active[doubtful]
            end = z[rows] + damping[rows, None] * step[doubtful]
            reached = objective.value(end, rows)
            last[doubtful] = reached >= value[rows] - tolerance
        z[active[last]] += damping[active[last], None] * step[last]
        active, step = active[~last], step[~last]
        if not len(active):
            break
        trial = z[active] + damping[active, None] * step
        new = objective.curved(trial, active)
        better = (new[0] >= value[active]) & np.isfinite(new[0])
        taken = active[better]
        gain = np.full(len(active), np.inf)
        gain[better] = new[0][better] - value[taken]
        z[taken] = trial[better]
        for kept, part in zip(state, new, strict=True):
            kept[taken] = part[better]
        damping[taken] = np.minimum(2 * damping[taken], 1.0)
        damping[active[~better]] *= 0.25
        active = active[(gain > tolerance) & (damping[active] > 1e-6)]
    expected = expected_of(population, patient, z) if patient.n_last else expected
    return Modes(z, precision, state[3], expected)


def _bounded(step: Floats) -> Floats:
    """Steps (S, k) no longer than the approximation holds, zero where undefined."""
    step = np.nan_to_num(step)
    return np.asarray(
        step * _LONGEST / np.maximum(np.abs(step).max(axis=1, keepdims=True), _LONGEST)
    )


@dataclass(frozen=True)
class _Objective:
    """Log density of z under each of S draws, up to a constant."""

    population: PopulationDraws
    patient: Patient
    expected: Floats

    @cached_property
    def usual(self) -> Usual | None:
        """The arithmetic in one pass, where there is such."""
        return self.patient.usual_for(self.population)

    @cached_property
    def mixed(self) -> Mixed:
        """What it needs of the draws."""
        assert self.usual is not None
        return self.usual.mixed(self.population)

    def value(self, z: Floats, rows: Ints) -> Floats:
        """At z (R, k) of some draws (R)."""
        if self.usual is not None:
            theta = self.usual.parameters(self.mixed, self.expected, z[:, None], rows)[:, 0]
            prediction = self.patient.solver.ensemble(theta).value[:, None]
            found = self.usual.log_likelihood(self.mixed, self.patient.observed, prediction, rows)
            return np.asarray(found[:, 0] - 0.5 * (z**2).sum(axis=1))
        chosen = self.population.taken(rows)
        theta, _ = parameters_of(chosen, self.patient, self.expected[rows], z)
        prediction = self.patient.solver.ensemble(theta).value
        found = likelihood(self.population, self.patient, prediction, chosen.sigma)
        return np.asarray(found - 0.5 * (z**2).sum(axis=1))

    def curved(self, z: Floats, rows: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """Value, gradient, Gauss-Newton precision; that of the quantified observations alone."""
        if self.usual is None:
            return _density(self.population.taken(rows), self.patient, self.expected[rows], z)
        theta = self.usual.parameters(self.mixed, self.expected, z[:, None], rows)[:, 0]
        prediction, by_row = self.patient.solver.ensemble(theta, with_gradient=True)
        value, gradient, precision = self.usual.density(
            self.mixed, self.patient.observed, prediction, by_row, theta, z, rows
        )
        return value, gradient, precision, precision


def _density(
    population: PopulationDraws, patient: Patient, expected: Floats, z: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """`_Objective.curved` for every model."""
    model = population.model
    sigma = population.sigma
    theta, bent = parameters_of(population, patient, expected, z)
    prediction, by_row = patient.solver.ensemble(theta, with_gradient=True)
    value = likelihood(population, patient, prediction, sigma) - 0.5 * (z**2).sum(axis=1)
    slope, curvature = prediction_slopes(model.error, patient.observed, prediction, sigma)
    by_theta = by_row.reshape(*prediction.shape, *theta.shape[1:])
    by_phi = by_theta * population.slopes(theta)[:, None]  # (S, n_observations, n_rows, m)
    by_z = _by_effects(population, patient, by_phi, bent)
    if patient.n_last:
        by_z = np.concatenate([by_z, by_latent(population, patient, by_phi, z)], axis=-1)
    by_z = np.where(np.isfinite(by_z), by_z, 0.0)
    gradient = np.einsum("so,sok->sk", slope, by_z) - z
    new = innovations(model.error, patient.observed, prediction, sigma, by_z)
    precision = np.einsum("so,sok,sol->skl", curvature, new, new) + np.eye(z.shape[1])
    beyond = patient.observed.status != 0
    if not beyond.any():
        return value, gradient, precision, precision
    curvature = np.where(beyond, 0.0, curvature)
    quantified = np.einsum("so,sok,sol->skl", curvature, new, new) + np.eye(z.shape[1])
    return value, gradient, precision, quantified


def _by_effects(
    population: PopulationDraws, patient: Patient, by_phi: Floats, bent: Floats
) -> Floats:
    """Derivatives by standardised effects (S, n_observations, k).

    From those by the parameters of each row on their scales (S, n_observations, n_rows, m);
    ``bent`` are the slopes of the effects between subjects (S, n_effects).
    """
    whole = by_phi.sum(axis=2)
    by_eta = [whole[..., positions].sum(axis=-1) for positions in population.effect_positions]
    parts = []
    if by_eta:
        parts.append((np.stack(by_eta, axis=-1) * bent[:, None]) @ population.factor)
    for occasion in range(len(patient.numbers)):
        own = by_phi[:, :, patient.occasion == occasion].sum(axis=2)
        by_kappa = own[..., population.occasion_positions] * population.omega_iov[:, None]
        parts.append(by_kappa @ population.factor_iov)
    return np.concatenate(parts, axis=-1) if parts else np.zeros((*whole.shape[:2], 0))
