"""One patient's latent covariates, and effects of a group (site) that nothing is known of.

More standardised effects, that move what is expected of the patient.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from popk.levels import GroupEffects
from popk.population import PopulationDraws

if TYPE_CHECKING:
    from popk.individual.patient import Patient

__all__ = ["by_latent", "expected_of", "latent_covariates"]

type Floats = NDArray[np.float64]

_DIFFERENCE = 1e-4  # in z: the error of a central difference is of the order of its square


def latent_covariates(population: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    """Values (S, ..., n_missing) of what is missing, for standardised effects z (S, ..., k)."""
    first = z.shape[-1] - patient.n_last
    return population.latent(patient.missing, z[..., first : first + len(patient.missing)])


def _with_groups(population: PopulationDraws, patient: Patient, z: Floats) -> PopulationDraws:
    """The population with the effects of the patient's groups that it does not know, from z."""
    levels = dict(population.levels)
    first = z.shape[-1] - patient.n_last + len(patient.missing)
    for level in patient.new_levels:
        end = first + len(level.effects)
        eta = population.group_effects(level, z[..., first:end])
        group = patient.covariates[level.covariate][:1]
        levels[level.covariate] = GroupEffects(group, eta[..., None, :])
        first = end
    return replace(population, levels=levels)


def expected_of(population: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    """A patient's parameters on their scales without random effects (S, ..., n_rows, m).

    Of the effects z (S, ..., k) it depends on the last ones, those of latent covariates and of
    groups that are not known; without such, the result is (S, n_rows, m).
    """
    covariates = dict(patient.covariates)
    if patient.missing:
        latent = latent_covariates(population, patient, z)
        covariates |= {n: latent[..., k, None] for k, n in enumerate(patient.missing)}
    if patient.new_levels:
        population = _with_groups(population, patient, z)
    expected = population.expected(covariates)
    shape = (*expected.shape[:-2], len(patient.occasion), expected.shape[-1])
    return np.broadcast_to(expected, shape)


def by_latent(population: PopulationDraws, patient: Patient, by_phi: Floats, z: Floats) -> Floats:
    """Derivatives of predictions by the effects of latent covariates, and of unknown groups.

    They are (S, n_observations, n_last). ``by_phi`` (S, n_observations, n_rows, m) are those by
    the parameters of each row on their scales. What the covariate effects make of a covariate is
    smooth and costs little: central differences (exact for a group's effects, which only add).
    """
    parts = []
    for k in range(z.shape[1] - patient.n_last, z.shape[1]):
        step = np.zeros(z.shape[1])
        step[k] = _DIFFERENCE
        rise = expected_of(population, patient, z + step) - expected_of(
            population, patient, z - step
        )
        parts.append(np.einsum("sorm,srm->so", by_phi, rise / (2 * _DIFFERENCE)))
    return np.stack(parts, axis=-1)
