"""A patient's objective function as NONMEM has it, for comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.individual.modes import Modes
from popk.individual.patient import Patient, parameters_of
from popk.model import PopModel
from popk.population import PopulationDraws
from popk.statistics import NUMPY
from popk.statistics.error import Measured

__all__ = ["left_out", "log_determinant"]

type Floats = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2 * np.pi))
_STEP = 1e-4  # in z, whose own SD is 1


def left_out(model: PopModel, patient: Patient) -> float:
    """What minus twice the log likelihood has, and NONMEM's objective has not.

    log 2 pi of each quantified observation; and where the error is that of logarithms, twice
    log DV: NONMEM is given logarithms, whose density it is.
    """
    known = patient.observed.status == 0
    logged = known & _logarithmic(model, patient)
    return _LOG_TWO_PI * float(known.sum()) + 2 * float(np.log(patient.observed.dv[logged]).sum())


def log_determinant(population: PopulationDraws, patient: Patient, modes: Modes) -> float:
    """Log determinant of the curvature by z at a mode, under one population draw.

    Of quantified observations with a Gaussian error it is that of FOCE with interaction, the
    expected information: J^T J / SD^2 + 2 (d log SD)^T (d log SD). Otherwise that of `Modes`.
    """
    model = population.model
    if patient.observed.status.any() or not _gaussian(model) or model.error.is_sequential:
        return float(np.linalg.slogdet(modes.precision[0])[1])
    k = modes.z.shape[1]
    step = _STEP * np.eye(k)
    around = (modes.z[0] + np.concatenate([step, -step]))[None]
    theta, _ = parameters_of(population, patient, modes.expected[:, None], around)
    prediction = patient.solver.ensemble(theta[0]).value
    spread = np.asarray(model.error.spread(patient.observed, prediction, population.sigma, NUMPY))
    logged = _logarithmic(model, patient)
    with np.errstate(all="ignore"):  # before the first dose there is nothing to see
        scale = np.where(logged, spread / prediction, spread)
        value = np.where(logged, np.log(prediction), prediction)
        by_value = (value[:k] - value[k:]) / (2 * _STEP) / (0.5 * (scale[:k] + scale[k:]))
        by_scale = (np.log(scale[:k]) - np.log(scale[k:])) / (2 * _STEP)
    by_value, by_scale = (np.where(np.isfinite(x), x, 0.0) for x in (by_value, by_scale))
    information = by_value @ by_value.T + 2 * by_scale @ by_scale.T + np.eye(k)
    return float(np.linalg.slogdet(information)[1])


def _gaussian(model: PopModel) -> bool:
    errors = [model.error.of(name) for name in model.error.outputs] or [model.error]
    return all(error is not None and error.is_gaussian for error in errors)


def _logarithmic(model: PopModel, patient: Patient) -> NDArray[np.bool_]:
    """Of which observations the residual is one of logarithms (n_observations)."""
    described = model.error.outputs
    found = np.zeros(len(patient.observed.dv), dtype=bool)
    for k, name in enumerate(described or ("",)):
        error = model.error.of(name) if described else model.error
        if isinstance(error, Measured) and error.logarithmic:
            found |= (patient.observed.output == k) if described else True
    return found
