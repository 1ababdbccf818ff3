"""Concentrations of a cohort, or of many parameter vectors of one subject."""

from __future__ import annotations

import numpy as np

from popk.structure.base import Floats, Structure
from popk.structure.events import Events


def concentrations(structure: Structure, theta: Floats, events: Events) -> Floats:
    """Concentrations of a cohort.

    Parameters
    ----------
    structure
        The equations.
    theta
        Individual parameters, (n_subjects, n_parameters), in the structure's order and units.
    events
        The subjects' events, as `events_of` gives them.

    Returns
    -------
    Concentrations (n_observations), in the units of the data.
    """
    return _run_cohort(structure, theta, events, with_gradient=False)[0]


def concentrations_with_gradient(
    structure: Structure, theta: Floats, events: Events
) -> tuple[Floats, Floats]:
    """Concentrations (n_observations) and their gradient (n_observations, n_parameters).

    Row k of the gradient is by the parameters of the subject that observation k belongs to.
    """
    return _run_cohort(structure, theta, events, with_gradient=True)


def _run_cohort(
    structure: Structure, theta: Floats, events: Events, *, with_gradient: bool
) -> tuple[Floats, Floats]:
    prepared = structure.prepare(events)
    concentration = np.empty(events.n_outputs)
    gradient = np.empty((events.n_outputs if with_gradient else 0, len(structure.parameters)))
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    subject = np.arange(len(theta))
    offset = np.zeros(len(theta), dtype=np.int64)
    structure.kernel(theta, subject, offset, *prepared, concentration, gradient, with_gradient)
    return concentration, gradient


def ensemble(
    structure: Structure, theta: Floats, prepared: Events, *, with_gradient: bool = False
) -> tuple[Floats, Floats]:
    """Concentrations of ONE subject under many parameter vectors.

    Parameters
    ----------
    structure
        The equations.
    theta
        Parameters, (n_samples, n_parameters).
    prepared
        The subject's events after `Structure.prepare`.
    with_gradient
        Compute the gradient as well (otherwise it comes back empty).

    Returns
    -------
    Concentrations (n_samples, n_observations); gradient (n_samples, n_observations, n_parameters).
    """
    n, n_outputs, n_parameters = len(theta), prepared.n_outputs, len(structure.parameters)
    concentration = np.empty(n * n_outputs)
    gradient = np.empty((n * n_outputs if with_gradient else 0, n_parameters))
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    subject = np.zeros(n, dtype=np.int64)
    offset = np.arange(n) * n_outputs
    structure.kernel(theta, subject, offset, *prepared, concentration, gradient, with_gradient)
    shape = (n, n_outputs, n_parameters) if with_gradient else (n, 0, n_parameters)
    return concentration.reshape(n, n_outputs), gradient.reshape(shape)
