"""The slope of a patient's log joint density by the coordinates of the population parameters.

Where the patient's parameters and the residual error move with the coordinates is arithmetic, done
by central differences; what the predictions make of it are the engine's own derivatives, so the
equations are solved once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from popk.individual import Patient, expected_of, parameters_of
from popk.inference.marginal.coordinates import Coordinates
from popk.population import PopulationDraws
from popk.statistics import NUMPY, prediction_slopes

__all__ = ["Neighbourhood", "joint_slopes"]

type Floats = NDArray[np.float64]

_STEP = 1e-4  # in a coordinate, whose posterior is far wider


@dataclass(frozen=True)
class Neighbourhood:
    """Points (S, d), the population there and a small step away in each coordinate."""

    shape: tuple[int, int]
    here: PopulationDraws
    moved: PopulationDraws

    @classmethod
    def of(cls, coordinates: Coordinates, x: Floats) -> Neighbourhood:
        """Of points (S, d)."""
        d = x.shape[1]
        moves = np.stack([np.eye(d), -np.eye(d)], axis=1).reshape(-1, d) * _STEP
        moved = coordinates.draws((x[:, None] + moves).reshape(-1, d))
        return cls((len(x), d), coordinates.draws(x), moved)


def joint_slopes(around: Neighbourhood, patient: Patient, z: Floats, theta: Floats) -> Floats:
    """Derivatives (S, J, d) of log p(y, z | x) by the coordinates, the effects z held.

    Parameters
    ----------
    around, patient
        Where, and whose.
    z
        Standardised effects (S, J, k).
    theta
        The patient's parameters there (S, J, n_rows, m).
    """
    (size, d), each = around.shape, z.shape[1]
    moved, error = around.moved, around.here.model.error
    flat = theta.reshape(size * each, *theta.shape[2:])
    prediction, by_row = patient.solver.ensemble(flat, with_gradient=True)
    here = {name: np.repeat(value, each, axis=0) for name, value in around.here.sigma.items()}
    slope, _ = prediction_slopes(error, patient.observed, prediction, here)
    by_theta = by_row.reshape(*prediction.shape, *flat.shape[1:])
    pull = np.einsum("no,norm->nrm", slope, np.where(np.isfinite(by_theta), by_theta, 0.0))
    pull = pull.reshape(theta.shape)
    ends = _parameters(moved, patient, np.repeat(z, 2 * d, axis=0)).reshape(
        size, d, 2, *theta.shape[1:]
    )
    found = np.einsum("sjrm,sdjrm->sjd", pull, (ends[:, :, 0] - ends[:, :, 1]) / (2 * _STEP))
    sigma = {
        name: np.repeat(value, each, axis=0).reshape(size, d, 2, each, *value.shape[1:])
        for name, value in moved.sigma.items()
    }
    shape = (size, d, each, *prediction.shape[1:])
    held = np.broadcast_to(prediction.reshape(size, 1, each, -1), shape)
    held = held.reshape(size * d * each, prediction.shape[1])  # which may have no columns
    densities = []
    for end in (0, 1):
        own = {
            name: value[:, :, end].reshape(-1, *value.shape[4:]) for name, value in sigma.items()
        }
        with np.errstate(all="ignore"):
            each_row = error.log_likelihood(patient.observed, held, own, NUMPY)
        densities.append(np.asarray(each_row).sum(axis=1).reshape(size, d, each))
    with np.errstate(invalid="ignore"):
        by_sigma = (densities[0] - densities[1]) / (2 * _STEP)
    found = found + np.swapaxes(by_sigma, 1, 2)
    return np.where(np.isfinite(found), found, 0.0)


def _parameters(draws: PopulationDraws, patient: Patient, z: Floats) -> Floats:
    none = np.zeros((draws.size, z.shape[-1]))
    expected = expected_of(draws, patient, none)
    return parameters_of(draws, patient, expected[:, None], z)[0]
