"""Draws of one patient's random effects, tempered from the population to the posterior.

Sequential Monte Carlo (Del Moral, Doucet & Jasra, J R Stat Soc B 68:411, 2006) with moves by
differential evolution (ter Braak, Stat Comput 16:239, 2006), which follow a bent ridge and keep
separate modes in their proportions. For the few patients whose distribution no mixture around its
modes describes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtri

from popk.individual.nodes import lattice
from popk.individual.patient import Patient, log_joint, n_effects
from popk.population import PopulationDraws

__all__ = ["tempered_draws"]

type Floats = NDArray[np.float64]
type Likelihood = Callable[[Floats], Floats]

_KEPT = 0.5  # of the draws effective at each step up
_MOVES = 4
_STEPS = 60
_JUMPS = 0.1  # share of the moves that go as far as two draws are apart: between modes


def tempered_draws(
    population: PopulationDraws,
    patient: Patient,
    expected: Floats,
    *,
    size: int,
    rng: np.random.Generator,
) -> Floats:
    """About independent draws of z (size, k) given a patient's data, under one population draw.

    Parameters
    ----------
    population, patient
        One draw, its class known, and the patient.
    expected
        From the patient's modes (1, n_rows, m).
    size, rng
        How many, and random numbers.
    """
    z = _normal(size, n_effects(population, patient), rng)

    def likelihood(at: Floats) -> Floats:
        value, _ = log_joint(population, patient, expected, at[None])
        value = value[0] + 0.5 * (at**2).sum(axis=1)
        return np.where(np.isfinite(value), value, -np.inf)

    value, heat = likelihood(z), 0.0
    for _ in range(_STEPS):
        if heat >= 1.0 or not np.isfinite(value).any():
            break
        step = _step(value, 1.0 - heat)
        weight = np.exp(step * (value - value.max()))
        heat += step
        places = (rng.random() + np.arange(size)) / size * weight.sum()
        chosen = np.searchsorted(np.cumsum(weight), places).clip(0, size - 1)
        z, value = z[chosen], value[chosen]
        for _ in range(_MOVES):
            z, value = _moved(z, value, heat, likelihood, rng)
    return z


def _normal(size: int, k: int, rng: np.random.Generator) -> Floats:
    even = (lattice(size, k) + rng.random(k)) % 1.0
    return np.asarray(ndtri(even.clip(1e-12, 1 - 1e-12)))


def _step(value: Floats, most: float) -> float:
    """How much further up, so that the asked share of the draws stays effective."""

    def share(step: float) -> float:
        logs = step * value
        return float(np.exp(2 * logsumexp(logs) - logsumexp(2 * logs)) / len(value))

    if share(most) >= _KEPT:
        return most
    low, high = 0.0, most
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= _KEPT else (low, middle)
    # Where most draws are impossible no step keeps as many.
    return max(low, 1e-6 * most)


def _moved(
    z: Floats, value: Floats, heat: float, likelihood: Likelihood, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    size, k = z.shape
    one, other = rng.integers(0, size, size), rng.integers(0, size, size)
    far = rng.random(size) < _JUMPS
    length = np.where(far, 1.0, 2.38 / np.sqrt(2 * k) * rng.uniform(0.2, 1.2, size))
    trial = z + length[:, None] * (z[one] - z[other]) + 1e-4 * rng.standard_normal(z.shape)
    new = likelihood(trial)
    ratio = heat * (new - value) - 0.5 * ((trial**2).sum(axis=1) - (z**2).sum(axis=1))
    taken = np.log(rng.random(size)) < ratio
    return np.where(taken[:, None], trial, z), np.where(taken, new, value)
