"""A patient whose sub-population is not known: proposals of every class, weighed by shares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from popk.individual.latent import expected_of
from popk.population import PopulationDraws

if TYPE_CHECKING:
    from popk.individual.modes import Modes
    from popk.individual.patient import Patient
    from popk.individual.proposals import Proposals

__all__ = ["over_classes"]

type Floats = NDArray[np.float64]


def over_classes(
    population: PopulationDraws, patient: Patient, modes: Modes, own: Proposals
) -> Proposals:
    """Proposals of every draw from those of its classes, each with its share.

    Parameters
    ----------
    population, patient
        S population draws, the class not known, and whose proposals.
    modes, own
        Modes and proposals under `PopulationDraws.by_class`.
    """
    n = population.n_classes
    # A class is proposed as often as any other: its density is 1 / n.
    log_density = own.log_density - np.log(n)
    log_weight = own.log_weight + np.log(n) + population.log_shares.reshape(-1, 1)
    log_weight = np.where(_undefined(population, patient, modes, own.z), -np.inf, log_weight)
    z, log_density, parameters, log_weight = (
        part.reshape(population.size, n * own.z.shape[1], *part.shape[2:])
        for part in (own.z, log_density, own.parameters, log_weight)
    )
    return replace(
        own, z=z, log_density=log_density, parameters=parameters, log_weight=log_weight, n_classes=n
    )


def _undefined(
    population: PopulationDraws, patient: Patient, modes: Modes, z: Floats
) -> NDArray[np.bool_]:
    """Where some class is impossible, (S * n_classes, J) or (S * n_classes, 1).

    What some class cannot have is impossible, as in the joint model. With latent covariates that
    may depend on the effects z (S * n_classes, J, k).
    """
    n, known = population.n_classes, population.by_class()
    if not patient.missing:
        nowhere = np.isnan(modes.expected).any(axis=(1, 2)).reshape(-1, n).any(axis=1)
        return np.repeat(nowhere, n)[:, None]
    found = np.zeros(z.shape[:2], dtype=bool)
    for k in range(n):
        expected = expected_of(replace(known, label=np.full(known.size, k)), patient, z)
        found |= np.isnan(expected).any(axis=(2, 3))
    return found
