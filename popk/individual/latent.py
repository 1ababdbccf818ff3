"""One patient's latent covariates: more standardised effects, that move what is expected of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from popk.population import PopulationDraws

if TYPE_CHECKING:
    from popk.individual.kernel import Patient

__all__ = ["by_latent", "expected_of", "latent_covariates"]

type Floats = NDArray[np.float64]

_DIFFERENCE = 1e-4  # in z: the error of a central difference is of the order of its square


def latent_covariates(population: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    """Values (S, ..., n_missing) of what is missing, for standardised effects z (S, ..., k)."""
    return population.latent(patient.missing, z[..., z.shape[-1] - len(patient.missing) :])


def expected_of(population: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    """A patient's parameters on their scales without random effects (S, ..., n_rows, m).

    Of the effects z (S, ..., k) it depends on those of the latent covariates; without such, the
    result is (S, n_rows, m).
    """
    covariates = dict(patient.covariates)
    if patient.missing:
        latent = latent_covariates(population, patient, z)
        covariates |= {n: latent[..., k, None] for k, n in enumerate(patient.missing)}
    expected = population.expected(covariates)
    shape = (*expected.shape[:-2], len(patient.occasion), expected.shape[-1])
    return np.broadcast_to(expected, shape)


def by_latent(population: PopulationDraws, patient: Patient, by_phi: Floats, z: Floats) -> Floats:
    """Derivatives of predictions by the effects of latent covariates.

    They are (S, n_observations, n_missing). ``by_phi`` (S, n_observations, n_rows, m) are those by
    the parameters of each row on their scales. What the covariate effects make of a covariate is
    smooth and costs little: central differences.
    """
    parts = []
    for k in range(z.shape[1] - len(patient.missing), z.shape[1]):
        step = np.zeros(z.shape[1])
        step[k] = _DIFFERENCE
        rise = expected_of(population, patient, z + step) - expected_of(
            population, patient, z - step
        )
        parts.append(np.einsum("sorm,srm->so", by_phi, rise / (2 * _DIFFERENCE)))
    return np.stack(parts, axis=-1)
