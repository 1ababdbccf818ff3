"""Conditional modes under many population draws, predicted from those under a few.

In coordinates of the individual parameters (`Frame`) a patient's conditional mode moves little, and
nearly linearly, with the population parameters, and what the data say of its curvature hardly moves
at all. Searches under a few draws therefore tell where the nodes under all of them are to be, and
importance weights correct what the prediction misses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from popk.individual.latent import expected_of
from popk.individual.modes import Modes, find_modes
from popk.individual.patient import Patient, n_effects
from popk.individual.proposals import Frame
from popk.population import PopulationDraws

__all__ = ["predicted_modes"]

type Floats = NDArray[np.float64]

_PILOTS = 16
_TOLERANCE = 0.3  # of the pilots' log density: their last step is still taken
_RIDGE = 0.02  # per pilot, of features with unit variance
_FEWEST = 3  # times the pilots: with fewer draws each has its own search


def predicted_modes(population: PopulationDraws, patient: Patient) -> Modes | None:
    """About `find_modes` for all S draws; None where each draw must have its own search.

    Parameters
    ----------
    population
        Draws, the class known where the model has sub-populations.
    patient
        The patient.
    """
    size, k = population.size, n_effects(population, patient)
    if size < _FEWEST * _PILOTS or population.n_classes > 1 or patient.n_last or k == 0:
        return None
    chosen = np.linspace(0, size - 1, _PILOTS).round().astype(np.int64)
    few = population.taken(chosen)
    pilots = find_modes(few, patient, tolerance=_TOLERANCE)
    frame = Frame.of(few, patient, pilots)
    point = frame.forward(pilots.z[:, None])[:, 0]
    expected = expected_of(population, patient, np.zeros((size, k)))
    nowhere = Modes(np.zeros((size, k)), pilots.precision, pilots.quantified, expected)
    whole = Frame.of(population, patient, nowhere)
    features = _features(population)
    places = _predicted(features[chosen], point, features)
    z = np.linalg.solve(whole.matrix, (places - whole.offset)[..., None])[..., 0]
    precision = _carried(frame, pilots.precision, whole)
    same = pilots.quantified is pilots.precision
    return Modes(z, precision, precision if same else _carried(frame, pilots.quantified, whole),
                 expected)  # fmt: skip


def _features(population: PopulationDraws) -> Floats:
    """The population parameters that vary (S, p), each with mean 0 and variance 1."""
    values = np.stack(list(population.values.values()), axis=1)
    spread = values.std(axis=0)
    moving = spread > 1e-9 * np.abs(values).max(axis=0)
    return np.asarray((values - values.mean(axis=0))[:, moving] / spread[moving])


def _predicted(known: Floats, point: Floats, features: Floats) -> Floats:
    """Ridge regression of points (P, k) on features (P, p), at other features (S, p)."""
    centre, mean = known.mean(axis=0), point.mean(axis=0)
    x = known - centre
    gram = x @ x.T + _RIDGE * len(x) * np.eye(len(x))
    return np.asarray(mean + (features - centre) @ (x.T @ np.linalg.solve(gram, point - mean)))


def _carried(frame: Frame, precision: Floats, whole: Frame) -> Floats:
    """Precisions (S, k, k) with what the data say on average, each draw with its own prior."""
    own = np.eye(precision.shape[-1])
    back = np.linalg.inv(frame.matrix)
    data = (np.swapaxes(back, 1, 2) @ (precision - own) @ back).mean(axis=0)
    return np.asarray(np.swapaxes(whole.matrix, 1, 2) @ data @ whole.matrix + own)
