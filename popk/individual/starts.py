"""All modes of one patient's conditional density: searches from many starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import ndtri

from popk.individual.modes import Modes, find_modes
from popk.individual.nodes import lattice
from popk.individual.patient import Patient, log_joint, n_effects
from popk.individual.proposals import Frame, Shape
from popk.population import PopulationDraws

__all__ = ["Peaks", "peaks_of"]

type Floats = NDArray[np.float64]

_SPREAD = 1.5  # SD of the starts, in z, whose own is 1
_TOLERANCE = 1e-11  # of the log density: z is then within about 5e-6 SDs
_STEPS = 150
_LOWEST = 12.0  # below the best mode: exp(-12) of its height
_DIP = 0.01  # log density between two modes below the lower: less is one mode
_BETWEEN = 24  # points looked at between two
_MOST = 6
_NEAR = 1e-4  # SDs to either side, where the density is compared
_RISE = 1e-7


@dataclass(frozen=True)
class Peaks:
    """Distinct modes of a patient's z under one population draw, the highest first.

    ``modes`` has them in the place of draws (M); ``log_density`` (M), that of `log_joint`.
    """

    modes: Modes
    log_density: Floats

    @property
    def best(self) -> Modes:
        """The highest alone."""
        return self.modes.taken(np.array([0]))

    def shape(self, population: PopulationDraws, patient: Patient) -> Shape:
        """Nodes around every mode, and some as wide as the effects are, for `propose`."""
        k = self.modes.z.shape[1]
        if len(self.log_density) == 1:
            return Shape(np.zeros(k), np.eye(k), defensive=True)
        m = len(self.log_density) - 1
        others = self.modes.taken(np.arange(1, m + 1))
        frame = Frame.of(population.taken(np.zeros(m, dtype=np.int64)), patient, others)
        centres = frame.forward(others.z[:, None])[:, 0]
        covariance = frame.matrix @ np.linalg.inv(others.precision)
        covariance = covariance @ np.swapaxes(frame.matrix, 1, 2)
        factors = np.linalg.cholesky(covariance)
        return Shape(np.zeros(k), np.eye(k), defensive=True, centres=centres, factors=factors)


def peaks_of(population: PopulationDraws, patient: Patient, *, starts: int) -> Peaks:
    """The modes found from zero and from points spread as widely as the effects, and wider.

    Parameters
    ----------
    population
        One draw, the class known where the model has sub-populations.
    patient
        The patient.
    starts
        Number of searches.
    """
    k = n_effects(population, patient)
    starts = starts if k else 1
    begin = np.zeros((starts, k))
    if starts > 1:
        # The lattice's first point is zero; half a step puts all of them inside the cube.
        even = (lattice(starts - 1, k) + 0.5 / (starts - 1)) % 1.0
        begin[1:] = _SPREAD * ndtri(even)
    several = population.taken(np.zeros(starts, dtype=np.int64))
    found = find_modes(several, patient, start=begin, steps=_STEPS, tolerance=_TOLERANCE)
    height, _ = log_joint(several, patient, found.expected, found.z[:, None])
    height = np.where(np.isnan(height[:, 0]), -np.inf, height[:, 0])
    order = np.argsort(-height, kind="stable")
    if _stalled(population, patient, found, int(order[0])):
        found, height = _climbed(population, patient, found, int(order[0]), height)
    kept = [int(order[0])]
    for candidate in order[1:].tolist():
        if not height[candidate] > height[kept[0]] - _LOWEST or len(kept) == _MOST:
            break
        if all(_apart(population, patient, found, candidate, other) for other in kept):
            kept.append(candidate)
    return Peaks(found.taken(np.array(kept)), height[kept])


def _stalled(population: PopulationDraws, patient: Patient, found: Modes, place: int) -> bool:
    """Whether the density still rises from a mode: a bend, as where a lag ends at a sample."""
    k = found.z.shape[1]
    sd = np.sqrt(np.diagonal(np.linalg.inv(found.precision[place])))
    step = _NEAR * np.diag(sd)
    around = found.z[place] + np.concatenate([np.zeros((1, k)), step, -step])
    value, _ = log_joint(population, patient, found.expected[[place]], around[None])
    value = np.where(np.isfinite(value[0]), value[0], -np.inf)
    # A quadratic's rise over so short a step is the slope's share alone.
    return bool((value[1:] - value[0]).max(initial=0.0) > _RISE)


def _climbed(
    population: PopulationDraws, patient: Patient, found: Modes, place: int, height: Floats
) -> tuple[Modes, Floats]:
    """The same with one mode moved uphill without derivatives (Nelder & Mead 1965)."""
    root = np.linalg.inv(np.linalg.cholesky(found.precision[place])).T

    def depth(y: Floats) -> float:
        z = found.z[place] + root @ y
        value, _ = log_joint(population, patient, found.expected[[place]], z[None, None])
        return -float(value[0, 0]) if np.isfinite(value[0, 0]) else np.inf

    best = np.zeros(found.z.shape[1])
    for size in (0.1, 0.01):
        simplex = best + size * np.vstack([np.zeros(len(best)), np.eye(len(best))])
        options: dict[str, Any] = {
            "initial_simplex": simplex,
            "xatol": 1e-7,
            "fatol": 1e-9,
            "maxiter": 2000,
        }
        best = optimize.minimize(depth, best, method="Nelder-Mead", options=options).x  # type: ignore[call-overload]
    z, value = found.z.copy(), height.copy()
    z[place], value[place] = found.z[place] + root @ best, -depth(best)
    return replace(found, z=z), value


def _apart(
    population: PopulationDraws, patient: Patient, found: Modes, first: int, second: int
) -> bool:
    """Whether the density dips on the way from one to the other."""
    away = found.z[first] - found.z[second]
    near = max(away @ found.precision[one] @ away for one in (first, second))
    if near < 1e-4:  # squared SDs
        return False
    at = np.linspace(0.0, 1.0, _BETWEEN + 2)[:, None]
    line = found.z[second] + at * away
    value, _ = log_joint(population, patient, found.expected[[first]], line[None])
    return bool(value[0, 1:-1].min() < min(value[0, 0], value[0, -1]) - _DIP)
