"""A mode of the marginal posterior to full accuracy, with the curvature there.

The slopes are those of Fisher's identity (`Cohort.slopes`), with the same random numbers at every
point. Their differences give the Hessian itself, which the scatter of the patients' slopes, used on
the way to the mode, only estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import cpu_count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from popk.dataset import Dataset
from popk.errors import SettingError
from popk.inference.marginal.cohort import Cohort
from popk.inference.marginal.search import Mode, find_modes_of_marginal
from popk.model import PopModel

__all__ = ["Peak", "find_peaks", "prepared"]

type Floats = NDArray[np.float64]

_STAGE = 1  # the random numbers of the search for modes
_NODES = 64  # of each patient's integral, at least; its error moves the mode
_STEPS = 12  # with the scatter of the slopes as curvature
_CLOSE = 1e-2  # squared distance from the mode in SDs, as the next step would be
_CORRECTIONS = 4  # with a Hessian
_HESSIANS = 3
_THERE = 4e-4  # squared distance in SDs that does not matter: 0.02 SDs
_REACH = 0.1  # of differences between slopes, in SDs
_FLATTEST = 0.05  # eigenvalue of a precision; that of the prior is 1


@dataclass(frozen=True)
class Peak:
    """A mode x (d), its log density and the normal distribution around it.

    ``precision`` (d, d) is the negative Hessian, made positive definite where it was not:
    ``is_peak`` says whether nothing had to be done. ``distance`` is how far the mode may still be,
    in posterior SDs, by the slope that is left.
    """

    x: Floats
    log_density: float
    precision: Floats
    is_peak: bool
    distance: float

    @property
    def log_mass(self) -> float:
        """Log of the integral of the normal approximation, up to a constant of all peaks."""
        return self.log_density - 0.5 * float(np.linalg.slogdet(self.precision)[1])


class _Method(Protocol):
    @property
    def cores(self) -> int | None:
        """Patients integrated at a time."""


def prepared(
    method: _Method, model: PopModel, dataset: Dataset, *, seed: int, seeds: int = 1
) -> tuple[Cohort, list[int]]:
    """What a method begins with that integrates each patient's random effects out.

    Returns
    -------
    The patients, ready to be integrated, and so many seeds for the method's own random numbers.

    Raises
    ------
    SettingError
        When the patients of the model cannot be integrated one by one, or nothing is estimated,
        with what to sample by.
    """
    name = type(method).__name__
    advice = f"{name} does not handle that; sample by NUTS."
    if model.subpopulations is not None:
        raise SettingError(f"The model {model.name} has {model.subpopulations.title}. {advice}")
    if model.levels:
        # Given the population alone the subjects of a group are not independent.
        named = ", ".join(level.covariate for level in model.levels)
        raise SettingError(f"The model {model.name} has a further level ({named}). {advice}")
    first, *others = (int(own) for own in np.random.SeedSequence(seed).generate_state(1 + seeds))
    cohort = Cohort.of(model, dataset, seed=first, cores=method.cores or cpu_count() or 1)
    if not cohort.coordinates.names:
        raise SettingError(
            f"Every population parameter of the model {model.name} is fixed: there is nothing for "
            f"{name} to estimate. Sample the random effects by NUTS."
        )
    return cohort, others


def find_peaks(cohort: Cohort, rng: np.random.Generator) -> list[Peak]:
    """The distinct modes found from several starts, the one with the most mass first.

    Raises
    ------
    SettingError
        When no start gives the data a likelihood.
    """
    modes = find_modes_of_marginal(cohort, rng)
    if not modes:
        raise SettingError(
            "No point near the priors gives the data a likelihood above zero. Check the units of "
            "the data and the priors (popk.check_priors)."
        )
    if not cohort.is_costly:
        cohort.nodes[:] = np.maximum(cohort.nodes, _NODES)
    return sorted((_polished(cohort, mode) for mode in modes), key=lambda peak: -peak.log_mass)


def _polished(cohort: Cohort, mode: Mode) -> Peak:
    x, precision = mode.x, mode.precision
    value, slope, precision = _here(cohort, x)
    for _ in range(_STEPS):
        step = np.linalg.solve(precision, slope)
        if slope @ step < _CLOSE:
            break
        new = _here(cohort, x + step)
        if not new[0] > value - _CLOSE:
            break
        x, (value, slope, precision) = x + step, new
    for _ in range(_HESSIANS):
        at = x
        hessian, is_peak = _positive(_hessian(cohort, x, 1 / np.sqrt(np.diagonal(precision))))
        for _ in range(_CORRECTIONS):
            step = np.linalg.solve(hessian, slope)
            promised = float(slope @ step)
            if promised < _THERE:
                break
            new = _here(cohort, x + step)
            if not new[1] @ np.linalg.solve(hessian, new[1]) < promised:
                break
            x, (value, slope, _) = x + step, new
        if (x - at) @ hessian @ (x - at) < _THERE:
            break
    left = float(slope @ np.linalg.solve(hessian, slope))
    return Peak(x, value, hessian, is_peak, float(np.sqrt(max(left, 0.0))))


def _here(cohort: Cohort, x: Floats) -> tuple[float, Floats, Floats]:
    """Log density, slope (d) and scatter of the patients' slopes with the prior's precision."""
    likelihood, slopes = cohort.slopes(x[None], _STAGE)
    apart = slopes[0] - slopes[0].mean(axis=0)
    value = float(cohort.log_prior(x[None])[0] + likelihood.sum())
    slope = slopes[0].sum(axis=0) + cohort.prior_slopes(x[None])[0]
    return value, slope, apart.T @ apart + np.eye(len(x))


def _hessian(cohort: Cohort, x: Floats, scale: Floats) -> Floats:
    """Negative Hessian (d, d) by central differences of slopes, symmetric."""
    d = len(x)
    reach = _REACH * np.diag(scale)
    points = np.concatenate([x + reach, x - reach])
    slopes = cohort.slopes(points, _STAGE)[1].sum(axis=1) + cohort.prior_slopes(points)
    found = -(slopes[:d] - slopes[d:]) / (2 * _REACH * scale[:, None])
    return np.asarray(0.5 * (found + found.T))


def _positive(matrix: Floats) -> tuple[Floats, bool]:
    """The matrix with no eigenvalue below the flattest, and whether it had none."""
    values, vectors = np.linalg.eigh(matrix)
    raised = np.maximum(values, _FLATTEST)
    return (vectors * raised) @ vectors.T, bool(values.min() > 0)
